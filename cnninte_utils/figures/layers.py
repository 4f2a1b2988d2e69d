"""Drawings of embeddings and of the neighbourhood hit (paper B, Fig. 4 and Table 3)."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.spatial.distance import cdist

from .common import CLASS_COLORS

NETWORK_COLORS = {"alexnet": "#0072B2", "vgg19": "#D55E00"}
NETWORK_MARKERS = {"alexnet": "o", "vgg19": "s"}
_OWN_KIND, _OTHER_KIND = "#009E73", "#B2182B"


def embedding_scatter(points: np.ndarray, labels: np.ndarray, ax: Axes, *, title: str = "") -> Axes:
    """Draw an embedding (n, 2), one colour per class, the same everywhere."""
    ax.scatter(*points.T, c=[CLASS_COLORS[k % 10] for k in labels], s=8, linewidths=0)
    ax.set(xticks=[], yticks=[], title=title)
    ax.set_aspect("equal", adjustable="datalim")
    for spine in ax.spines.values():
        spine.set(visible=True, color="0.8")
    return ax


def embedding_grid(
    rows: Mapping[str, Sequence[tuple[str, np.ndarray]]], labels: np.ndarray, class_names: Sequence[str]
) -> Figure:
    """Draw rows of embeddings with one legend of classes.

    Parameters
    ----------
    rows : mapping of str to sequence of (title, points)
        One row for each name.
    labels : int array of shape (n,)
    class_names : sequence of str
    """
    n_columns = max(map(len, rows.values()))
    figure, axes = plt.subplots(
        len(rows), n_columns, figsize=(1.95 * n_columns, 2.15 * len(rows) + 0.4), squeeze=False
    )
    for row, (name, panels) in zip(axes, rows.items(), strict=True):
        for ax, (title, points) in zip(row, panels, strict=False):
            embedding_scatter(points, labels, ax)
            ax.set_title(title, fontsize=9)
        row[0].set_ylabel(name)
        for ax in row[len(panels) :]:
            ax.set_axis_off()
    handles = [
        Line2D([], [], marker="o", ls="", color=CLASS_COLORS[k % 10], label=name)
        for k, name in enumerate(class_names)
    ]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(10, len(handles)),
        fontsize=9,
        handletextpad=0.1,
        columnspacing=1,
    )
    return figure


def hit_by_depth(
    frame: pd.DataFrame,
    ax: Axes,
    *,
    paper: Mapping[str, Sequence[float]] | None = None,
    chance: float | None = None,
) -> Axes:
    """Draw the neighbourhood hit against depth, a line for each network, with the paper's points.

    Parameters
    ----------
    frame : DataFrame
        As :func:`cnninte_utils.methods.layers.neighborhood.score` returns it, of one space; seeds are
        averaged, the band is the bootstrap interval.
    paper : mapping of str to sequence of float, optional
        Network → the paper's values from the first layer on.
    chance : float, optional
        What labels that do not matter would give.
    """
    columns = ["nh", "low", "high"]
    for network, rows in frame.groupby("network", sort=False):
        mean, color = rows.groupby("depth")[columns].mean(), NETWORK_COLORS.get(network, "0.3")
        ax.plot(mean.index, mean["nh"], marker="o", color=color, label=f"{network}, here")
        ax.fill_between(mean.index, mean["low"], mean["high"], color=color, alpha=0.15, lw=0)
    for network, values in (paper or {}).items():
        color = NETWORK_COLORS.get(network, "0.3")
        ax.plot(
            range(1, len(values) + 1), values, marker="x", ls="--", color=color, label=f"{network}, paper"
        )
    if chance is not None:
        ax.axhline(chance, color="0.5", ls=":", lw=1, label=f"chance ({chance:.2f})")
    ax.set(xlabel="layer", ylabel="neighbourhood hit", ylim=(0, 1), xticks=sorted(frame["depth"].unique()))
    ax.legend(fontsize=8, loc="upper left")
    return ax


def difference_by_depth(frame: pd.DataFrame, ax: Axes) -> Axes:
    """Draw a paired difference against depth with its interval, as :func:`.neighborhood.compare` gives it."""
    error = [frame["difference"] - frame["low"], frame["high"] - frame["difference"]]
    ax.errorbar(frame["depth"], frame["difference"], yerr=error, fmt="o", color="#009E73", capsize=4)
    ax.axhline(0, color="0.5", lw=1)
    ax.set(xlabel="layer", ylabel="difference of the hits", xticks=frame["depth"])
    return ax


def price_intervals(frame: pd.DataFrame, ax: Axes) -> Axes:
    """Draw what slips cost, a row for each, a mark with its interval for each network.

    Parameters
    ----------
    frame : DataFrame
        Columns slip, network, price, low, high, in points of accuracy; positive where accuracy is lost.
    """
    slips, networks = list(frame["slip"].unique()), list(frame["network"].unique())
    for i, network in enumerate(networks):
        rows = frame[frame["network"] == network]
        height = [slips.index(slip) + 0.24 * (i - (len(networks) - 1) / 2) for slip in rows["slip"]]
        ax.errorbar(
            rows["price"], height, xerr=[rows["price"] - rows["low"], rows["high"] - rows["price"]],
            fmt=NETWORK_MARKERS.get(network, "D"), color=NETWORK_COLORS.get(network, "0.3"),
            capsize=3, label=network,
        )  # fmt: skip
    ax.axvline(0, color="0.5", lw=1)
    ax.set_yticks(range(len(slips)), slips)
    ax.set(xlabel="points of accuracy lost", ylim=(len(slips) - 0.5, -0.5))
    ax.legend(fontsize=9)
    return ax


def difference_by_epoch(frame: pd.DataFrame, ax: Axes) -> Axes:
    """Draw how two variants differ, in hit and in accuracy, against training epochs, with intervals.

    Parameters
    ----------
    frame : DataFrame
        Columns epoch, measure, difference, low, high.
    """
    epochs = sorted(frame["epoch"].unique())
    measures = list(frame["measure"].unique())
    for i, (name, rows) in enumerate(frame.groupby("measure", sort=False)):
        place = [epochs.index(epoch) + 0.16 * (i - (len(measures) - 1) / 2) for epoch in rows["epoch"]]
        error = [rows["difference"] - rows["low"], rows["high"] - rows["difference"]]
        ax.errorbar(place, rows["difference"], yerr=error, fmt="os^"[i % 3], capsize=4, label=name)
    ax.axhline(0, color="0.5", lw=1)
    ax.set_xticks(range(len(epochs)), epochs)
    ax.set(xlabel="training epochs", ylabel="difference", xlim=(-0.5, len(epochs) - 0.5))
    ax.legend(fontsize=9)
    return ax


def neighbor_links(points: np.ndarray, labels: np.ndarray, ax: Axes, *, n_neighbors: int) -> Axes:
    """Draw a few points and an arrow from each to its nearest: whole to its own kind, dashed to another.

    Parameters
    ----------
    points : float array of shape (n, 2)
    labels : int array of shape (n,)
    n_neighbors : int
    """
    distances = cdist(points, points)
    np.fill_diagonal(distances, np.inf)
    for i, row in enumerate(distances.argsort(axis=1)[:, :n_neighbors]):
        for j in row:
            is_own = labels[i] == labels[j]
            style = {"color": _OWN_KIND if is_own else _OTHER_KIND, "ls": "-" if is_own else "--", "lw": 1.3}
            style |= {"arrowstyle": "-|>", "shrinkA": 8, "shrinkB": 8, "connectionstyle": "arc3,rad=0.12"}
            ax.annotate("", points[j], points[i], arrowprops=style)
    for kind in np.unique(labels):
        ax.plot(*points[labels == kind].T, "oxs^"[kind % 4], color=CLASS_COLORS[kind % 10], ms=10, mew=2.5)
    ax.set(aspect="equal", xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.margins(0.15)
    return ax
