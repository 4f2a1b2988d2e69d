"""Archives and images in files: looked into, decoded, unpacked, without trusting what they say."""

import io
import re
import shutil
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import IO, ClassVar, NamedTuple

import numpy as np
from PIL import Image

from ..artifacts import DAMAGES, Artifact, DataError, cached_folder, file_digest, repair_advice

__all__ = [
    "ImageFiles",
    "Member",
    "members",
    "read_categories",
    "read_files",
    "read_images",
    "read_labels",
    "read_text",
    "unpacked",
]

_MAX_BYTES = 2**34  # of all that is in an archive
_MAX_FILE_BYTES = 2**24  # of an image or text in one
_NOT_EXPECTED = "it is not what it should be"
_CATEGORY = re.compile(r"/([a-z]/[\w-]+(?:/[\w-]+)*)")


class Member(NamedTuple):
    """A file of an archive: its name there, whether it is no link or device, its bytes, how to open it."""

    name: str
    is_regular: bool
    n_bytes: int
    open: Callable[[], IO[bytes]]


def members(archive: Path) -> Iterator[Member]:
    """Yield whatever is no folder, in the archive's order; each can be opened until the next comes.

    Parameters
    ----------
    archive : Path
        A ``.zip``, or a tar file, compressed or not.

    Raises
    ------
    DataError
        If they have more than 16 GiB together.
    """
    total = 0
    for member in (_zip_members if archive.suffix == ".zip" else _tar_members)(archive):
        total += member.n_bytes
        if total > _MAX_BYTES:
            raise DataError(f"{archive} holds more than {_MAX_BYTES:,} bytes: {_NOT_EXPECTED}")
        yield member


def _tar_members(archive: Path) -> Iterator[Member]:
    with _open_tar(archive) as tar:
        for m in tar:
            if not m.isdir():
                yield Member(m.name, m.isfile(), m.size, lambda m=m: tar.extractfile(m))
        tar.fileobj.seek(tar.offset)  # tarfile takes a header cut short, or damaged, for the end
        if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError(f"it ends or is damaged after {tar.offset:,} bytes")


