"""MiniPlaces: 100 kinds of scene of Places2 at 128×128 (Zhou, Lapedriza, Khosla et al. 2018).

The challenge set of MIT's computer vision course, or a part of it in the same layout. The images stay in
their files (:class:`ImageFiles`): the whole set would take 5 GB as one array.
"""

import os
import re
from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np

from ..artifacts import DataError, repair_advice
from .base import ImageDataset, Split, hold_out
from .files import ImageFiles, read_categories, read_labels, unpacked
from .source import InParts

__all__ = ["SOURCE", "load"]

SIZE = 128
FOLDER, ARCHIVE = "miniplaces", "miniplaces/miniplaces_subset.tar.gz"
IMAGES, CATEGORIES, LISTS = "images", "categories.txt", {"train": "train.txt", "val": "val.txt"}
_N_VALIDATION_PER_CLASS = 12
_URL = "http://miniplaces.csail.mit.edu/data/data.tar.gz"
_ADVICE = (
    f"Put miniplaces_subset.tar.gz, as it is, into the folder named by $CNNINTE_DATA as {ARCHIVE}; or "
    f"download {_URL} (not fetched for you, because it is not on HTTPS and no hash of it was published), "
    f"unpack it into {FOLDER}/ there, so that it has {IMAGES}/, and put {CATEGORIES}, {LISTS['train']} and "
    f"{LISTS['val']} from data/ of https://github.com/CSAILVision/miniplaces beside that."
)
_PATHS = {
    "train": re.compile(r"train/[a-z]/[\w-]+(?:/[\w-]+)*/[\w-]+\.jpg"),
    "val": re.compile(r"val/[\w-]+\.jpg"),
}


def _is_archive_or_has_images(path: Path) -> bool:
    return path.is_file() or (path / IMAGES).is_dir()


SOURCE = InParts(
    "MiniPlaces",
    (f"{FOLDER}/{FOLDER}", FOLDER, ARCHIVE),
    _ADVICE,
    is_there=_is_archive_or_has_images,
    parts=(f"{IMAGES}/train", f"{IMAGES}/val", CATEGORIES, *LISTS.values()),
)


def load() -> ImageDataset:
    """Return MiniPlaces with the published validation images as test split.

    Validation are 12 training images of each scene; the published test images have no labels.
    """
    found = SOURCE.fetch()
    folder = found if found.is_dir() else unpacked(found, FOLDER)
    categories = read_categories(folder / CATEGORIES)
    rows = {split: _rows(folder, split, categories) for split in LISTS}
    train, validation = hold_out(_split(folder, rows["train"]), _N_VALIDATION_PER_CLASS)
    test = _split(folder, rows["val"])
    names = tuple(category.partition("/")[2] for category in categories)
    provenance = (
        "MiniPlaces (from Places2: Zhou, Lapedriza, Khosla, Oliva and Torralba 2018), "
        f"{found.name}, split {len(train):,}/{len(validation):,}/{len(test):,}"
    )
    return ImageDataset("miniplaces", train, validation, test, names, provenance)


def _rows(folder: Path, split: str, categories: list[str]) -> list[tuple[str, int]]:
    """Return path below images/ and label of every image of a split, sure that nothing is missing."""
    path = folder / LISTS[split]
    rows = read_labels(path, _PATHS[split])
    _check_labels(path, [label for _, label in rows], len(categories))
    if split == "train":
        _check_scenes(path, rows, categories)
    _check_files(folder, [name for name, _ in rows])
    return rows


def _check_labels(path: Path, labels: list[int], n_categories: int) -> None:
    """Refuse a list cut short: every scene has as many images as any other."""
    counts = Counter(labels)
    numbers = [counts[label] for label in range(n_categories)]
    if set(counts) != set(range(n_categories)) or min(numbers) < max(numbers):
        raise DataError(
            f"{path} should have equally many images of all {n_categories} scenes and of no other, found "
            f"{min(numbers)} to {max(numbers)} of {len(counts)} scenes: {repair_advice(path)}"
        )
    if path.name == LISTS["train"] and numbers[0] <= _N_VALIDATION_PER_CLASS:
        raise DataError(
            f"{path} should have more than {_N_VALIDATION_PER_CLASS} images of each scene, found {numbers[0]}"
        )


def _check_scenes(path: Path, rows: list[tuple[str, int]], categories: list[str]) -> None:
    """Refuse labels that are not those of the folders in which the images lie."""
    for number, (name, label) in enumerate(rows, start=1):
        scene = str(PurePosixPath(name).parent).partition("/")[2]
        if scene != categories[label]:
            raise DataError(
                f"{path}, line {number}: {name} has the label of {categories[label]}: {repair_advice(path)}"
            )


def _check_files(folder: Path, names: list[str]) -> None:
    parents = sorted({str(PurePosixPath(name).parent) for name in names})
    there = {f"{parent}/{file}" for parent in parents for file in _file_names(folder / IMAGES / parent)}
    missing = sorted(set(names) - there)
    if missing:
        raise DataError(
            f"{folder / IMAGES} lacks {len(missing):,} of {len(names):,} images, the first of them "
            f"{missing[0]}: {repair_advice(folder)}"
        )


def _file_names(folder: Path) -> list[str]:
    """Return the names of what is in a folder; none if there is no folder."""
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _split(folder: Path, rows: list[tuple[str, int]]) -> Split:
    names = np.array([name for name, _ in rows], np.dtypes.StringDType())
    return Split(ImageFiles(folder / IMAGES, names, SIZE), np.array([label for _, label in rows], np.int64))
