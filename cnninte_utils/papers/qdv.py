"""Fine-tune AlexNet and VGG19 as paper B does: pretrained convolutions, a new head."""

import sys
from pathlib import Path

import keras
import numpy as np

from .. import checks, datasets
from ..datasets import ImageDataset, Split
from ..networks.activations import predict
from ..networks.builders import build
from ..networks.pretraining import tiny_imagenet
from ..networks.published import imagenet, imagenet_convolutions
from ..networks.training import Recipe, TrainedNetwork, fit_for_package, fit_or_load
from ..networks.weights import Weights, bundled

__all__ = [
    "LAYERS",
    "NETWORKS",
    "PACKAGED",
    "SCALINGS",
    "SOURCES",
    "TOYWORLD",
    "fine_tune",
    "fine_tune_for_package",
    "options_for",
    "predicted_labels",
    "reduction",
    "untuned",
]

NETWORKS = ("alexnet", "vgg19")
LAYERS = {
    "alexnet": ("maxpool1", "maxpool2", "conv3", "conv4", "maxpool5"),
    "vgg19": ("maxpool1", "maxpool2", "maxpool3", "maxpool4", "maxpool5"),
}
"""The five layers of each network that paper B looks at."""

VARIANTS = {"alexnet": {"head": "flat", "padding": "same"}, "vgg19": {"head": "fc"}}
"""Paper B's: one dense layer on AlexNet's convolutions, the first of them padded; VGG19's own fc layers."""
INPUT_SIZE = 224
SOURCES = {
    "bundled": bundled,
    "tiny_imagenet": tiny_imagenet,
    "imagenet": imagenet,
    "imagenet_convolutions": imagenet_convolutions,
}
TOYWORLD = {"epochs": 15, "batch_size": 16, "learning_rate": 2e-4}
"""The notebooks' recipe at ``quick``; it takes minutes, so that those of seed 0 come with the package."""
PACKAGED = {
    "vgg19_toyworld": ("vgg19", "as_trained", True),
    "alexnet_toyworld": ("alexnet", "as_trained", True),
    "alexnet_toyworld_zero_one": ("alexnet", "zero_one", True),
    "alexnet_toyworld_scratch": ("alexnet", "as_trained", False),
}
"""Name of the file → architecture, scaling of the pixels, and whether it starts from bundled weights."""
SCALINGS = ("as_trained", "zero_one")
_SMALLER = {
    "bundled": "a quarter of the width at 64×64, pretrained on Tiny ImageNet",
    "tiny_imagenet": "64×64, pretrained on Tiny ImageNet",
}


def fine_tune(
    architecture: str,
    dataset: ImageDataset,
    *,
    source: str = "bundled",
    scaling: str = "as_trained",
    epochs: int = 10,
    batch_size: int = 16,
    learning_rate: float = 1e-5,
    seed: int = 0,
    precision: str = "float32",
) -> TrainedNetwork:
    """Fine-tune a pretrained network on a data set, or load it; paper B's recipe by default.

    Parameters
    ----------
    architecture : {"alexnet", "vgg19"}
    dataset : ImageDataset
        Of colour images.
    source : {"bundled", "tiny_imagenet", "imagenet", "imagenet_convolutions"}
        Of the pretrained weights: a quarter of the width at 64×64, the full networks at 64×64 or 224×224, or
        AlexNet's convolutions alone, as quantised by others, at 224×224.
    scaling : {"as_trained", "zero_one"}
        What the convolutions get: pixels as the weights were trained with, or pixels in [0, 1] as in paper
        B's authors' code.
    epochs, batch_size, learning_rate, seed, precision
        As in :class:`cnninte_utils.networks.training.Recipe`.

    Returns
    -------
    TrainedNetwork

    Raises
    ------
    ValueError
        If there is no such architecture, source or scaling, or the source has no such architecture.

    References
    ----------
    Wang, Liu 2024, Section 3.
    """
    checks.choice("architecture", architecture, NETWORKS)
    checks.choice("scaling", scaling, SCALINGS)
    weights = checks.choice("source", source, SOURCES)(architecture)
    recipe = Recipe.of_epochs(
        epochs, len(dataset.train), batch_size, learning_rate=learning_rate, seed=seed, precision=precision
    )
    options = options_for(weights, len(dataset.class_names), scaling)
    return fit_or_load(architecture, dataset, recipe, options=options, weights=_transferable(weights))


def untuned(
    architecture: str, n_classes: int, *, source: str, scaling: str = "as_trained", seed: int = 0
) -> keras.Model:
    """Return the network that :func:`fine_tune` begins with: pretrained, its head at random."""
    weights = checks.choice("source", source, SOURCES)(architecture)
    keras.utils.set_random_seed(seed)
    model = build(architecture, **options_for(weights, n_classes, scaling))
    _transferable(weights).put_into(model)
    return model


def fine_tune_for_package(name: str, folder: Path) -> TrainedNetwork:
    """Train a network of :data:`PACKAGED` by :data:`TOYWORLD` and write what comes with the package."""
    architecture, scaling, is_pretrained = PACKAGED[name]
    dataset, weights = datasets.load("toyworld"), bundled(architecture)
    epochs, batch_size, rate = TOYWORLD.values()
    recipe = Recipe.of_epochs(epochs, len(dataset.train), batch_size, learning_rate=rate)
    return fit_for_package(
        folder, name, architecture, dataset, recipe,
        options=options_for(weights, len(dataset.class_names), scaling),
        weights=_transferable(weights) if is_pretrained else None,
    )  # fmt: skip


def options_for(weights: Weights, n_classes: int, scaling: str = "as_trained") -> dict:
    """Return what the network for the weights is built with, with paper B's head for `n_classes`."""
    options = weights.options | {"n_classes": n_classes} | VARIANTS[weights.architecture]
    options["input_size"] = min(INPUT_SIZE, options["input_size"])
    return options | ({} if scaling == "as_trained" else {"mean": None, "std": None})


def predicted_labels(model: keras.Model, split: Split) -> np.ndarray:
    """Return the class (n,) that a network gives to each image, resized to what it takes batch by batch."""
    return predict(model, split).argmax(axis=1)


def reduction(source: str, epochs: int, n_train: int) -> str:
    """Say how a run is smaller than paper B's; empty if it is not.

    Raises
    ------
    ValueError
        If the source of the weights is unknown, or there is no epoch.
    """
    checks.choice("source", source, SOURCES)
    checks.at_least(1, epochs=epochs)
    parts = [
        _SMALLER.get(source, ""),
        f"{epochs} of 10 epochs" if epochs < 10 else "",
        f"{n_train:,} training images" if n_train < 45_000 else "",
    ]
    return ", ".join(filter(None, parts))


def _transferable(weights: Weights) -> Weights:
    """Leave out what the new head does not share: AlexNet's fc layers, the classes of both."""
    fresh = {"alexnet": ("fc6", "fc7", "fc8"), "vgg19": ("fc8",)}[weights.architecture]
    return weights.without(*fresh)


if __name__ == "__main__":
    for packaged in PACKAGED:
        print(packaged, fine_tune_for_package(packaged, Path(sys.argv[1])).history["val_accuracy"])
