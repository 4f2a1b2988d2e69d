"""Drawings of what changes an answer: a smallest change, a part that goes, a signal among distractors."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .common import CLASS_COLORS, OPEN_COLOR, show_image


def pixel_bars(values: Mapping[str, Sequence[float]], *, size: float = 1.9) -> Figure:
    """Draw one number for each pixel, a panel for each way to get it.

    Parameters
    ----------
    values : mapping of str to sequence of float
        Title → the pixels' numbers, which may be negative.
    """
    figure, axes = plt.subplots(
        1, len(values), figsize=(size * len(values), 1.3 * size), layout="constrained"
    )
    for ax, (name, numbers) in zip(axes, values.items(), strict=True):
        places = np.arange(1, len(numbers) + 1)
        ax.bar(places, numbers, color=[CLASS_COLORS[0 if number >= 0 else 1] for number in numbers])
        ax.axhline(0, color="0.3", linewidth=0.8)
        ax.set(xticks=places, xlabel="pixel")
        ax.set_title(name, fontsize=10, loc="center")
    return figure


def smallest_changes(
    images: np.ndarray, changes: np.ndarray, before: Sequence[str], after: Sequence[str], *, size: float = 1.5
) -> Figure:
    """Draw images, the changes made larger, and what comes of them.

    Parameters
    ----------
    images : float array of shape (n, height, width, 3), in [0, 1]
    changes : float array of the same shape, signed
        Drawn about grey, each at the scale of its own largest number, which is written below it.
    before, after : sequences of n names
        The classes of the images, and of images with changes.
    """
    n = len(images)
    figure, axes = plt.subplots(3, n, figsize=(size * n, 3 * size + 1.1), squeeze=False, layout="constrained")
    for column, (image, change) in enumerate(zip(images, changes, strict=True)):
        largest = max(np.abs(change).max(), 1e-12)
        show_image(axes[0, column], image).set_title(before[column], fontsize=10, loc="center")
        show_image(axes[1, column], 0.5 + change / (2 * largest))
        axes[1, column].set_xlabel(f"largest {largest:.3f}", fontsize=9)
        show_image(axes[2, column], np.clip(image + change, 0, 1))
        axes[2, column].set_title(after[column], fontsize=10, loc="center")
    for ax, name in zip(axes[:, 0], ("image", "change, enlarged", "sum"), strict=True):
        ax.set_ylabel(name, fontsize=10)
    return figure


def curves_by_share(curves: Mapping[str, np.ndarray], ax: Axes, *, references: Mapping[str, float]) -> Axes:
    """Draw the mean score against the share of pixels that are gone, with one standard error.

    Parameters
    ----------
    curves : mapping of str to float array of shape (images, steps + 1)
        From nothing gone to all.
    references : mapping of str to float
        Label → height of a level line.
    """
    for color, (name, each) in zip(CLASS_COLORS, curves.items(), strict=False):
        share, mean = np.linspace(0, 1, each.shape[1]), each.mean(axis=0)
        error = each.std(axis=0, ddof=1) / np.sqrt(len(each))
        ax.plot(share, mean, color=color, label=name, linewidth=2)
        ax.fill_between(share, mean - error, mean + error, color=color, alpha=0.2, linewidth=0)
    for name, height in references.items():
        ax.axhline(height, color=OPEN_COLOR, linestyle="--", label=name)
    ax.set(
        xlabel="share of pixels gone, the hottest first",
        ylabel="probability of the class",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    ax.legend(fontsize=9)
    return ax


def share_by_area(frame: pd.DataFrame, ax: Axes) -> Axes:
    """Draw which share of a map's heat lies on the object, against the share of the image that it covers.

    Parameters
    ----------
    frame : DataFrame
        One row for each map: ``area`` and ``share`` from 0 to 1, ``map`` its kind.
    """
    for color, (name, rows) in zip(CLASS_COLORS, frame.groupby("map", sort=False), strict=False):
        ax.scatter(rows["area"], rows["share"], color=color, label=name, s=26, alpha=0.8)
    ax.plot([0, 1], [0, 1], color="0.3", linestyle="--", label="heat spread evenly")
    ax.set(xlim=(0, min(1, 1.15 * frame["area"].max())), ylim=(0, 1))
    ax.set(xlabel="share of the image that is object", ylabel="share of the heat on it")
    ax.legend(fontsize=9)
    return ax


def signal_and_distractor(
    points: np.ndarray, signal: np.ndarray, arrows: Mapping[str, np.ndarray], ax: Axes
) -> Axes:
    """Draw points in the plane, coloured by the signal in them, and directions as arrows from the middle.

    Parameters
    ----------
    points : float array of shape (n, 2)
    signal : array of shape (n,)
        Two values or more.
    arrows : mapping of str to array of shape (2,)
    """
    for color, value in zip((CLASS_COLORS[0], CLASS_COLORS[1]), np.unique(signal), strict=False):
        chosen = signal == value
        ax.scatter(*points[chosen].T, color=color, s=60, label=f"signal {value:+g}")
    for color, (name, arrow) in zip(("black", "#117733"), arrows.items(), strict=False):
        ax.annotate(
            "", xy=arrow, xytext=(0, 0), arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": 2.5}
        )
        ax.annotate(name, xy=arrow, xytext=(6, 6), textcoords="offset points", color=color, weight="bold")
    reach = 1.35 * max(np.abs(points).max(), *(np.abs(arrow).max() for arrow in arrows.values()))
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xlabel="pixel 1", ylabel="pixel 2")
    ax.legend(fontsize=9, loc="upper left")
    return ax
