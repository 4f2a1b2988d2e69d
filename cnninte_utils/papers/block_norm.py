"""Train the pairs of paper C, and of networks with skips: one with weight decay, one with block norm."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from .. import checks, measures
from ..datasets import ImageDataset
from ..methods.group_norms.objective import Penalty
from ..networks.builders import ALEXNETS
from ..networks.parts import scaled
from ..networks.training import Recipe, TrainedNetwork, fit_or_load

__all__ = [
    "CHOICES",
    "FILTERS",
    "HANDED_ON",
    "NETWORKS",
    "PENALTIES",
    "SKIPS",
    "SMALLEST",
    "network_options",
    "reduction",
    "settings",
    "table_1",
    "train",
]

NETWORKS = {"alexnet": False, "alexnet_b": True}
"""Whether each normalises batches after every convolution."""

SKIPS = {"resnet": {"depth": 20}, "densenet": {"depth": 16}}
"""Networks with skip connections, which paper C plans to try → how deep; both are for small images."""

HANDED_ON = {
    "resnet": ["relu_conv1", *(f"relu_add{number}" for number in range(3, 20, 2))],
    "densenet": ["relu_before_conv6", "relu_before_conv11", "relu_before_pooling"],
}
"""Network with skip connections → the layers whose maps its blocks hand on, at the depth of `SKIPS`."""

PENALTIES: Mapping[str, Penalty] = {
    "weight_decay": Penalty("weight_decay", 5e-4),
    "block_norm": Penalty("block_norm", 0.005),
    "proximal": Penalty("proximal", 0.005),
}
"""Block norm as in the authors' code; their weight decay's strength is not known, AlexNet's own is taken."""

SMALL = 128
SMALLEST = 30
"""Height and width of the smallest images that leave a position after the last pooling."""
FILTERS = ALEXNETS["one_tower"]["filters"]
CHOICES = "rate along half a cosine, mirrored and shifted images: not given by paper C"
MEAN, STD = (0.48, 0.45, 0.40), (0.27, 0.26, 0.28)


def filters(width: float) -> tuple[int, ...]:
    """Return the number of filters of each convolution at a fraction `width` of AlexNet's."""
    return tuple(scaled(n, width) for n in FILTERS)


def network_options(network: str, n_classes: int, *, width: float, input_size: int) -> dict:
    """Return what a network of paper C is built with.

    Images of fewer than 128 pixels get a first layer of 7×7 with stride 2 instead of 11×11 with stride 4, so
    that conv3 to conv5 keep more than 3×3 positions, and global pooling instead of fully connected layers.
    """
    checks.choice("network", network, [*NETWORKS, *SKIPS])
    options = {
        "n_classes": n_classes, "width": width, "input_size": input_size,
        "mean": list(MEAN), "std": list(STD),
    }  # fmt: skip
    if network in SKIPS:
        return options | SKIPS[network]
    options |= {"variant": "one_tower", "batch_norm": NETWORKS[network], "head": "fc"}
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
    network : {"alexnet", "alexnet_b", "resnet", "densenet"}
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
    architecture = network if network in SKIPS else "alexnet"
    return fit_or_load(architecture, dataset, recipe, options=options, objective=penalty)


def table_1(counts: pd.DataFrame, dataset: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Make the claims of Table 1's cells and rows for one training set of the paper.

    Parameters
    ----------
    counts : DataFrame
        One row for each training and draw of a null: ``network``, ``penalty``, ``seed``, ``kind``
        ("detectors" or the name of a null) and ``detectors``.
    dataset : str
        The paper's training set, as in the ids of its claims.

    Returns
    -------
    measured : dict of str to value
        Claim → mean and spread of the detectors over trainings, or whether block norm has more on average.
    reasons : dict of str to str
        Claim → median and range of each null, or the difference in each pair of trainings.
    """
    measured, reasons = {}, {}
    own = counts[counts["kind"] == "detectors"].set_index(["network", "penalty", "seed"])["detectors"]
    own = own.sort_index()
    for (network, penalty), some in counts.groupby(["network", "penalty"]):
        claim = f"block_norm.detectors.{dataset}.{network}.{penalty}"
        measured[claim] = measures.mean_sd(own[network, penalty])
        nulls = some[some["kind"] != "detectors"].groupby("kind")["detectors"]
        reasons[claim] = "; ".join(
            f"{kind}: median {values.median():g}, {values.min()} to {values.max()}" for kind, values in nulls
        )
    for network in counts["network"].unique():
        claim = f"block_norm.gain.{dataset}.{network}"
        more = (own[network, "block_norm"] - own[network, "weight_decay"]).dropna()
        measured[claim] = bool(more.mean() > 0)
        reasons[claim] = "each pair of trainings: " + ", ".join(f"{difference:+g}" for difference in more)
    return measured, reasons


def reduction(width: float, input_size: int, epochs: int) -> str:
    """Say how a training is smaller than paper C's; empty if it is not."""
    parts = [
        f"{width:g} of the filters" if width < 1 else "",
        f"{input_size}×{input_size} pixels" if input_size < 224 else "",
        "first layer 7×7/2, global pooling before the classes" if input_size < SMALL else "",
        f"{epochs} of 90 epochs" if epochs < 90 else "",
    ]
    return ", ".join(filter(None, parts))


def settings(
    penalty: Penalty,
    n_classes: int,
    *,
    width: float,
    input_size: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
) -> dict[str, tuple[str, str]]:
    """Set a training beside that of the authors' code, so that nothing that differs goes unsaid.

    Parameters
    ----------
    penalty : Penalty
        The block norm of the training.
    n_classes : int
    width, input_size, epochs, batch_size, learning_rate
        As for :func:`train`.

    Returns
    -------
    dict of str to (str, str)
        What is set → there (``"not given"`` where neither report nor code says it), here.

    References
    ----------
    Paper C; p, q, the number of groups, λ, batch size, rate and momentum are those of its authors' code.
    """
    options = network_options("alexnet", n_classes, width=width, input_size=input_size)
    full = network_options("alexnet", n_classes, width=1, input_size=224)
    heads = {"fc": "fc6, fc7 and dropout ½", "pooling": "global average pooling"}
    theirs = Penalty()
    return {
        "p (within a group)": (f"{theirs.p:g}", f"{penalty.p:g}"),
        "q (across groups)": (f"{theirs.q:g}", f"{penalty.q:g}"),
        "groups G in a layer": (str(theirs.n_groups), str(penalty.n_groups)),
        "λ of the block norm": (f"{theirs.strength:g}", f"{penalty.strength:g}"),
        "λ of weight decay": ("not given", f"{PENALTIES['weight_decay'].strength:g}"),
        "filters": tuple("-".join(map(str, filters(share))) for share in (1, width)),
        "pixels": ("224×224", f"{input_size}×{input_size}"),
        "first layer": tuple(
            f"{size}×{size}, stride {stride}"
            for size, stride in ((11, 4), (options.get("first_kernel", 11), options.get("first_stride", 4)))
        ),
        "after the convolutions": (heads[full["head"]], heads[options["head"]]),
        "epochs": ("90", str(epochs)),
        "images a step": ("256", str(batch_size)),
        "learning rate": ("0.01", f"{learning_rate:g}"),
        "momentum": ("0.9", "0.9"),
        "schedule": ("not given", "warm-up, then half a cosine to 0"),
        "augmentation": ("not given", "mirrored, shifted by up to an eighth"),
    }
