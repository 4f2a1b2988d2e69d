"""The one form that every data set of labelled images takes."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Integral

import numpy as np

from .. import checks
from ..artifacts import array_digest
from .files import ImageFiles


@dataclass(frozen=True, eq=False)
class Split:
    """Images with their labels.

    Parameters
    ----------
    images : ndarray of shape (n, height, width, channels), or ImageFiles
        float32 in [0, 1], uint8 where a data set would be too large otherwise, or the files themselves where
        it would be too large even so; :meth:`floats` gives float32 in any case.
    labels : ndarray of shape (n,), int64
    """

    images: np.ndarray | ImageFiles = field(repr=False)
    labels: np.ndarray = field(repr=False)

    def __post_init__(self):
        if not (isinstance(self.images, np.ndarray | ImageFiles) and isinstance(self.labels, np.ndarray)):
            raise ValueError(
                f"images and labels must be arrays, got {type(self.images).__name__} and "
                f"{type(self.labels).__name__}"
            )
        if self.images.ndim != 4 or self.images.dtype not in (np.float32, np.uint8):
            raise ValueError(
                f"images must be float32 or uint8 (n, height, width, channels), "
                f"not {self.images.dtype} {self.images.shape}"
            )
        if self.images.dtype == np.float32 and len(self.images):
            checks.images(self.images)
        if self.labels.shape != (len(self.images),):
            raise ValueError(f"{len(self.images)} images but labels of shape {self.labels.shape}")
        if len(self.labels) and not (np.issubdtype(self.labels.dtype, np.integer) and self.labels.min() >= 0):
            raise ValueError(f"labels must be whole numbers from 0 on, got {np.unique(self.labels)[:5]}")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows) -> "Split":
        """Return the split of some rows (a slice or an index array)."""
        return Split(self.images[rows], self.labels[rows])

    def pixels(self, size: int | None = None) -> np.ndarray:
        """Return the images as they are kept, float32 or uint8; files are decoded, at that size if given."""
        return self.images.read(size) if isinstance(self.images, ImageFiles) else self.images

    def floats(self, size: int | None = None) -> np.ndarray:
        """Return the images as float32 in [0, 1], resized bilinearly to (size, size) if asked for."""
        images = self.pixels(size)
        if images.dtype == np.uint8:
            images = images.astype(np.float32) / 255
        return images if size is None else resize(images, size)

    def identity(self) -> tuple[np.ndarray, ...]:
        """Return arrays that tell this split from any other: of image files, their names and sizes only."""
        images = self.images.identity() if isinstance(self.images, ImageFiles) else (self.images,)
        return *images, self.labels

    def batches(self, batch_size: int, size: int | None = None) -> Iterator[np.ndarray]:
        """Yield :meth:`floats` batch by batch, in order."""
        checks.at_least(1, batch_size=batch_size)
        for start in range(0, len(self), batch_size):
            yield self.take(slice(start, start + batch_size)).floats(size)

    def per_class(self, n: int, seed: int) -> np.ndarray:
        """Return the rows of `n` images of every class, drawn at random, in ascending order.

        Raises
        ------
        ValueError
            If a class has fewer.
        """
        checks.at_least(0, n=n)
        classes, counts = np.unique(self.labels, return_counts=True)
        if counts.min() < n:
            rarest = classes[counts.argmin()]
            raise ValueError(f"expected {n} images of class {rarest}, there are {counts.min()}")
        rng = np.random.default_rng(seed)
        drawn = [rng.choice(np.flatnonzero(self.labels == c), n, replace=False) for c in classes]
        return np.sort(np.concatenate(drawn))


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """A data set in three splits; `provenance` says in one sentence what it is and where it came from."""

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    provenance: str

    def __post_init__(self):
        for split in (self.train, self.validation, self.test):
            if len(split) and split.labels.max() >= len(self.class_names):
                raise ValueError(
                    f"{self.name} has {len(self.class_names)} classes, got the label {split.labels.max()}"
                )

    def with_train(self, n: int, seed: int = 0) -> "ImageDataset":
        """Return the data set with `n` training images, as many of each class; with all of them for 0.

        Raises
        ------
        ValueError
            If `n` is no whole number, less than one image a class, or more than there are.
        """
        is_count = isinstance(n, Integral) and not isinstance(n, bool)
        if is_count and n == 0:
            return self
        n_classes = len(self.class_names)
        most = int(np.unique(self.train.labels, return_counts=True)[1].min() + 1) * n_classes - 1
        if not is_count or not n_classes <= n <= most:
            raise ValueError(
                f"the number of training images, n_train, must be 0 for all or a whole number from "
                f"{n_classes} to {most:,}, as many of each class, got {n!r}"
            )
        rows = self.train.per_class(n // n_classes, seed)
        return replace(self, train=self.train.take(rows))

    def with_classes(
        self, n: int, *, part: int = 1, seed: int = 0, name: str | None = None
    ) -> "ImageDataset":
        """Return the images of `n` classes drawn at random, numbered anew in their old order.

        Parameters
        ----------
        n : int
            Number of classes, at least 1.
        part : int
            1 for the first `n` classes of a random order, 2 for the next `n`, and so on: different parts
            share no class.
        seed : int
            Of that order.
        name : str, optional
            Of the new data set; by default the old name, `n` and `part`, as in ``"tiny_imagenet_50_1"``.

        Raises
        ------
        ValueError
            If there are not so many classes.
        """
        n_classes = len(self.class_names)
        if min(n, part) < 1 or n * part > n_classes:
            raise ValueError(
                f"n >= 1, part >= 1 and n * part <= {n_classes} (the classes of {self.name}) needed: "
                f"n = {n}, part = {part}"
            )
        order = np.random.default_rng(seed).permutation(n_classes)
        classes = np.sort(order[n * (part - 1) : n * part])
        choice = f"part {part} of those drawn with seed {seed}"
        return self._only(classes, choice, name or f"{self.name}_{n}_{part}")

    def half(self, part: int, name: str | None = None) -> "ImageDataset":
        """Return the images of every second class, numbered anew in their old order.

        Parameters
        ----------
        part : {1, 2}
            1 for the classes 0, 2, 4, …, and 2 for 1, 3, 5, …: nothing is drawn.
        name : str, optional
            Of the new data set; by default the old name and `part`, as in ``"miniplaces_half_1"``.

        Raises
        ------
        ValueError
            If there is no such part.
        """
        choice = checks.choice("part", part, {1: "those of even number", 2: "those of odd number"})
        classes = np.arange(part - 1, len(self.class_names), 2)
        return self._only(classes, choice, name or f"{self.name}_half_{part}")

    def _only(self, classes: np.ndarray, choice: str, name: str) -> "ImageDataset":
        parts = (_of_classes(split, classes) for split in (self.train, self.validation, self.test))
        provenance = (
            f"{len(classes)} of the {len(self.class_names)} classes of {self.name}, {choice}; "
            f"{self.provenance}"
        )
        return ImageDataset(name, *parts, tuple(self.class_names[c] for c in classes), provenance)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over every image (of image files, the names and sizes) and label."""
        splits = (self.train, self.validation, self.test)
        return array_digest(*(array for split in splits for array in split.identity()))

    def __str__(self) -> str:
        height, width, channels = self.train.images.shape[1:]
        return (
            f"{self.name}: {len(self.train):,} training, {len(self.validation):,} validation and "
            f"{len(self.test):,} test images of {height}×{width}×{channels}, "
            f"{len(self.class_names)} classes"
        )


def _of_classes(split: Split, classes: np.ndarray) -> Split:
    """Return the images of some classes, in ascending order, with the labels 0, 1, ..."""
    chosen = split.take(np.isin(split.labels, classes))
    return replace(chosen, labels=np.searchsorted(classes, chosen.labels))


def from_bytes(images: np.ndarray, labels: np.ndarray) -> Split:
    """Turn uint8 grey images (n, height, width) into a :class:`Split`."""
    return Split(images[..., None].astype(np.float32) / 255, labels.astype(np.int64))


def hold_out(split: Split, n_per_class: int, seed: int = 0) -> tuple[Split, Split]:
    """Divide a split into (the rest, `n_per_class` random images of every class)."""
    held = np.zeros(len(split), dtype=bool)
    held[split.per_class(n_per_class, seed)] = True
    return split.take(~held), split.take(held)


def resize(images: np.ndarray, size: int) -> np.ndarray:
    """Resize images (n, height, width, channels) to (n, size, size, channels), bilinearly.

    Half-pixel centres, no antialiasing, as OpenCV's and TensorFlow's bilinear.
    """
    if images.shape[1:3] == (size, size):
        return images
    import keras

    return np.asarray(keras.ops.image.resize(images, (size, size), interpolation="bilinear"))
