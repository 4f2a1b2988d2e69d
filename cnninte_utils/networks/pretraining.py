"""How the bundled weights were made: AlexNet and VGG19 on Tiny ImageNet."""

from pathlib import Path

import numpy as np

from .. import datasets
from ..datasets import ImageDataset
from .activations import predict
from .builders import build
from .training import Recipe, fit_or_load
from .weights import Weights, fold_batch_norm

__all__ = ["N_CLASSES", "STAGES", "WIDTH", "pretrain"]

WIDTH, N_CLASSES = 0.25, 200
STAGES = {"alexnet": ((64, 30),), "vgg19": ((32, 20), (64, 6))}
"""(pixels, epochs) one after the other; small images first, because VGG19 takes long to start."""


def pretrain(architecture: str, folder: Path) -> dict[str, float]:
    """Train a network on Tiny ImageNet, fold its batch normalisation, and write its weights into a folder.

    Parameters
    ----------
    architecture : {"alexnet", "vgg19"}
    folder : Path
        Where ``<architecture>.npz`` goes: the convolutions, in float16, without the head.

    Returns
    -------
    dict
        ``top1`` and ``top5``, the accuracies on the test split of the folded network in float16.
    """
    dataset = datasets.load("tiny_imagenet")
    mean, std = (list(map(float, statistic)) for statistic in _pixel_statistics(dataset.train.images))
    options = {"width": WIDTH, "head": "pooling", "mean": mean, "std": std}
    weights = None
    for size, epochs in STAGES[architecture]:
        network = fit_or_load(
            architecture,
            dataset,
            Recipe.of_epochs(
                epochs, len(dataset.train), 128,
                learning_rate=2e-3, schedule="cosine", weight_decay=0.05, is_augmented=True,
            ),
            options=options | {"input_size": size, "n_classes": N_CLASSES, "batch_norm": True},
            weights=weights,
        )  # fmt: skip
        weights = Weights.of(network.model)
    folded = fold_batch_norm(network.model, options | {"input_size": size})
    path = folder / f"{architecture}.npz"
    folded.save(path)
    accuracies = _accuracies(Weights.load(path), dataset)
    folded.without("fc8").save(path)
    return accuracies


def _pixel_statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each channel of uint8 images, in [0, 1]."""
    counts = np.stack([np.bincount(images[..., c].ravel(), minlength=256) for c in range(3)])
    share, values = counts / counts.sum(axis=1, keepdims=True), np.arange(256) / 255
    mean = share @ values
    return mean, np.sqrt(share @ values**2 - mean**2)


def _accuracies(weights: Weights, dataset: ImageDataset) -> dict[str, float]:
    model = build(weights.architecture, n_classes=len(dataset.class_names), **weights.options)
    weights.put_into(model)
    best = np.argsort(-predict(model, dataset.test), axis=1)[:, :5]
    hits = best == dataset.test.labels[:, None]
    return {"top1": float(hits[:, 0].mean()), "top5": float(hits.any(axis=1).mean())}
