"""Drawings of groups of filters and of the penalties on them (paper C, the regularisers)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .common import tiled

# The four kinds of cnninte_utils.methods.group_norms.objective, with underscores or spaces.
PENALTY_COLORS = {
    "none": "#555555",
    "weight_decay": "#0072B2",
    "block_norm": "#D55E00",
    "proximal": "#009E73",
}
_SPARE_COLORS = ("#CC79A7", "#E69F00", "#56B4E9", "#000000", "#0072B2")
_LINE_STYLES = ("-", "--", ":", "-.")


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


def group_strengths(history: Mapping[str, Sequence[float]], layer: str, ax: Axes) -> Axes:
    """Draw the strength of each of a layer's groups against steps.

    Parameters
    ----------
    history : mapping of str to sequence of float
        With ``step`` and ``strength/{layer}/{group}``, groups from 0, as
        :class:`.regularizers.GroupStrengths` writes them.

    Raises
    ------
    ValueError
        If the history has no strengths of this layer.
    """
    prefix = f"strength/{layer}/"
    keys = sorted((key for key in history if key.startswith(prefix)), key=lambda key: int(key[len(prefix) :]))
    if not keys:
        known = dict.fromkeys(key.split("/")[1] for key in history if key.startswith("strength/"))
        raise ValueError(
            f"the history has no group strengths of layer {layer!r}, but of {', '.join(known) or 'none'}"
        )
    for group, key in enumerate(keys):
        style = _LINE_STYLES[group // 8 % len(_LINE_STYLES)]
        ax.plot(history["step"], history[key], ls=style, color=f"C{group % 8}", label=f"group {group + 1}")
    ax.set(xlabel="optimizer steps", ylabel="strength of the group")
    ax.set_ylim(0, max(ax.get_ylim()[1], 1.1 * max(max(history[key]) for key in keys)))
    ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def active_groups(strengths: Mapping[str, np.ndarray], ax: Axes) -> Axes:
    """Draw the share of groups that are stronger than a cut-off, for all cut-offs from 1e-6 to 1.

    Parameters
    ----------
    strengths : mapping of str to float array of shape (n_groups,)
        Of a network's groups, all layers together, each divided by the largest of its layer: 0 to 1. Groups
        of exactly 0 are active at no cut-off.
    """
    cutoffs = np.logspace(-6, 0, 601)
    colors = penalty_colors(strengths)
    for number, (name, relative) in enumerate(strengths.items()):
        active = (np.asarray(relative)[:, None] > cutoffs).mean(axis=0)
        style = _LINE_STYLES[number % len(_LINE_STYLES)]  # lines often coincide
        ax.plot(cutoffs, active, color=colors[name], ls=style, lw=2, label=name)
    ax.set(xscale="log", xlim=(1e-6, 1), ylim=(-0.02, 1.03))
    ax.set(xlabel="cut-off, relative to the layer's strongest group", ylabel="share of groups above it")
    ax.legend(fontsize=8, loc="lower left")
    return ax


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
        figsize=(0.45 * columns + 1.6, 0.5 * sum(lines) + 0.3),
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


def loss_terms(
    histories: Mapping[str, Mapping[str, Sequence[float]]], keys: Mapping[str, str], ax: Axes
) -> Axes:
    """Draw terms of the loss against steps: one colour per network, one line style per term.

    Parameters
    ----------
    histories : mapping of str to history
        Network → what training logged, with ``step`` and the keys.
    keys : mapping of str to str
        Key of a history → what the term is called.
    """
    colors = penalty_colors(histories)
    for name, history in histories.items():
        for (key, label), style in zip(keys.items(), cycle(_LINE_STYLES), strict=False):
            parts = ([name] if len(histories) > 1 else []) + ([label] if len(keys) > 1 else [])
            ax.plot(
                history["step"], history[key], color=colors[name], ls=style, label=", ".join(parts) or label
            )
    ax.set(
        xlabel="optimizer steps", ylabel="term of the loss" if len(keys) > 1 else next(iter(keys.values()))
    )
    ax.set_ylim(bottom=0)
    ax.legend(fontsize=8)
    return ax
