"""Read the JPEG files of a tar or zip archive into one array, once; nothing is unpacked to disk."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ..artifacts import Artifact, DataError, file_digest
from .archives import DAMAGES, members

__all__ = ["read_images", "read_text"]


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
    for _, data in _wanted(archive, lambda candidate: candidate == name):
        return data.decode(errors="replace")
    raise DataError(f"{archive} has no {name}: it is not the archive that it should be")


def _decode(archive: Path, size: int, label_of) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    found: dict[str, list[tuple[str, int, bytes]]] = {}
    for name, data in _wanted(archive, label_of):
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


def _wanted(archive: Path, is_wanted: Callable) -> Iterator[tuple[str, bytes]]:
    """Yield (name, bytes) of the wanted files of an archive."""
    try:
        for member in members(archive):
            if member.is_regular and is_wanted(member.name):
                yield member.name, member.open().read()
    except DAMAGES as error:
        raise DataError(f"{archive} is damaged ({error}): fetch it again") from None


def _image(archive: Path, name: str, data: bytes, size: int) -> np.ndarray:
    try:
        image = np.asarray(Image.open(io.BytesIO(data), formats=["JPEG"]).convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{name} in {archive} is damaged ({error}): fetch the archive again") from None
    height, width = image.shape[:2]
    if (height, width) != (size, size):
        raise DataError(f"{name} in {archive} should be {size}×{size}, found {height}×{width}")
    return image
