"""Train the pairs of paper C: AlexNet and AlexNet-B, with weight decay and with block norm."""

from collections.abc import Mapping

from .. import checks
from ..datasets import ImageDataset
from ..methods.group_norms.objective import Penalty
from ..networks.training import Recipe, TrainedNetwork, fit_or_load

__all__ = ["NETWORKS", "PENALTIES", "network_options", "reduction", "train"]

NETWORKS = {"alexnet": False, "alexnet_b": True}
"""Whether each normalises batches after every convolution."""

PENALTIES: Mapping[str, Penalty] = {
    "weight_decay": Penalty("weight_decay", 5e-4),
    "block_norm": Penalty("block_norm", 0.005),
    "proximal": Penalty("proximal", 0.005),
}
"""Block norm as in the authors' code; their weight decay's strength is not known, AlexNet's own is taken."""

SMALL = 128
MEAN, STD = (0.48, 0.45, 0.40), (0.27, 0.26, 0.28)


def network_options(network: str, n_classes: int, *, width: float, input_size: int) -> dict:
    """Return what a network of paper C is built with.

    Images of fewer than 128 pixels get a first layer of 7×7 with stride 2 instead of 11×11 with stride 4, so
    that conv3 to conv5 keep more than 3×3 positions, and global pooling instead of fully connected layers.
    """
    has_batch_norm = checks.choice("network", network, NETWORKS)
    options = {
        "variant": "one_tower", "batch_norm": has_batch_norm, "n_classes": n_classes, "width": width,
        "input_size": input_size, "mean": list(MEAN), "std": list(STD), "head": "fc",
    }  # fmt: skip
    small = {"first_kernel": 7, "first_stride": 2, "head": "pooling"}
    return options | (small if input_size < SMALL else {})


def train(
    network: str,
    penalty: Penalty,
    dataset: ImageDataset,
    *,
    width: float = 1.0,
    input_size: int = 224,
    epochs: int = 90,
    batch_size: int = 256,
    learning_rate: float = 0.01,
    seed: int = 0,
) -> TrainedNetwork:
    """Train a network of paper C from scratch, or load it: SGD with momentum, mirrored and shifted images.

    Parameters
    ----------
    network : {"alexnet", "alexnet_b"}
    penalty : Penalty
    dataset : ImageDataset
        Of colour images.
    width, input_size
        As in :func:`cnninte_utils.networks.builders.alexnet`.
    epochs, batch_size, learning_rate, seed
        As in :class:`cnninte_utils.networks.training.Recipe`; the rate falls to 0 along half a cosine.

    Returns
    -------
    TrainedNetwork
        Its history has every group's strength as ``strength/{layer}/{group}``.

    References
    ----------
    Paper C; batch size, rate and momentum are those of its authors' code.
    """
    recipe = Recipe.of_epochs(
        epochs, len(dataset.train), batch_size, learning_rate=learning_rate, seed=seed,
        schedule="cosine", is_augmented=True, algorithm="sgd",
    )  # fmt: skip
    options = network_options(network, len(dataset.class_names), width=width, input_size=input_size)
    return fit_or_load("alexnet", dataset, recipe, options=options, objective=penalty)


def reduction(width: float, input_size: int, epochs: int) -> str:
    """Say how a training is smaller than paper C's; empty if it is not."""
    parts = [
        f"{width:g} of the filters" if width < 1 else "",
        f"{input_size}×{input_size} pixels" if input_size < 224 else "",
        f"{epochs} of 90 epochs" if epochs < 90 else "",
    ]
    return ", ".join(filter(None, parts))
