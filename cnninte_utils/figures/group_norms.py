"""Drawings of groups of filters and of the penalties on them (paper C, the regularisers)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D

from .common import show_image, tiled

# The four kinds of cnninte_utils.methods.group_norms.objective, with underscores or spaces.
PENALTY_COLORS = {
    "none": "#555555",
    "weight_decay": "#0072B2",
    "block_norm": "#D55E00",
    "proximal": "#009E73",
}
_SPARE_COLORS = ("#CC79A7", "#E69F00", "#56B4E9", "#000000", "#0072B2")
_LINE_STYLES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_TOUCH_COLOR = "#D55E00"
_BEHIND_TEXT = {"facecolor": "white", "alpha": 0.7, "lw": 0, "pad": 0.5}


def penalty_colors(names: Iterable[str]) -> dict[str, str]:
    """Return a colour for each network: a penalty's own, and spare ones for others in order."""
    own = {name: PENALTY_COLORS.get(name.replace(" ", "_")) for name in names}
    others = [name for name, color in own.items() if color is None]
    spare = {name: _SPARE_COLORS[i % len(_SPARE_COLORS)] for i, name in enumerate(others)}
    return {name: color or spare[name] for name, color in own.items()}


def unit_ball(norm: Callable[[np.ndarray], np.ndarray], ax: Axes) -> Axes:
    """Draw the pairs of weights that a norm calls no larger than 1.

    Parameters
    ----------
    norm : callable
        Takes weights (n, 2), returns their norms (n,).
    """
    side = np.linspace(-1.4, 1.4, 281)
    first, second = np.meshgrid(side, side)
    values = norm(np.stack([first.ravel(), second.ravel()], axis=1)).reshape(first.shape)
    ax.contourf(first, second, values, levels=[-1, 1], colors=["#56B4E9"], alpha=0.4)
    ax.contour(first, second, values, levels=[1], colors=["#0072B2"], linewidths=1.5)
    ax.axhline(0, color="0.3", lw=0.8, zorder=1)
    ax.axvline(0, color="0.3", lw=0.8, zorder=1)
    ax.set(xlabel="weight 1", ylabel="weight 2", xticks=(-1, 0, 1), yticks=(-1, 0, 1), aspect="equal")
    return ax


def training_idea(ax: Axes, *, n_groups: int = 4, active: Sequence[int] = (1,), size: int = 3) -> Axes:
    """Draw the idea of paper C, Fig. 1: filters in groups, few of them active, in one place of the image.

    Parameters
    ----------
    n_groups : int
        Columns of feature maps.
    active : sequence of int
        Groups that are active, from 0; the others are pale.
    size : int
        Filters in a group.
    """
    for group in range(n_groups):
        is_active = group in active
        color = f"C{group % 8}" if is_active else "0.5"
        left = 1.5 * group
        ax.add_patch(
            FancyBboxPatch(
                (left, 0), 1.1, 1.15 * size - 0.05, boxstyle="round,pad=0.12", fc="white", ec=color, lw=2
            )
        )
        for filter_ in range(size):
            corner = left + 0.05, 1.15 * filter_
            ax.add_patch(plt.Rectangle(corner, 1, 1, fc="0.97", ec="0.7", lw=0.8))
            if is_active:
                spot = corner[0] + 0.62, corner[1] + 0.6
                ax.add_patch(plt.Circle(spot, 0.2 + 0.03 * filter_, fc=color, ec="none"))
        ax.text(left + 0.55, -0.45, f"group {group + 1}", ha="center", va="top", color=color, fontsize=10)
        ax.text(
            left + 0.55,
            -0.85,
            "active" if is_active else "off",
            ha="center",
            va="top",
            color=color,
            fontsize=9,
        )
    right, top = 1.5 * n_groups - 0.1, 1.15 * size
    notes = {
        "block norm:\nfew groups of filters stay": 0.9 * top,
        "activation term:\na group's maps light up\nin the same region": 0.55 * top,
        "spatial term:\neach map lights up\nin one place": 0.15 * top,
    }
    for text, height in notes.items():
        ax.text(right + 0.5, height, text, va="center", fontsize=10)
        end = (1.5 * max(active) + 1.25, height) if active else (right, height)
        ax.add_patch(
            FancyArrowPatch((right + 0.42, height), end, arrowstyle="->", color="0.6", mutation_scale=9)
        )
    ax.set(xlim=(-0.3, right + 4.2), ylim=(-1.3, top + 0.3), aspect="equal")
    ax.set_axis_off()
    return ax


