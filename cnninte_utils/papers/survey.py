"""What the atlas of the survey's methods looks at: networks that know their task, scenes of two objects."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from .. import checks, datasets
from ..datasets import ImageDataset, Split, toyworld
from ..networks.activations import predict
from ..networks.training import Recipe, TrainedNetwork, fit_for_package, fit_or_load

__all__ = ["PACKAGED", "TwoObjects", "recognized", "small_resnet", "small_resnet_for_package", "two_objects"]

PACKAGED = "resnet8_toyworld"
"""The network of seed 0 on Toyworld, which comes with the package: it takes a minute."""

_RECIPE = {"batch_size": 32, "learning_rate": 3e-3, "schedule": "cosine", "is_augmented": True}
_DRAWN_AT_ONCE = 500


@dataclass(frozen=True, eq=False)
class TwoObjects:
    """Scenes whose two objects are the two classes that a network finds most likely.

    On scenes of one object a map does well by pointing at the middle; here it must heed *which* class is
    asked about. Of both objects each is explained in turn.

    Parameters
    ----------
    images : ndarray of shape (n, height, width, 3), float32 in [0, 1]
    labels : ndarray of shape (n, 2), int64
        The class of the object in front, and of the other.
    masks : ndarray of shape (n, 2, height, width), bool
        Where each object is seen.
    n_drawn : int
        Scenes that were looked through.
    """

    images: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    masks: np.ndarray = field(repr=False)
    n_drawn: int

    def __len__(self) -> int:
        return len(self.labels)


def small_resnet(dataset: ImageDataset, *, epochs: int = 15, seed: int = 0) -> TrainedNetwork:
    """Train a residual network of eight layers at 32×32 pixels, or load it.

    It ends in global average pooling and its last maps are 8×8, so that class activation maps say where. On
    Toyworld with seed 0 it comes with the package.

    Parameters
    ----------
    dataset : ImageDataset
        Of colour images.
    epochs, seed
        As in :class:`cnninte_utils.networks.training.Recipe`.
    """
    return fit_or_load("resnet", dataset, _recipe(dataset, epochs, seed), options=_options(dataset))


def small_resnet_for_package(folder: Path) -> TrainedNetwork:
    """Train the network of :data:`PACKAGED` and write what comes with the package."""
    dataset = datasets.load("toyworld")
    return fit_for_package(
        folder, PACKAGED, "resnet", dataset, _recipe(dataset, 15, 0), options=_options(dataset)
    )


def _recipe(dataset: ImageDataset, epochs: int, seed: int) -> Recipe:
    return Recipe.of_epochs(epochs, len(dataset.train), seed=seed, **_RECIPE)


def _options(dataset: ImageDataset) -> dict:
    half = [0.5, 0.5, 0.5]
    return {"depth": 8, "input_size": 32, "n_classes": len(dataset.class_names), "mean": half, "std": half}


def recognized(
    model: keras.Model, split: Split, n: int | None = None, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return images whose class the network finds, as it takes them, since only those have a true reason.

    Parameters
    ----------
    model : keras.Model
    split : Split
        Resized to what the network takes.
    n : int, optional
        Images, drawn at random; by default all that are found.
    seed : int
        Of that choice.

    Returns
    -------
    images : ndarray of shape (n, height, width, channels), float32 in [0, 1]
    rows : ndarray of shape (n,), int64
        Which they are in the split, in ascending order.
    accuracy : float
        Of the network on the whole split.

    Raises
    ------
    ValueError
        If fewer are found.
    """
    is_right = predict(model, split).argmax(axis=1) == split.labels
    rows = np.flatnonzero(is_right)
    if n is not None:
        checks.at_least(1, n=n)
        if len(rows) < n:
            raise ValueError(f"{n} images are to be explained, the network finds {len(rows)} of {len(split)}")
        rows = np.sort(np.random.default_rng(seed).choice(rows, n, replace=False))
    return split.take(rows).floats(model.input_shape[1]), rows, float(is_right.mean())


def two_objects(model: keras.Model, n: int, *, seed: int = 10, most: int = 20_000) -> TwoObjects:
    """Draw Toyworld scenes of two objects until there are enough whose two best classes are the two objects.

    Parameters
    ----------
    model : keras.Model
        Trained on Toyworld.
    n : int
        Scenes wanted.
    seed : int
        Of the scenes; 1 to 6 are those of the data sets.
    most : int
        Scenes after which to give up.

    Returns
    -------
    TwoObjects
        Drawn at the network's own size.

    Raises
    ------
    ValueError
        If there are not so many among `most`, or the network is not one of Toyworld's classes.
    """
    checks.at_least(1, n=n, most=most)
    size, n_classes = model.input_shape[1], model.output_shape[1]
    if n_classes != len(toyworld.OBJECTS):
        raise ValueError(f"expected a network of Toyworld's {len(toyworld.OBJECTS)} classes, got {n_classes}")
    rng = np.random.default_rng(seed)
    found, n_found, n_drawn = [], 0, 0
    while n_found < n and n_drawn < most:
        labels = rng.permuted(np.tile(np.arange(n_classes), (_DRAWN_AT_ONCE, 1)), axis=1)[:, :2]
        drawn = toyworld.render(
            len(labels), size=size, seed=int(rng.integers(2**31)), n_objects=2, labels=labels
        )
        images = drawn.images.astype(np.float32) / 255
        masks = drawn.objects[:, None] == labels[:, :, None, None] + 1
        best = np.sort(predict(model, images).argsort(axis=1)[:, -2:], axis=1)
        is_clear = (best == np.sort(labels, axis=1)).all(axis=1) & masks.any(axis=(2, 3)).all(axis=1)
        found.append((images[is_clear], labels[is_clear], masks[is_clear]))
        n_found, n_drawn = n_found + int(is_clear.sum()), n_drawn + len(labels)
    if n_found < n:
        raise ValueError(f"{n} scenes are wanted, {n_found} of {n_drawn} have both objects as best classes")
    return TwoObjects(*(np.concatenate(parts)[:n] for parts in zip(*found, strict=True)), n_drawn)


if __name__ == "__main__":
    print(PACKAGED, small_resnet_for_package(Path(sys.argv[1])).history["val_accuracy"])
