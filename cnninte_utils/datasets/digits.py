"""Scikit-learn's handwritten digits, resampled from 8×8 to 28×28: the embedded stand-in for MNIST."""

import numpy as np
from scipy.ndimage import zoom
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from .base import ImageDataset, Split
from .source import Embedded

SOURCE = Embedded("embedded in scikit-learn")

_SPLIT_SEED = 0
_PROVENANCE = (
    "1,797 real handwritten digits (UCI Optical Recognition of Handwritten Digits, test part, by way of "
    "scikit-learn), resampled from 8×8 to 28×28 with cubic splines; split 1,200/200/397 by class"
)


def load() -> ImageDataset:
    """Return 1,200 training, 200 validation and 397 test digits, always the same ones."""
    images, labels = load_digits(return_X_y=True)
    images = zoom(images.reshape(-1, 8, 8) / 16, (1, 3.5, 3.5), order=3, mode="nearest", grid_mode=True)
    images = np.clip(images, 0, 1)[..., None].astype(np.float32)
    rest, test = _split(np.arange(len(labels)), labels, 397)
    train, validation = _split(rest, labels, 200)
    parts = (Split(images[rows], labels[rows].astype(np.int64)) for rows in (train, validation, test))
    return ImageDataset("digits", *parts, tuple("0123456789"), _PROVENANCE)


def _split(rows, labels, n_second):
    return train_test_split(rows, test_size=n_second, stratify=labels[rows], random_state=_SPLIT_SEED)