def norm_ball(optimum: np.ndarray, touch: np.ndarray, ax: Axes3D) -> Axes3D:
    """Draw all triples of weights with sqrt(w1² + w2²) + |w3| ≤ 1, and the contour of a loss that touches it.

    Weights 1 and 2 are one group, weight 3 is another; the block norm has p = 2 and q = 1. The loss is half
    the squared distance from its optimum, so that its contours are spheres.

    Parameters
    ----------
    optimum : float array of shape (3,)
        Where the loss is least.
    touch : float array of shape (3,)
        The point of the ball with the least loss.
    """
    turn, height = np.meshgrid(np.linspace(0, 2 * np.pi, 73), np.linspace(-1, 1, 41))
    width = 1 - np.abs(height)
    ax.plot_surface(
        width * np.cos(turn), width * np.sin(turn), height, color="#56B4E9", alpha=0.55, lw=0, shade=True
    )
    rim = np.linspace(0, 2 * np.pi, 200)
    ax.plot(np.cos(rim), np.sin(rim), 0, color="#0072B2", lw=1.5)
    around, up = np.meshgrid(np.linspace(0, 2 * np.pi, 25), np.linspace(0, np.pi, 13))
    radius = np.linalg.norm(np.asarray(optimum) - touch)
    sphere = np.stack([np.cos(around) * np.sin(up), np.sin(around) * np.sin(up), np.cos(up)])
    sphere = np.asarray(optimum)[:, None, None] + radius * sphere
    ax.plot_wireframe(*sphere, color="#E69F00", lw=0.6, alpha=0.8)
    ax.plot(*np.stack([optimum, touch]).T, color=_TOUCH_COLOR, lw=1.2, ls="--", zorder=9)
    ax.scatter(*optimum, color="#E69F00", s=40, depthshade=False, zorder=10, label="least loss")
    ax.scatter(
        *touch,
        color=_TOUCH_COLOR,
        s=60,
        marker="D",
        depthshade=False,
        zorder=10,
        label="least loss within the solid",
    )
    ends = np.stack([-np.ones(3), np.ones(3), sphere.max(axis=(1, 2)), sphere.min(axis=(1, 2))])
    low, high = ends.min(), ends.max()
    ax.set(xlim=(low, high), ylim=(low, high), zlim=(low, high))
    ax.set_box_aspect((1, 1, 1), zoom=0.95)
    ax.set(xticks=(-1, 0, 1), yticks=(-1, 0, 1), zticks=(-1, 0, 1))
    ax.set(xlabel="weight 1", ylabel="weight 2", zlabel="weight 3")
    ax.view_init(elev=16, azim=-52)
    return ax


def norm_balls(optima: Mapping[str, np.ndarray], touches: Mapping[str, np.ndarray]) -> Figure:
    """Draw a :func:`norm_ball` for each loss, side by side, titled with where it touches.

    Parameters
    ----------
    optima, touches : mappings of str to float array of shape (3,)
        What is to be said of a loss → its optimum, and its least point of the ball.
    """
    figure = plt.figure(figsize=(4.5 * len(optima), 4.3))
    for place, (name, optimum) in enumerate(optima.items(), start=1):
        ax = figure.add_subplot(1, len(optima), place, projection="3d")
        norm_ball(optimum, touches[name], ax)
        ax.set_title("(" + ", ".join(f"{weight:.1f}" for weight in touches[name]) + f"): {name}")
        ax.legend(fontsize=8, loc="upper left")
    return figure


def strength_paths(paths: Mapping[str, np.ndarray], labels: Sequence[str]) -> Figure:
    """Draw how strong groups are after each step, a panel for each way of stepping; zero is off the axis.

    Parameters
    ----------
    paths : mapping of str to float array of shape (steps, n_groups)
    labels : sequence of str
        Of the groups.
    """
    figure, axes = plt.subplots(1, len(paths), figsize=(4.5 * len(paths), 3), sharey=True, squeeze=False)
    for ax, (name, path) in zip(axes[0], paths.items(), strict=True):
        for strengths, label, style in zip(path.T, labels, cycle(_LINE_STYLES), strict=False):
            ax.semilogy(np.where(strengths > 0, strengths, np.nan), style, label=label)
        ax.set(title=name, xlabel="step", ylim=(1e-3, 10))
    axes[0, 0].set_ylabel("strength of each group")
    axes[0, -1].legend(fontsize=9)
    return figure


def validation_curves(histories: Mapping[str, Mapping[str, Sequence[float]]], ax: Axes) -> Axes:
    """Draw accuracy on validation images against steps, a line for each network.

    Parameters
    ----------
    histories : mapping of str to history
        Network → what training logged, with ``step`` and ``val_accuracy``.
    """
    colors = penalty_colors(histories)
    for (name, history), style, marker in zip(
        histories.items(), cycle(_LINE_STYLES), cycle(_MARKERS), strict=False
    ):
        ax.plot(
            history["step"], history["val_accuracy"], ls=style, marker=marker, ms=5, color=colors[name],
            label=name.replace("_", " "),
        )  # fmt: skip
    ax.set(xlabel="optimizer steps", ylabel="validation accuracy", ylim=(0, 1.02))
    ax.legend(fontsize=9)
    return ax


