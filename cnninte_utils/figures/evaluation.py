"""Drawings of maps put to the test: another class, other weights, other methods, other measures."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .common import CLASS_COLORS, OPEN_COLOR, SEPARATED_COLOR, show_image

OUTLINES = (CLASS_COLORS[1], CLASS_COLORS[9])
"""Of the object in front, and of the other."""
_DARK = 0.55  # above it, red and blue want white letters


def heat_map(heat: np.ndarray, ax: Axes, masks: Sequence[np.ndarray] = ()) -> Axes:
    """Draw a map of heat (height, width), dark where there is none, and outline objects over it.

    The 99.5 % quantile sets the scale, so that single pixels do not.

    Parameters
    ----------
    masks : sequence of bool arrays of shape (height, width)
        Outlined in the order of :data:`OUTLINES`.
    """
    largest = np.quantile(heat, 0.995)
    largest = largest if largest > 0 else max(heat.max(), 1e-12)
    ax.imshow(heat, cmap="gray", vmin=0, vmax=largest)
    _outlined(ax, masks)
    ax.set(xticks=[], yticks=[])
    return ax


def _outlined(ax: Axes, masks: Sequence[np.ndarray]) -> None:
    for mask, color in zip(masks, OUTLINES, strict=False):
        ax.contour(mask, levels=[0.5], colors=[color], linewidths=1.6)


def class_swap(
    image: np.ndarray,
    masks: np.ndarray,
    names: Sequence[str],
    heats: Mapping[str, np.ndarray],
    *,
    size: float = 1.5,
) -> Figure:
    """Draw one scene of two objects, a row for each class that is asked about, a column for each method.

    Parameters
    ----------
    image : float array of shape (height, width, 3), in [0, 1]
    masks : bool array of shape (2, height, width)
        Of both objects; the one asked about is outlined.
    names : sequence of two str
        Their classes.
    heats : mapping of str to float array of shape (2, height, width)
        Method → maps of the one class and the other.
    """
    figure, axes = plt.subplots(
        2, len(heats) + 1, figsize=(size * (len(heats) + 1), 2 * size + 0.5), layout="constrained"
    )
    for row, (name, mask) in enumerate(zip(names, masks, strict=True)):
        asked = [mask] if row == 0 else [np.zeros_like(mask), mask]
        _outlined(show_image(axes[row, 0], image), asked)
        axes[row, 0].set_ylabel(f"“{name}”?", fontsize=11, color="black", weight="bold")
        for ax, (method, pair) in zip(axes[row, 1:], heats.items(), strict=True):
            heat_map(pair[row], ax, asked)
            if row == 0:
                ax.set_title(method.replace(" ", "\n", 1), fontsize=10, loc="center")
    axes[0, 0].set_title("scene", fontsize=10, loc="center")
    return figure


def every_method(
    image: np.ndarray,
    heats: Mapping[str, np.ndarray],
    masks: Sequence[np.ndarray] = (),
    *,
    columns: int = 5,
    size: float = 1.75,
) -> Figure:
    """Draw one picture and its map by every method.

    Parameters
    ----------
    image : float array of shape (height, width, 1 or 3), in [0, 1]
    heats : mapping of str to float array of shape (height, width)
    masks : sequence of bool arrays of shape (height, width)
        Of objects to outline.
    """
    rows = -(-(len(heats) + 1) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(size * columns, (size + 0.3) * rows), squeeze=False, layout="constrained"
    )
    for ax in axes.flat[len(heats) + 1 :]:
        ax.set_axis_off()
    _outlined(show_image(axes.flat[0], image), masks)
    axes.flat[0].set_title("picture", fontsize=10, loc="center")
    for ax, (name, heat) in zip(axes.flat[1:], heats.items(), strict=False):
        heat_map(heat, ax, masks).set_title(name, fontsize=10, loc="center")
    return figure


def cascade_curves(
    cascades: Mapping[str, Mapping[tuple[str, ...], np.ndarray]], floors: Mapping[str, float], ax: Axes
) -> Axes:
    """Draw how much of each method's map is left as more layers are shuffled.

    Parameters
    ----------
    cascades : mapping of str to (mapping of tuple of str to float array of shape (n,))
        Method → layers shuffled so far → similarity to the network's own map, of each image. A line is the
        mean, its band the middle half of the images.
    floors : mapping of str to float
        Method → how alike its maps of different images are: dotted, in the method's colour, from the middle
        on.
    """
    for k, (name, steps) in enumerate(cascades.items()):
        values, color = np.array(list(steps.values())), CLASS_COLORS[(0, 2, 4, 1, 5, 8)[k % 6]]
        places = np.arange(len(values))
        low, high = np.nanquantile(values, (0.25, 0.75), axis=1)
        ax.plot(places, np.nanmean(values, axis=1), marker="os^Dvp"[k % 6], ms=5, color=color, label=name)
        ax.fill_between(places, low, high, color=color, alpha=0.12, lw=0)
        if name in floors:
            ax.plot(places[[len(places) // 2, -1]], [floors[name]] * 2, ls=":", lw=1.8, color=color)
    last = [names[-1] if names else "none" for names in steps]
    ax.set_xticks(places, [last[0], *(f"+ {name}" for name in last[1:])], rotation=35, ha="right")
    ax.set(xlabel="layers with shuffled weights", ylabel="rank correlation with the own map")
    ax.label_outer()
    return ax


def similarity_matrix(matrix: np.ndarray, names: Sequence[str], ax: Axes) -> Axes:
    """Draw how alike the maps of methods are: Spearman's rank correlation, written in.

    Parameters
    ----------
    matrix : float array of shape (methods, methods), in [-1, 1]
    """
    ax.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1)
    for (row, column), value in np.ndenumerate(matrix):
        color = "white" if abs(value) > _DARK else "black"
        ax.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color=color)
    ax.tick_params(length=0)
    ax.set_xticks(range(len(names)), names, rotation=40, ha="right")
    ax.set_yticks(range(len(names)), names)
    return ax


def two_rankings(
    left: Mapping[str, float], right: Mapping[str, float], ax: Axes, *, titles: tuple[str, str]
) -> Axes:
    """Draw the ranks of methods by two measures, the best on top, and a line from one to the other.

    Lines are green where a method keeps its rank within two places, red where it does not.

    Parameters
    ----------
    left, right : mappings of str to float
        Method → measure, the larger the better.
    titles : (str, str)
        What the measures are.
    """
    places = []
    for side, (x, align) in zip((left, right), ((0, "right"), (1, "left")), strict=True):
        order = sorted(side, key=side.get, reverse=True)
        places.append({name: row for row, name in enumerate(order)})
        for row, name in enumerate(order):
            shift = -0.04 if x == 0 else 0.04
            ax.text(x + shift, row, f"{row + 1}  {name}", ha=align, va="center", fontsize=10)
    for name, row in places[0].items():
        color = SEPARATED_COLOR if abs(row - places[1][name]) <= 2 else OPEN_COLOR
        ax.plot([0, 1], [row, places[1][name]], marker="o", ms=5, color=color, lw=1.8)
    for x, title in enumerate(titles):
        ax.text(x, -0.9, title, ha="center", va="bottom", weight="bold", fontsize=10)
    ax.set(xlim=(-0.75, 1.75), ylim=(len(left) - 0.5, -1.4))
    ax.set_axis_off()
    return ax


def picture_rows(
    rows: Mapping[str, np.ndarray], notes: Mapping[str, Sequence[str]], *, size: float = 1.8
) -> Figure:
    """Draw pictures in columns, and what was made of each in rows below one another.

    Parameters
    ----------
    rows : mapping of str to float array of shape (n, height, width, 1 or 3), in [0, 1]
        What a row shows → its pictures.
    notes : mapping of str to sequence of n str
        What a row shows → what is written over each of its pictures.
    """
    n = len(next(iter(rows.values())))
    figure, axes = plt.subplots(
        len(rows), n, figsize=(size * n + 0.6, (size + 0.22) * len(rows)), squeeze=False, layout="constrained"
    )
    for line, (name, pictures) in zip(axes, rows.items(), strict=True):
        for k, (ax, picture) in enumerate(zip(line, pictures, strict=True)):
            show_image(ax, picture)
            if name in notes:
                ax.set_title(notes[name][k], fontsize=9, loc="center")
        line[0].set_ylabel(name, fontsize=11, weight="bold")
    return figure


def method_intervals(
    intervals: Mapping[str, tuple[float, float, float]], ax: Axes, label: str, baselines: Sequence[str] = ()
) -> Axes:
    """Draw a mean and its interval for each method, the best on top; baselines hollow, with a line down.

    Parameters
    ----------
    intervals : mapping of str to (float, float, float)
        Method → mean, low, high.
    label : str
        What was measured.
    baselines : sequence of str
        Those of them that know no network.
    """
    order = sorted(intervals, key=lambda name: intervals[name][0], reverse=True)
    for row, name in enumerate(order):
        mean, low, high = intervals[name]
        is_baseline = name in baselines
        color = "0.45" if is_baseline else CLASS_COLORS[0]
        face = "white" if is_baseline else color
        error = [[mean - low], [high - mean]]
        ax.errorbar(mean, row, xerr=error, fmt="o", color=color, mfc=face, ms=6, capsize=3)
        if is_baseline:
            ax.axvline(mean, color=color, lw=0.8, ls=":")
    ax.set_yticks(range(len(order)), order)
    ax.set(xlabel=label, ylim=(len(order) - 0.5, -0.5))
    return ax
