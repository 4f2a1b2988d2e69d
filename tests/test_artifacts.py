import io
import subprocess
import sys
import textwrap
import tracemalloc
import zipfile

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


def test_arrays_are_read_as_they_were_written(tmp_path):
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b/0": np.array(["word"]), "c": np.asfortranarray(np.eye(3))}
    np.savez_compressed(tmp_path / "x.npz", **arrays)
    found = artifacts.read_arrays(tmp_path / "x.npz")
    assert found.keys() == arrays.keys()
    assert all(np.array_equal(found[name], array) for name, array in arrays.items())


def one_array_file(path, header, data, **options):
    """Write an npz of one member of our own making."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, header)
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr("a.npy", stream.getvalue() + data)


@pytest.mark.parametrize(
    "damage", ["no archive", "bare array", "terabyte", "pickle", "encrypted", "half", "unknown compression"]
)
def test_arrays_that_are_not_what_they_say_are_refused(tmp_path, damage):
    path, header = tmp_path / "x.npz", {"descr": "<f4", "fortran_order": False, "shape": (2,)}
    if damage == "no archive":
        path.write_bytes(b"hello")
    elif damage == "bare array":
        np.save(path.with_suffix(".npy"), np.zeros(3))
        path.with_suffix(".npy").rename(path)
    elif damage == "terabyte":
        one_array_file(path, header | {"shape": (2**38,)}, b"12345678")
    elif damage == "pickle":
        np.savez(path, a=np.array([{}], dtype=object))
    else:
        one_array_file(path, header, b"12345678" if damage == "encrypted" else b"1234")
        content = bytearray(path.read_bytes())
        if damage == "encrypted":  # the flag, in the local header and in the directory
            content[6] |= 1
            content[content.index(b"PK\x01\x02") + 8] |= 1
        if damage == "unknown compression":
            content[8] = content[content.index(b"PK\x01\x02") + 10] = 97
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.npz is damaged or no archive of arrays"):
        artifacts.read_arrays(path)


def peak_bytes(function):
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def refused(path, match, **options):
    with pytest.raises(DataError, match=match):
        artifacts.read_arrays(path, **options)


def test_arrays_that_unpack_to_more_than_is_expected_are_not_read(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, a=np.zeros(2**26, np.uint8), b=np.zeros(2**26, np.uint8))
    assert path.stat().st_size < 2**18
    message = r"x\.npz is damaged .*134,217,984 bytes where at most 134,217,728 are expected"
    assert peak_bytes(lambda: refused(path, message, max_bytes=2**27)) < 2**20
    assert artifacts.read_arrays(path).keys() == {"a", "b"}


def test_an_array_that_hides_its_size_from_the_directory_is_read_no_further_than_that(tmp_path):
    path = tmp_path / "x.npz"
    header = {"descr": "|u1", "fortran_order": False, "shape": (2**26,)}
    one_array_file(path, header, bytes(2**26), compression=zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    for start in (22, content.index(b"PK\x01\x02") + 24):  # the size, in the local header and the directory
        content[start : start + 4] = (200).to_bytes(4, "little")
    path.write_bytes(content)
    assert peak_bytes(lambda: refused(path, r"x\.npz is damaged")) < 2**20


def test_what_dead_processes_left_half_written_is_swept_and_what_lives_stays(tmp_path):
    import socket
    import subprocess
    import sys

    child = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True)
    dead = f".writing-{socket.gethostname()}-{child.stdout.decode().strip()}"
    (tmp_path / f"{dead}-ab.keras").write_bytes(b"half")
    (tmp_path / f"{dead}-folder").mkdir()
    (tmp_path / ".writing-another-machine-1-x").write_bytes(b"?")
    with artifacts.atomic_path(tmp_path / "new") as temporary:
        artifacts.sweep(tmp_path)
        assert temporary.exists()
        temporary.write_text("whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".writing-another-machine-1-x", "new"]


@pytest.mark.parametrize("manifest", ['["a"]', "null", "{}", '{"sha256": "x"}', "{"])
def test_a_manifest_of_another_form_makes_the_file_again(manifest):
    artifact = artifacts.Artifact("thing", ".txt", {"of": manifest})

    def make(path):
        path.write_text("made")
        return "made", {}

    artifact.get_or_make(lambda path, notes: "loaded", make)
    artifact.manifest.write_text(manifest)
    assert artifact.get_or_make(lambda path, notes: "loaded", make) == "made"
    assert artifact.get_or_make(lambda path, notes: "loaded", make) == "loaded"
