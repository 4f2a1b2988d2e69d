import subprocess
import sys
import textwrap

import numpy as np
import pytest

from cnninte_utils import artifacts
from cnninte_utils.artifacts import Artifact, DataError


def make_text(text):
    def make(path):
        path.write_text(text)
        return text, {"length": len(text)}

    return make


def load_text(path, notes):
    return f"{path.read_text()} ({notes['length']})"


def test_artifact_is_made_once_and_then_loaded_with_its_notes():
    artifact = Artifact("poem", ".txt", {"seed": 1})
    assert artifact.get_or_make(load_text, make_text("rose")) == "rose"
    assert artifact.get_or_make(load_text, make_text("lily")) == "rose (4)"


def test_artifact_with_other_determinants_is_another():
    Artifact("poem", ".txt", {"seed": 1}).get_or_make(load_text, make_text("rose"))
    assert Artifact("poem", ".txt", {"seed": 2}).get_or_make(load_text, make_text("lily")) == "lily"


@pytest.mark.parametrize("damage", [lambda a: a.path.write_text("ros"), lambda a: a.manifest.write_text("{")])
def test_damaged_artifact_is_made_again(damage):
    artifact = Artifact("poem", ".txt", {})
    artifact.get_or_make(load_text, make_text("rose"))
    damage(artifact)
    assert artifact.get_or_make(load_text, make_text("lily")) == "lily"


def test_process_killed_while_writing_leaves_nothing_that_is_trusted():
    script = """
        import os
        from cnninte_utils.artifacts import Artifact
        def make(path):
            path.write_text("half")
            os._exit(9)
        Artifact("poem", ".txt", {}).get_or_make(None, make)
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(script)]).returncode == 9
    assert Artifact("poem", ".txt", {}).get_or_make(load_text, make_text("rose")) == "rose"


def test_failed_write_keeps_the_old_file_and_leaves_no_litter(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write_half_and_fail():
        with artifacts.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_half_and_fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_clear_cache_removes_artifacts_and_keeps_data():
    Artifact("poem", ".txt", {}).get_or_make(load_text, make_text("rose"))
    data = artifacts.cache_dir() / "data" / "file"
    data.parent.mkdir()
    data.write_text("kept")
    artifacts.clear_cache()
    assert not list((artifacts.cache_dir() / "artifacts").iterdir())
    assert data.read_text() == "kept"


@pytest.mark.parametrize(
    ("url", "sha256"), [("http://example.org/x", "0" * 64), ("https://example.org/x", "")]
)
def test_download_without_https_or_hash_is_refused(url, sha256, tmp_path):
    with pytest.raises(DataError, match="HTTPS address and a SHA-256"):
        artifacts.fetch(url, sha256, tmp_path / "x")


def test_download_with_another_hash_leaves_no_file(tmp_path, monkeypatch):
    def wrong_bytes(url, output_file, pooch, **options):
        with open(output_file, "wb") as stream:
            stream.write(b"something else")

    monkeypatch.setattr("pooch.core.choose_downloader", lambda *args, **options: wrong_bytes)
    with pytest.raises(DataError, match="could not download"):
        artifacts.fetch("https://example.org/x", "0" * 64, tmp_path / "data" / "x")
    assert not (tmp_path / "data" / "x").exists()


def test_array_digest_sees_values_shapes_and_types():
    a = np.arange(6)
    others = [a.reshape(2, 3), a.astype(np.float64), a[::-1], a + 1]
    assert artifacts.array_digest(a) == artifacts.array_digest(a.copy())
    assert len({artifacts.array_digest(x) for x in [a, *others]}) == 5


def test_key_does_not_depend_on_the_order_of_names():
    assert (
        artifacts.key({"a": 1, "b": 2}) == artifacts.key({"b": 2, "a": 1}) != artifacts.key({"a": 2, "b": 1})
    )


def test_data_are_looked_for_in_the_named_folder_first(tmp_path, monkeypatch):
    monkeypatch.setenv("CNNINTE_DATA", str(tmp_path / "packs"))
    assert artifacts.data_dirs() == [tmp_path / "packs", tmp_path / "cache" / "data"]
