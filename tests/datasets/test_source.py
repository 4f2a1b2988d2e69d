import hashlib

import pytest

from cnninte_utils.artifacts import DataError, cache_dir
from cnninte_utils.datasets.source import Embedded, Source

WORDS = b"some words"
SHA256 = hashlib.sha256(WORDS).hexdigest()
DOWNLOADED = Source("Words", ("words/w.txt",), "Write them.", url="https://example.org/w.txt", sha256=SHA256)
BY_HAND = Source("Words", ("words/first", "words/second"), "Write them.")


@pytest.fixture
def packs(tmp_path, monkeypatch):
    monkeypatch.setenv("CNNINTE_DATA", str(tmp_path / "packs"))
    return tmp_path / "packs"


@pytest.fixture
def server(monkeypatch):
    """Stand in for the network; return what was asked of it."""
    asked = []

    def retrieve(url, known_hash, fname, path, progressbar):
        asked.append((url, known_hash))
        path.mkdir(parents=True, exist_ok=True)
        (path / fname).write_bytes(WORDS)

    monkeypatch.setattr("pooch.retrieve", retrieve)
    return asked


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_first_folder_wins_then_first_place(packs):
    in_cache = write(cache_dir() / "data/words/first")
    assert BY_HAND.find() == in_cache
    second = write(packs / "words/second")
    assert BY_HAND.find() == second
    first = write(packs / "words/first")
    assert BY_HAND.find() == BY_HAND.fetch() == first
    assert BY_HAND.status() == ("ready", str(first))


def test_predicate_says_what_looks_right(packs):
    folders = Source("Words", ("words",), "Write them.", is_there=lambda path: (path / "index.csv").is_file())
    write(packs / "words/other.csv")
    assert folders.find() is None
    write(packs / "words/index.csv")
    assert folders.find() == packs / "words"


def test_absent_without_an_address_says_where_and_how(packs):
    sentence = f"not in {packs} or {cache_dir() / 'data'}. Write them."
    assert BY_HAND.status() == ("absent", sentence)
    with pytest.raises(DataError) as caught:
        BY_HAND.fetch()
    assert str(caught.value) == f"Words is {sentence}"


def test_it_is_downloaded_into_the_cache_with_its_hash_and_once(packs, server):
    assert DOWNLOADED.status()[0] == "absent"
    target = cache_dir() / "data/words/w.txt"
    assert DOWNLOADED.fetch() == DOWNLOADED.fetch() == target
    assert target.read_bytes() == WORDS
    assert server == [("https://example.org/w.txt", f"sha256:{SHA256}")]
    assert not packs.exists()


def test_looking_never_downloads(server):
    assert DOWNLOADED.find() is None
    assert DOWNLOADED.status()[0] == "absent"
    assert server == []


@pytest.mark.parametrize(
    "changes", [{"url": "http://example.org/w.txt"}, {"sha256": ""}, {"sha256": SHA256[:-1]}]
)
def test_nothing_is_downloaded_without_https_and_a_hash(server, changes):
    source = Source(**{**vars(DOWNLOADED), **changes})
    with pytest.raises(DataError, match=r"Words is not in .*, and refused to download .*\. Write them\."):
        source.fetch()
    assert server == []


def test_embedded_is_always_ready():
    assert Embedded("in here").status() == ("ready", "in here")
    assert Embedded("in here").fetch() == "in here"