def strengths_by_layer(
    strengths: Mapping[str, Mapping[str, np.ndarray]], ax: Axes, *, reach: float | None = None
) -> Axes:
    """Draw the strength of every group, a dot each: layers across, a colour and a marker for each network.

    Parameters
    ----------
    strengths : mapping of str to mapping of str to float array of shape (n_groups,)
        Network → layer → strengths.
    reach : float, optional
        What a penalty can take off a group; the band from 0 to it is shaded.
    """
    colors = penalty_colors(strengths)
    shifts = np.linspace(-0.25, 0.25, len(strengths)) if len(strengths) > 1 else [0.0]
    layers = list(next(iter(strengths.values())))
    for (name, of_layers), shift, marker in zip(strengths.items(), shifts, cycle(_MARKERS), strict=False):
        places = np.concatenate([np.full(len(of_layers[layer]), i + shift) for i, layer in enumerate(layers)])
        values = np.concatenate([np.asarray(of_layers[layer]) for layer in layers])
        ax.scatter(places, values, s=26, color=colors[name], marker=marker, alpha=0.8, linewidths=0,
                   label=name.replace("_", " "))  # fmt: skip
    if reach is not None:
        ax.axhspan(0, reach, color="#F0E442", alpha=0.5, lw=0, zorder=0, label="within the penalty's reach")
    ax.set_xticks(range(len(layers)), layers)
    ax.set_ylim(bottom=0)
    ax.set(ylabel="strength of a group")
    ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def shrinking_path(path: pd.DataFrame, *, chosen: float, chance: float) -> Figure:
    """Draw what happens while a penalty's factor grows: accuracy above, living groups of each layer below.

    Parameters
    ----------
    path : DataFrame
        Index: the factors λ, ascending, above 0. Columns ``accuracy``, ``low`` and ``high`` (its interval),
        and one for each layer with its number of groups that are not exactly zero.
    chosen : float
        One of the factors, marked in both.
    chance : float
        Accuracy of a guess.
    """
    figure, (above, below) = plt.subplots(2, 1, figsize=(7, 5), sharex=True)
    margins = np.abs(path[["low", "high"]].to_numpy().T - path["accuracy"].to_numpy())
    above.errorbar(path.index, path["accuracy"], yerr=margins, color="0.15", marker="o", ms=4, capsize=2)
    above.axhline(chance, color="0.4", ls=":", lw=1)
    above.text(path.index[0], chance + 0.02, "chance", fontsize=8, color="0.3")
    above.set(ylabel="validation accuracy", ylim=(0, 1.05), xscale="log")
    layers = [name for name in path if name not in ("accuracy", "low", "high")]
    shifts = np.linspace(-0.06, 0.06, len(layers)) if len(layers) > 1 else [0.0]
    for number, (layer, shift) in enumerate(zip(layers, shifts, strict=True)):
        below.plot(
            path.index, path[layer] + shift, color=f"C{number % 8}", lw=1.5, label=layer,
            marker=_MARKERS[number % len(_MARKERS)], ms=5, ls=_LINE_STYLES[number % len(_LINE_STYLES)],
        )  # fmt: skip
    below.set(xlabel="λ", ylabel="living groups", xscale="log")
    below.set_ylim(-0.3, path[layers].to_numpy().max() + 0.5)
    below.yaxis.set_major_locator(MaxNLocator(integer=True))
    for ax in (above, below):
        ax.axvline(chosen, color="0.3", lw=1.2, ls="--", label=f"chosen: λ = {chosen:g}")
    below.legend(fontsize=8, loc="lower left")
    return figure