def _open_tar(archive: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(archive)
    except tarfile.ReadError:  # its own message has a line for each compression
        raise tarfile.ReadError("no tar file, or cut short") from None


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as packed:
        for m in packed.infolist():
            if not m.is_dir():
                is_regular = (m.external_attr >> 28) in (0, 0o10)
                yield Member(m.filename, is_regular, m.file_size, lambda m=m: packed.open(m))


def read_files(
    archive: Path, is_wanted: Callable[[str], object], max_bytes: int = _MAX_FILE_BYTES
) -> Iterator[tuple[str, bytes]]:
    """Yield (name, bytes) of the wanted files of an archive, in its order.

    Raises
    ------
    DataError
        If the archive is damaged, or one of them has more than `max_bytes`; that one is not read.
    """
    try:
        for member in members(archive):
            if member.is_regular and is_wanted(member.name):
                if member.n_bytes > max_bytes:
                    raise DataError(
                        f"{member.name} in {archive} has {member.n_bytes:,} bytes: {_NOT_EXPECTED}"
                    )
                yield member.name, member.open().read(member.n_bytes)  # no more, whatever there is
    except DAMAGES as error:
        raise DataError(f"{archive} is damaged ({error}): fetch it again") from None


def read_images(
    archive: Path, size: int, label_of: Callable[[str], tuple[str, int] | None]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read the images of an archive by split; the result is cached.

    Parameters
    ----------
    archive : Path
        A ``.zip``, or a tar file, compressed or not.
    size : int
        Height and width that every image must have.
    label_of : function
        File name in the archive → (split, label), or None for files to be passed over.

    Returns
    -------
    dict
        Split → (images (n, size, size, 3) uint8, labels (n,) int64), in the order of the file names.

    Raises
    ------
    DataError
        If the archive or an image in it is damaged, or an image has another size.
    """

    def make(path: Path):
        splits = _decode(archive, size, label_of)
        with path.open("wb") as stream:
            np.savez(
                stream, **{f"{name}_{k}": splits[name][i] for name in splits for i, k in enumerate("xy")}
            )
        return splits, list(splits)

    def load(path: Path, names: list[str]):
        with np.load(path, allow_pickle=False) as arrays:
            return {name: (arrays[f"{name}_x"], arrays[f"{name}_y"]) for name in names}

    determinants = {"archive": file_digest(archive), "size": size, "reader": 1}
    return Artifact("images", ".npz", determinants).get_or_make(load, make)


def read_text(archive: Path, name: str) -> str:
    """Return a text file of an archive.

    Raises
    ------
    DataError
        If it is not there or the archive is damaged.
    """
    for _, data in read_files(archive, lambda candidate: candidate == name):
        return data.decode(errors="replace")
    raise DataError(f"{archive} has no {name}: it is not the archive that it should be")


def read_labels(path: Path, form: re.Pattern) -> list[tuple[str, int]]:
    """Read the lines of a text file: a name of that form, not twice the same, a space and a label.

    Raises
    ------
    DataError
        If the file is absent, a line is not of this kind, or a name comes twice.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except (FileNotFoundError, IsADirectoryError):
        raise DataError(f"{path.parent} has no file {path.name}: {repair_advice(path)}") from None
    rows = []
    for number, line in enumerate(lines, start=1):
        name, _, label = line.rpartition(" ")
        is_number = label.isascii() and label.isdecimal() and len(label) < 10
        if not form.fullmatch(name) or not is_number:
            raise DataError(
                f"{path}, line {number}: expected a name and a label, found {line!r}: {repair_advice(path)}"
            )
        rows.append((name, int(label)))
    twice = [name for name, count in Counter(name for name, _ in rows).items() if count > 1]
    if twice:
        raise DataError(f"{path} has {twice[0]} more than once: {repair_advice(path)}")
    return rows


def read_categories(path: Path) -> list[str]:
    """Read the categories of the Places data sets in the order of their labels, as paths: ``a/airfield``.

    Raises
    ------
    DataError
        If the file is absent or damaged, or does not number them from 0 in order.
    """
    rows = read_labels(path, _CATEGORY)
    if not rows or [label for _, label in rows] != list(range(len(rows))):
        raise DataError(f"{path} should number its categories from 0 in order: {repair_advice(path)}")
    return [name[1:] for name, _ in rows]


def _decode(archive: Path, size: int, label_of) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    found: dict[str, list[tuple[str, int, bytes]]] = {}
    for name, data in read_files(archive, label_of):
        split, label = label_of(name)
        found.setdefault(split, []).append((name, label, data))
    if not found:
        raise DataError(f"{archive} has none of the images expected in it")
    splits = {}
    for split, rows in found.items():
        images = np.empty((len(rows), size, size, 3), np.uint8)
        labels = np.empty(len(rows), np.int64)
        for i, (name, label, data) in enumerate(sorted(rows)):
            images[i], labels[i] = _image(archive, name, data, size), label
        splits[split] = images, labels
    return splits


def _image(archive: Path, name: str, data: bytes, size: int) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            found = image.size
            pixels = np.asarray(image.convert("RGB")) if found == (size, size) else None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{name} in {archive} is damaged ({error}): fetch the archive again") from None
    if pixels is None:
        raise DataError(f"{name} in {archive} should be {size}×{size}, found {found[1]}×{found[0]}")
    return pixels


def unpacked(archive: Path, top: str | None = None) -> Path:
    """Return the folder `top` in the cache, to which an archive's files are unpacked once.

    Everything in the archive must lie below `top`, by default the archive's own name.
    """
    top = top or archive.name.split(".")[0]
    return cached_folder(file_digest(archive)[:16], lambda folder: _unpack(archive, top, folder)) / top


def _unpack(archive: Path, top: str, folder: Path) -> None:
    """Unpack an archive in which everything lies below `top`; only the bytes of regular files are taken."""
    try:
        for member in members(archive):
            _check_member(archive, member, top)
            target = folder / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with member.open() as source, target.open("wb") as stream:
                shutil.copyfileobj(source, stream)
    except DAMAGES as error:
        raise DataError(f"could not unpack {archive} ({error}): fetch it again if it is damaged") from None


def _check_member(archive: Path, member: Member, top: str) -> None:
    path = PurePosixPath(member.name)
    if not member.is_regular or "\\" in member.name or ".." in path.parts or path.parts[:1] != (top,):
        raise DataError(
            f"{archive} has {member.name}, which is not a regular file below {top}/: refused to unpack it"
        )


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """JPEG files in the place of an array of images; they are decoded when they are read.

    It has the shape and type of the array, takes the same indices, and becomes the array by
    ``numpy.asarray``. A single number gives that image as an array, anything else the files chosen.

    Parameters
    ----------
    folder : Path
    names : ndarray of shape (n,), str
        Paths below `folder`.
    size : int
        Height and width that every image must have.
    """

    folder: Path
    names: np.ndarray = field(repr=False)
    size: int

    dtype: ClassVar[np.dtype] = np.dtype(np.uint8)
    ndim: ClassVar[int] = 4

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """That of the array: (n, size, size, 3)."""
        return len(self), self.size, self.size, 3

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, rows):
        if isinstance(rows, int | np.integer):
            return self._decode(self.names[rows], None)
        return replace(self, names=self.names[rows])

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self.read().astype(dtype or np.uint8, copy=False)

    def read(self, size: int | None = None) -> np.ndarray:
        """Decode the images, resized to (size, size) by averaging if asked for.

        Returns
        -------
        ndarray of shape (n, size, size, 3), uint8

        Raises
        ------
        DataError
            If a file is gone or damaged, or its image is not of the size that it should have.
        """
        images = np.empty((len(self), *[size or self.size] * 2, 3), np.uint8)
        with ThreadPoolExecutor() as pool:
            for i, image in enumerate(pool.map(lambda name: self._decode(name, size), self.names)):
                images[i] = image
        return images

    def identity(self) -> tuple[np.ndarray, np.ndarray]:
        """Return what tells these files from others without reading them: names and numbers of bytes.

        Returns
        -------
        tuple of ndarrays, uint8 and int64
        """
        names = "\n".join(self.names).encode()
        sizes = [(self.folder / name).stat().st_size for name in self.names]
        return np.frombuffer(names, np.uint8), np.array(sizes, np.int64)

    def _decode(self, name: str, size: int | None) -> np.ndarray:
        path = self.folder / name
        try:
            with Image.open(path, formats=["JPEG"]) as image:
                found = image.size
                if size is not None:
                    image.draft("RGB", (size, size))
                pixels = image.convert("RGB") if found == (self.size, self.size) else None
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(
                f"{self.folder / name} is damaged ({error}): {repair_advice(self.folder / name)}"
            ) from None
        if pixels is None:
            width, height = found
            wanted = f"{self.size}×{self.size}"
            raise DataError(f"{path} should be {wanted}, found {height}×{width}: it is of another version")
        if size is not None:
            pixels = pixels.resize((size, size), Image.Resampling.BILINEAR)
        return np.asarray(pixels)
