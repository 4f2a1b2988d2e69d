"""What the atlas of the survey's methods looks at: networks that know their task, scenes of two objects."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression

from .. import checks, datasets
from ..datasets import ImageDataset, Split, tiny_imagenet, toyworld
from ..networks.activations import activations, predict
from ..networks.training import Recipe, TrainedNetwork, fit_for_package, fit_or_load
from . import qdv

__all__ = [
    "BOXED",
    "PACKAGED",
    "Boxed",
    "TwoObjects",
    "boxed",
    "recognized",
    "small_resnet",
    "small_resnet_for_package",
    "two_objects",
]

PACKAGED = {
    "resnet8_toyworld": ("toyworld", 0),
    "resnet8_toyworld_1": ("toyworld", 1),
    "resnet8_cifar10": ("cifar10", 0),
}
"""The small networks that come with the package, as each takes a minute or twenty: name → data set, seed."""

_RECIPE = {"batch_size": 32, "learning_rate": 3e-3, "schedule": "cosine", "is_augmented": True}
_N_CLASSES = 20
_STRENGTH = 0.01  # inverse, of the penalty: the best on validation images of 1e-4, 1e-3, 1e-2 and 1e-1
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

    It ends in global average pooling and its last maps are 8×8, so that class activation maps say where.
    Those of :data:`PACKAGED` come with the package.

    Parameters
    ----------
    dataset : ImageDataset
        Of colour images.
    epochs, seed
        As in :class:`cnninte_utils.networks.training.Recipe`.
    """
    return fit_or_load("resnet", dataset, _recipe(dataset, epochs, seed), options=_options(dataset))


def small_resnet_for_package(name: str, folder: Path) -> TrainedNetwork:
    """Train a network of :data:`PACKAGED` and write what comes with the package."""
    dataset_name, seed = PACKAGED[name]
    dataset = datasets.load(dataset_name)
    recipe = _recipe(dataset, 15, seed)
    return fit_for_package(folder, name, "resnet", dataset, recipe, options=_options(dataset))


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


@dataclass(frozen=True, eq=False)
class Boxed:
    """Pictures that a network gets right, each with a box around its one object, at most half of the picture.

    Parameters
    ----------
    model : keras.Model
    images : ndarray of shape (n, height, width, 3), float32 in [0, 1]
        As the model takes them.
    labels : ndarray of shape (n,), int64
    masks : ndarray of shape (n, height, width), bool
        Inside of the box.
    accuracy : float
        Of the model, on all pictures looked at.
    n_seen : int
        Pictures that were looked at.
    """

    model: keras.Model = field(repr=False)
    images: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    masks: np.ndarray = field(repr=False)
    accuracy: float
    n_seen: int

    def __len__(self) -> int:
        return len(self.labels)


def boxed(source: str, seed: int = 0) -> Boxed:
    """Return boxed pictures and a network that knows them: drawn ones, or photographs.

    The photographs are test images of classes of Tiny ImageNet, drawn by the seed; the network is the
    published AlexNet's convolutions at 224×224 with a logistic regression on their last feature maps, fitted
    to the training images of these classes.

    Parameters
    ----------
    source : {"toyworld", "tiny_imagenet"}
    seed : int
        Of the drawing, or of the choice of the classes and of the training.

    Raises
    ------
    ValueError
        If there is no such source.
    DataError
        If photographs or convolutions are not there, or damaged.
    """
    return checks.choice("source", source, BOXED)(seed)


def _boxed_drawings(seed: int) -> Boxed:
    model = small_resnet(datasets.load("toyworld")).model
    drawn = toyworld.render(_DRAWN_AT_ONCE, size=model.input_shape[1], seed=20 + seed)
    masks = drawn.objects == drawn.label[:, None, None] + 1
    (left, right), (top, bottom) = _ends(masks.any(axis=1)), _ends(masks.any(axis=2))
    return _clear(model, Split(drawn.images, drawn.label), np.stack([left, top, right, bottom], axis=1))


def _boxed_photographs(seed: int) -> Boxed:
    whole = datasets.load("tiny_imagenet")
    data = whole.with_classes(_N_CLASSES, seed=seed)
    is_chosen = np.isin(np.array(whole.class_names)[whole.test.labels], data.class_names)
    return _clear(_with_linear_head(data, seed), data.test, tiny_imagenet.boxes()[is_chosen])


def _with_linear_head(data: ImageDataset, seed: int) -> keras.Model:
    """Return the published AlexNet's convolutions with a logistic regression on their last maps."""
    n_classes = len(data.class_names)
    model = qdv.untuned("alexnet", n_classes, source="imagenet_convolutions", seed=seed)
    features = activations(model, "flatten", data.train)
    scale = features.std()
    reading = LogisticRegression(C=_STRENGTH, max_iter=1000).fit(features / scale, data.train.labels)
    model.get_layer("fc8").set_weights([reading.coef_.T / scale, reading.intercept_])
    return model


BOXED = {"toyworld": _boxed_drawings, "tiny_imagenet": _boxed_photographs}
"""Where boxed pictures come from."""


def _clear(model: keras.Model, pictures: Split, boxes: np.ndarray) -> Boxed:
    """Keep what is recognised and has a box of at most half the picture."""
    size = model.input_shape[1]
    images, rows, accuracy = recognized(model, pictures)
    middles = (np.arange(size) + 0.5) * pictures.images.shape[1] / size
    left, top, right, bottom = boxes[rows].T[:, :, None]
    across = (left <= middles) & (middles < right + 1)
    down = (top <= middles) & (middles < bottom + 1)
    masks = down[:, :, None] & across[:, None, :]
    is_clear = masks.any(axis=(1, 2)) & (masks.mean(axis=(1, 2)) <= 0.5)
    labels = pictures.labels[rows]
    return Boxed(model, images[is_clear], labels[is_clear], masks[is_clear], accuracy, len(pictures))


def _ends(is_covered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and the last covered place of each row, (n,) each; of all places where none is."""
    return is_covered.argmax(axis=1), is_covered.shape[1] - 1 - is_covered[:, ::-1].argmax(axis=1)


if __name__ == "__main__":
    for packaged in PACKAGED:
        print(packaged, small_resnet_for_package(packaged, Path(sys.argv[1])).history["val_accuracy"])