def penalties_by_factor(
    tried: pd.DataFrame, chosen: Mapping[tuple[str, str], float], *, chance: float
) -> Figure:
    """Draw accuracy above and detectors below against how strong each penalty is, a column for each network.

    Parameters
    ----------
    tried : DataFrame
        One row for each training: ``network``, ``penalty``, ``factor`` (a multiple of the penalty's usual λ),
        ``accuracy`` with its interval ``low`` and ``high``, ``detectors``.
    chosen : mapping of (str, str) to float
        Network, penalty → the factor that is ringed.
    chance : float
        Accuracy of a guess.
    """
    networks, factors = tried["network"].unique(), sorted(tried["factor"].unique())
    size = max(6, 1 + 3.8 * len(networks)), 5
    figure, axes = plt.subplots(
        2, len(networks), figsize=size, sharex=True, sharey="row", squeeze=False, layout="constrained"
    )
    colors = penalty_colors(tried["penalty"].unique())
    for (above, below), network in zip(axes.T, networks, strict=True):
        for number, (kind, color) in enumerate(colors.items()):
            some = tried[(tried["network"] == network) & (tried["penalty"] == kind)].sort_values("factor")
            places = np.searchsorted(factors, some["factor"]) + 0.1 * (number - (len(colors) - 1) / 2)
            margins = np.abs(some[["low", "high"]].to_numpy().T - some["accuracy"].to_numpy())
            style = {"color": color, "marker": _MARKERS[number], "ms": 5, "ls": _LINE_STYLES[number]}
            above.errorbar(places, some["accuracy"], yerr=margins, capsize=2, **style)
            below.plot(places, some["detectors"], label=kind.replace("_", " "), **style)
            for place, n in zip(places, some["detectors"], strict=True):
                offset, side = ((-6, 4), "right") if number == 0 else ((9, -10), "left")
                below.annotate(f"{n}", (place, n), xytext=offset, textcoords="offset points", ha=side,
                               fontsize=8, color=color, bbox=_BEHIND_TEXT)  # fmt: skip
            is_chosen = (some["factor"] == chosen[network, kind]).to_numpy()
            for ax, column in ((above, "accuracy"), (below, "detectors")):
                ax.scatter(places[is_chosen], some.loc[is_chosen, column], s=150, facecolors="none",
                           edgecolors=color, lw=1.5, zorder=3)  # fmt: skip
        above.axhline(chance, color="0.4", ls=":", lw=1)
        above.set_title(network.replace("_b", "-B").replace("alexnet", "AlexNet"), fontsize=11, loc="center")
        below.set(xlabel="λ, in multiples of the usual one", xlim=(-0.5, len(factors) - 0.5))
        below.set_xticks(range(len(factors)), [f"{factor:g}" for factor in factors])
        below.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0, 0].text(0, chance + 0.01, "chance", fontsize=8, color="0.3", va="bottom", ha="center")
    axes[0, 0].set(ylabel="validation accuracy")
    axes[0, 0].set_ylim(bottom=0)
    axes[1, 0].set(ylabel="unique detectors")
    axes[1, 0].set_ylim(0, 1.2 * tried["detectors"].max() + 1)
    axes[1, 0].legend(fontsize=9, loc="lower left")
    return figure


def group_maps(image: np.ndarray, masks: Mapping[str, np.ndarray]) -> Figure:
    """Draw an image beside where the filters of a group are active in it, a row for each network.

    Parameters
    ----------
    image : float array of shape (height, width, 3), in [0, 1]
    masks : mapping of str to float array of shape (rows, columns, filters)
        Network → soft masks, from 0 (dark) to 1 (bright); all share this scale.
    """
    n_filters = max(mask.shape[-1] for mask in masks.values())
    figure, axes = plt.subplots(
        len(masks), n_filters + 1, figsize=(1.15 * (n_filters + 1) + 0.6, 1.3 * len(masks)), squeeze=False
    )
    for row, (name, mask) in zip(axes, masks.items(), strict=True):
        show_image(row[0], image).set_ylabel(name, fontsize=9)
        for ax, each in zip(row[1:], np.moveaxis(mask, -1, 0), strict=True):
            picture = ax.imshow(each, vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
    for number, ax in enumerate(axes[0, 1:], start=1):
        ax.set_title(f"filter {number}", fontsize=9, loc="center")
    figure.colorbar(picture, ax=axes[:, -1], label="soft mask ψ", shrink=0.8)
    return figure


def filters_by_group(kernel: np.ndarray, slices: Sequence[slice], *, columns: int = 16) -> Figure:
    """Draw the filters of a first layer as colour pictures, one row of them for each group.

    Middle grey is 0, and all filters share one scale, the layer's largest absolute weight, so that weak
    groups look weak.

    Parameters
    ----------
    kernel : float array of shape (height, width, 3, filters)
    slices : sequence of slice
        The groups, as by :func:`~.regularizers.group_slices`.
    columns : int
        Filters in a line at most; larger groups take several lines.
    """
    largest = np.abs(kernel).max() or 1
    pictures = 0.5 + 0.5 * np.moveaxis(kernel, -1, 0) / largest
    groups = [pictures[filters] for filters in slices]
    columns = min(columns, max(map(len, groups)))
    lines = [-(-len(group) // columns) for group in groups]
    figure, axes = plt.subplots(
        len(groups),
        1,
        figsize=(0.75 * columns + 1.6, 0.8 * sum(lines) + 0.3),
        squeeze=False,
        height_ratios=lines,
    )
    for number, (ax, group, filters) in enumerate(zip(axes.flat, groups, slices, strict=True), start=1):
        ax.imshow(tiled(group, columns)[:-1, :-1], vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        strength = np.linalg.norm(kernel[..., filters])
        ax.set_ylabel(
            f"group {number}: strength {strength:.2f}", rotation=0, ha="right", va="center", fontsize=9
        )
    return figure
