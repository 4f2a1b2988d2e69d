"""AlexNet and VGG19 on Tiny ImageNet: how the bundled weights were made, and the full networks' are."""

from pathlib import Path

import numpy as np

from .. import datasets
from ..artifacts import DataError
from ..datasets import ImageDataset
from ..datasets.source import Source
from .activations import predict
from .builders import build
from .training import Recipe, fit_or_load
from .weights import Weights, fold_batch_norm

__all__ = ["FULL", "N_CLASSES", "STAGES", "WIDTH", "file_of", "pretrain", "tiny_imagenet"]

WIDTH, N_CLASSES = 0.25, 200
STAGES = {"alexnet": ((64, 30),), "vgg19": ((32, 20), (64, 6))}
"""(pixels, epochs) one after the other; small images first, because VGG19 takes long to start."""
FULL = {"alexnet": ((64, 60),), "vgg19": ((32, 20), (64, 40))}
"""The same at full width, which asks for a GPU."""


def pretrain(architecture: str, folder: Path, *, is_full: bool = False) -> dict[str, float]:
    """Train a network on Tiny ImageNet, fold its batch normalisation, and write its weights into a folder.

    Parameters
    ----------
    architecture : {"alexnet", "vgg19"}
    folder : Path
        Where ``<architecture>.npz`` goes, or ``<architecture>_tiny_imagenet.npz`` at full width: the
        convolutions, in float16, without the head.
    is_full : bool
        At the published width, in bfloat16 while training; otherwise at a quarter of it.

    Returns
    -------
    dict
        ``top1`` and ``top5``, the accuracies on the test split of the folded network in float16.
    """
    dataset = datasets.load("tiny_imagenet")
    mean, std = (list(map(float, statistic)) for statistic in _pixel_statistics(dataset.train.images))
    width, stages, rate, precision = (
        (1.0, FULL, 1e-3, "mixed_bfloat16") if is_full else (WIDTH, STAGES, 2e-3, "float32")
    )
    options = {"width": width, "head": "pooling", "mean": mean, "std": std}
    weights = None
    for size, epochs in stages[architecture]:
        network = fit_or_load(
            architecture,
            dataset,
            Recipe.of_epochs(
                epochs, len(dataset.train), 128,
                learning_rate=rate, schedule="cosine", weight_decay=0.05, is_augmented=True,
                precision=precision,
            ),
            options=options | {"input_size": size, "n_classes": N_CLASSES, "batch_norm": True},
            weights=weights,
        )  # fmt: skip
        weights = Weights.of(network.model)
    folded = fold_batch_norm(network.model, options | {"input_size": size})
    path = folder / file_of(architecture, is_full)
    folded.save(path)
    accuracies = _accuracies(Weights.load(path), dataset)
    folded.without("fc8").save(path)
    return accuracies


def tiny_imagenet(architecture: str) -> Weights:
    """Return the full network's convolutions trained on Tiny ImageNet at 64×64.

    They do not come with the package (VGG19's take 37 MB): ``cnninte pretrain`` makes them.

    Raises
    ------
    ValueError
        If the architecture is another one than those of :data:`FULL`.
    cnninte_utils.artifacts.DataError
        If the file is absent or damaged.
    """
    if architecture not in FULL:
        raise ValueError(f"no weights of Tiny ImageNet for {architecture!r}: choose alexnet or vgg19")
    name = file_of(architecture, is_full=True)
    advice = (
        f"Make it with: cnninte pretrain {architecture} --full --out DIR (minutes on a GPU, days "
        "without one), and put it into weights/ of the folder named by $CNNINTE_DATA."
    )
    path = Source(name, (f"weights/{name}",), advice).fetch()
    weights = Weights.load(path)
    if weights.architecture != architecture:
        raise DataError(f"{path} holds the weights of {weights.architecture}, not of {architecture}")
    return weights


def file_of(architecture: str, is_full: bool) -> str:
    """Return the name of the file that :func:`pretrain` writes."""
    return f"{architecture}_tiny_imagenet.npz" if is_full else f"{architecture}.npz"


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
