import gzip
import io
import tarfile
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest
from PIL import Image

from cnninte_utils.artifacts import DataError
from cnninte_utils.datasets import files

PACKED = {
    "tar": ("a.tar", "w"),
    "gz": ("a.tar.gz", "w:gz"),
    "bz2": ("a.tar.bz2", "w:bz2"),
    "xz": ("a.tar.xz", "w:xz"),
    "stored": ("a.zip", zipfile.ZIP_STORED),
    "deflate": ("a.zip", zipfile.ZIP_DEFLATED),
    "zip bz2": ("a.zip", zipfile.ZIP_BZIP2),
    "zip lzma": ("a.zip", zipfile.ZIP_LZMA),
}
TEXT = " ".join(map(str, range(2_000))).encode()


def pack(folder, kind, contents):
    name, how = PACKED[kind]
    path = folder / name
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", how) as packed:
            for member, data in contents.items():
                packed.writestr(member, data)
        return path
    with tarfile.open(path, how) as tar:
        for member, data in contents.items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def everything(path):
    return dict(files.read_files(path, lambda name: True))


@pytest.mark.parametrize("kind", PACKED)
def test_files_are_read_as_they_were_packed(tmp_path, kind):
    contents = {"b.txt": TEXT, "a.txt": b"", "c/d.bin": bytes(range(256))}
    path = pack(tmp_path, kind, contents)
    assert list(everything(path).items()) == list(contents.items())
    assert dict(files.read_files(path, lambda name: name == "a.txt")) == {"a.txt": b""}


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("n_bytes", [0, 1, 3, 5, 11, 20, 60, 600])
def test_archive_cut_anywhere_is_one_sentence(tmp_path, kind, n_bytes):
    path = pack(tmp_path, kind, {"a.txt": TEXT})
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(DataError) as caught:
        everything(path)
    assert str(caught.value).startswith(f"{path} is damaged (")
    assert str(caught.value).endswith("): fetch it again")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("n_bytes", [1_024, 1_025, 1_535, 1_536])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_tar_cut_before_or_in_a_later_header_is_no_shorter_tar(tmp_path, compress, n_bytes):
    """A header of 512 bytes and a block of data for each of the files; the second header ends at 1,536."""
    path = pack(tmp_path, "tar", {"a.txt": b"1", "b.txt": b"2"})
    assert len(everything(path)) == 2
    path.write_bytes(compress(path.read_bytes()[:n_bytes]))
    with pytest.raises(DataError, match=r"is damaged \(.*\): fetch it again$"):
        everything(path)


def test_tar_with_a_damaged_later_header_is_no_shorter_tar(tmp_path):
    path = pack(tmp_path, "tar", {"a.txt": b"1", "b.txt": b"2"})
    content = bytearray(path.read_bytes())
    content[1_024 + 3] ^= 1  # in the name: the header's sum is wrong
    path.write_bytes(content)
    with pytest.raises(DataError, match="it ends or is damaged after 1,024 bytes"):
        everything(path)


@pytest.mark.parametrize("kind", ["bz2", "xz", "deflate", "zip bz2", "zip lzma"])
def test_damage_in_the_middle_is_one_sentence(tmp_path, kind):
    path = pack(tmp_path, kind, {"a.txt": TEXT})
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"{path.name} is damaged \(.*\): fetch it again$"):
        everything(path)


@pytest.mark.parametrize("kind", ["gz", "deflate"])
def test_file_that_is_too_large_is_not_read(tmp_path, kind, monkeypatch):
    path = pack(tmp_path, kind, {"a.txt": TEXT, "b.txt": b"123"})
    assert dict(files.read_files(path, lambda name: name == "b.txt", max_bytes=3)) == {"b.txt": b"123"}
    monkeypatch.setattr(tarfile.ExFileObject, "read", lambda *_: pytest.fail("read"))
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda *_: pytest.fail("read"))
    with pytest.raises(DataError, match=rf"b\.txt in .*{path.name} has 3 bytes: it is not what it should be"):
        list(files.read_files(path, lambda name: name == "b.txt", max_bytes=2))


def altered(path, *changes):
    """Change the file: where in the local header, where in the directory, to what bytes."""
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    for local, central, data in changes:
        content[local : local + len(data)] = data
        content[directory + central : directory + central + len(data)] = data
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((6, 8, b"\x01"), "encrypted"),
        ((8, 10, b"\x61"), "compression"),
        ((22, 24, b"\xff" * 4), "4,294,967,295"),
    ],
)
def test_encrypted_members_unknown_compressions_and_giants_are_one_sentence(tmp_path, change, message):
    path = pack(tmp_path, "deflate", {"a.txt": TEXT})
    altered(path, change)
    with pytest.raises(DataError, match=message) as caught:
        everything(path)
    assert "\n" not in str(caught.value)


def test_a_member_that_hides_its_size_is_read_no_further_than_it_says(tmp_path):
    path = pack(tmp_path, "deflate", {"a.txt": bytes(2**26)})
    altered(path, (22, 24, (200).to_bytes(4, "little")))
    tracemalloc.start()
    with pytest.raises(DataError, match="is damaged"):
        everything(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_a_tar_that_declares_a_terabyte_is_not_read(tmp_path):
    path = tmp_path / "a.tar"
    info = tarfile.TarInfo("a.txt")
    info.size = 2**40
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1_024))
    with pytest.raises(DataError, match="holds more than 17,179,869,184 bytes"):
        everything(path)


def jpeg(side, true_side=8):
    """Return a picture whose header says that it has `side` rows and columns."""
    stream = io.BytesIO()
    Image.new("RGB", (true_side, true_side)).save(stream, "JPEG")
    content = bytearray(stream.getvalue())
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = 2 * side.to_bytes(2, "big")
    return bytes(content)


@pytest.mark.parametrize("side", [7, 12_000])  # the second is 432 MB when decoded
def test_an_image_of_another_size_is_refused_before_it_is_decoded(tmp_path, side, monkeypatch):
    monkeypatch.setattr(Image.Image, "convert", lambda *_: pytest.fail("decoded"))
    path = pack(tmp_path, "stored", {"a.jpg": jpeg(side)})
    with (
        warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
        pytest.raises(DataError, match=f"a.jpg in .*a.zip should be 8×8, found {side}×{side}"),
    ):
        files.read_images(path, 8, lambda name: ("train", 0))
    (tmp_path / "a.jpg").write_bytes(jpeg(side))
    with (
        warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
        pytest.raises(DataError, match=f"should be 8×8, found {side}×{side}: it is of another version"),
    ):
        files.ImageFiles(tmp_path, np.array(["a.jpg"]), 8).read(4)


def test_all_files_together_have_a_bound_too(tmp_path, monkeypatch):
    path = pack(tmp_path, "gz", {"a.txt": b"12", "b.txt": b"34"})
    monkeypatch.setattr(files, "_MAX_BYTES", 4)
    assert len(everything(path)) == 2
    monkeypatch.setattr(files, "_MAX_BYTES", 3)
    with pytest.raises(DataError, match="holds more than 3 bytes"):
        everything(path)
