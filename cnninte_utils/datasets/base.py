"""The one form that every data set of labelled images takes."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..artifacts import array_digest


@dataclass(frozen=True, eq=False)
class Split:
    """Images with their labels.

    Parameters
    ----------
    images : ndarray of shape (n, height, width, channels), float32 in [0, 1]
    labels : ndarray of shape (n,), int64
    """

    images: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)

    def __post_init__(self):
        if self.images.ndim != 4 or self.images.dtype != np.float32:
            raise ValueError(
                f"images must be float32 (n, height, width, channels), "
                f"not {self.images.dtype} {self.images.shape}"
            )
        if self.labels.shape != (len(self.images),):
            raise ValueError(f"{len(self.images)} images but labels of shape {self.labels.shape}")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows) -> "Split":
        """Return the split of some rows (a slice or an index array)."""
        return Split(self.images[rows], self.labels[rows])


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """A data set in three splits; `provenance` says in one sentence what it is and where it came from."""

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    provenance: str

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over every image and label."""
        splits = (self.train, self.validation, self.test)
        return array_digest(*(array for split in splits for array in (split.images, split.labels)))

    def __str__(self) -> str:
        height, width, channels = self.train.images.shape[1:]
        return (
            f"{self.name}: {len(self.train):,} training, {len(self.validation):,} validation and "
            f"{len(self.test):,} test images of {height}×{width}×{channels}, "
            f"{len(self.class_names)} classes"
        )


def from_bytes(images: np.ndarray, labels: np.ndarray) -> Split:
    """Turn uint8 grey images (n, height, width) into a :class:`Split`."""
    return Split(images[..., None].astype(np.float32) / 255, labels.astype(np.int64))
