"""Places365: 1.8 million photographs of 365 kinds of scene at 256×256 (Zhou, Lapedriza, Khosla et al. 2018).

The images stay in their files (:class:`ImageFiles`): as one array they would take 350 GB.
"""

import os
import re
from pathlib import Path

import numpy as np

from ..artifacts import DataError
from .base import ImageDataset, Split, hold_out
from .files import ImageFiles, read_categories, read_labels
from .source import InParts

__all__ = ["SOURCE", "load"]

SIZE = 256
FOLDER = "places365"
TRAIN, VALIDATION = "data_256", "val_256"
CATEGORIES, VALIDATION_LABELS = "categories_places365.txt", "places365_val.txt"
_N_VALIDATION_PER_CLASS = 100
_URL = "http://data.csail.mit.edu/places/places365"
_ARCHIVES = {
    "train_256_places365standard.tar": "0ade5d7d38c682aa0203014a2b99ad3bf608bf1de0f151dc0d80efba54660a0a",
    "val_256.tar": "24b4e639ef12a0012af525bc4cb443e4ab4aaea8369a1fb009b70e4a4aad5d48",
    "filelist_places365-standard.tar": "520699e00d69b63ddc29fac54645aa00ce1c10ca42e288960aa1cf791d6e9aa9",
}
_ADVICE = (
    "Download "
    + ", ".join(f"{_URL}/{name} (SHA-256 {digest})" for name, digest in _ARCHIVES.items())
    + ", 27 GB together and not fetched for you, because they are not on HTTPS; check them with sha256sum "
    f"and unpack them into {FOLDER}/ in the folder named by $CNNINTE_DATA, so that it has {TRAIN}/, "
    f"{VALIDATION}/, {CATEGORIES} and {VALIDATION_LABELS}."
)
_PHOTOGRAPH = re.compile(r"[\w-]+\.jpg")


SOURCE = InParts(
    "Places365",
    (FOLDER,),
    _ADVICE,
    is_there=Path.is_dir,
    parts=(TRAIN, VALIDATION, CATEGORIES, VALIDATION_LABELS),
)


def load() -> ImageDataset:
    """Return Places365 with the published validation images as test split.

    Validation are 100 training images of each category; the published test images have no labels.
    """
    folder = SOURCE.fetch()
    categories = read_categories(folder / CATEGORIES)
    train, validation = hold_out(_train_images(folder, categories), _N_VALIDATION_PER_CLASS)
    test = _validation_images(folder, len(categories))
    names = tuple(category.partition("/")[2] for category in categories)
    provenance = (
        "Places365-Standard, small images (Zhou, Lapedriza, Khosla, Oliva and Torralba 2018), "
        f"split {len(train):,}/{len(validation):,}/{len(test):,}"
    )
    return ImageDataset("places365", train, validation, test, names, provenance)


def _train_images(folder: Path, categories: list[str]) -> Split:
    names, labels = [], []
    for label, category in enumerate(categories):
        found = _photographs(folder / TRAIN / category)
        if len(found) <= _N_VALIDATION_PER_CLASS:
            raise DataError(
                f"{folder / TRAIN / category} should have more than {_N_VALIDATION_PER_CLASS} images, found "
                f"{len(found)}: unpack {next(iter(_ARCHIVES))} again"
            )
        names += [f"{TRAIN}/{category}/{name}" for name in found]
        labels += [label] * len(found)
    return _split(folder, names, labels)


def _validation_images(folder: Path, n_categories: int) -> Split:
    rows = read_labels(folder / VALIDATION_LABELS, _PHOTOGRAPH)
    names, labels = [name for name, _ in rows], [label for _, label in rows]
    if set(labels) != set(range(n_categories)):
        raise DataError(
            f"{folder / VALIDATION_LABELS} should have images of all {n_categories} categories and of no "
            f"other, found {len(set(labels))}: unpack it again"
        )
    missing = sorted(set(names) - set(_photographs(folder / VALIDATION)))
    if missing:
        raise DataError(
            f"{folder / VALIDATION} lacks {len(missing):,} of {len(names):,} images, the first of them "
            f"{missing[0]}: unpack val_256.tar again"
        )
    return _split(folder, [f"{VALIDATION}/{name}" for name in names], labels)


def _split(folder: Path, names: list[str], labels: list[int]) -> Split:
    files = ImageFiles(folder, np.array(names, np.dtypes.StringDType()), SIZE)
    return Split(files, np.array(labels, np.int64))


def _photographs(folder: Path) -> list[str]:
    """Return the names of the JPEG files in a folder, sorted; none if there is no folder."""
    try:
        return sorted(name for name in os.listdir(folder) if _PHOTOGRAPH.fullmatch(name))
    except (FileNotFoundError, NotADirectoryError):
        return []
