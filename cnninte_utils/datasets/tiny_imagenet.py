"""Tiny ImageNet: 200 classes of ImageNet at 64×64 (Stanford CS231n; Le, Yang 2015)."""

from pathlib import Path, PurePosixPath

import numpy as np

from ..artifacts import DataError
from .base import ImageDataset, Split, hold_out
from .files import read_images, read_text
from .source import Source

SIZE = 64
ARCHIVES = (
    "tiny_imagenet/tiny-imagenet-200.zip",
    "tiny_imagenet/tiny-imagenet-200.tar",
    "tiny_imagenet/tiny_imagenet_subset.tar.gz",
)
_ROOT = "tiny-imagenet-200"
_ANNOTATIONS = "val/val_annotations.txt"
_N_VALIDATION_PER_CLASS = 10
SOURCE = Source(
    "Tiny ImageNet",
    ARCHIVES,
    "Download http://cs231n.stanford.edu/tiny-imagenet-200.zip (248 MB; not fetched for you, because it is "
    "not on HTTPS; MD5 90528d7ca1a48142e341f4ef8d21d0de) and put it, as it is, into the folder named by "
    f"$CNNINTE_DATA as {ARCHIVES[0]}.",
)


def load() -> ImageDataset:
    """Return Tiny ImageNet with the published validation images as test split.

    Validation are 10 training images of each class; the published test images have no labels.
    """
    archive = SOURCE.fetch()
    wnids = _wnids(archive)
    code = {wnid: i for i, wnid in enumerate(wnids)}
    wnid_of = {name: row[0] for name, *row in _table(archive, _ANNOTATIONS)}
    words = {wnid: row[0] for wnid, *row in _table(archive, "words.txt")}

    def label_of(name: str) -> tuple[str, int] | None:
        match PurePosixPath(name).parts:
            case (*_, "train", wnid, "images", file_name) if file_name.endswith(".JPEG"):
                split = "train"
            case (*_, "val", "images", file_name) if file_name.endswith(".JPEG"):
                split, wnid = "test", wnid_of.get(file_name)
            case _:
                return None
        if wnid not in code:
            raise DataError(f"{archive} has {name}, which is of none of the classes in wnids.txt")
        return split, code[wnid]

    splits = read_images(archive, SIZE, label_of)
    _check_complete(archive, splits, len(wnids))
    train, validation = hold_out(Split(*splits["train"]), _N_VALIDATION_PER_CLASS)
    test = Split(*splits["test"])
    names = tuple(words.get(wnid, wnid).split(",")[0] for wnid in wnids)
    provenance = (
        f"Tiny ImageNet (Le and Yang 2015, from ImageNet), {archive.name}, "
        f"split {len(train):,}/{len(validation):,}/{len(test):,}"
    )
    return ImageDataset("tiny_imagenet", train, validation, test, names, provenance)


def boxes() -> np.ndarray:
    """Return the bounding box of the object in each test image, in the order of ``load().test``.

    Returns
    -------
    ndarray of shape (n, 4), int64
        Its first column and row and its last ones, both in it, from 0 to 63.

    Raises
    ------
    DataError
        If an image has none, or its numbers are not those of a box.
    """
    archive = SOURCE.fetch()
    rows = sorted(_table(archive, _ANNOTATIONS))
    if not all(len(row) == 6 and all(edge.isdecimal() for edge in row[2:]) for row in rows):
        raise DataError(f"{archive} has an image in {_ANNOTATIONS} without a box of four numbers")
    found = np.array([row[2:] for row in rows], np.int64).reshape(-1, 4)
    first, last = found[:, :2], found[:, 2:]
    if (first > last).any() or (last >= SIZE).any():
        raise DataError(f"{archive} has a box in {_ANNOTATIONS} that lies outside of its image")
    names = np.array(_wnids(archive))[load().test.labels]
    if not np.array_equal(names, [row[1] for row in rows]):
        raise DataError(f"{archive} has other images than those in its {_ANNOTATIONS}")
    return found


def _wnids(archive: Path) -> tuple[str, ...]:
    """Return WordNet's ids of the classes, in the order of the labels."""
    return tuple(sorted(read_text(archive, f"{_ROOT}/wnids.txt").split()))


def _table(archive: Path, name: str) -> list[list[str]]:
    """Return the lines of a file of columns with tabs between."""
    rows = (line.split("\t") for line in read_text(archive, f"{_ROOT}/{name}").splitlines())
    return [row for row in rows if len(row) > 1]


def _check_complete(archive: Path, splits: dict, n_classes: int) -> None:
    """Refuse an archive cut short: every class has as many images as any other."""
    for split in ("train", "test"):
        labels = splits[split][1] if split in splits else np.empty(0, np.int64)
        counts = np.bincount(labels, minlength=n_classes)
        if counts.min() < counts.max() or not counts.max():
            raise DataError(
                f"{archive} is incomplete: its {n_classes} classes have {counts.min()} to {counts.max()} "
                f"{split} images instead of equally many: fetch it again"
            )
