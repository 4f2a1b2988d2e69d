"""Drawings of what each pixel or patch is worth, and of what that is worth."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .common import CLASS_COLORS, OPEN_COLOR, SEPARATED_COLOR, show_image

FEATURE_COLORS = (CLASS_COLORS[0], CLASS_COLORS[1])
_AGREES, _DIFFERS = SEPARATED_COLOR, OPEN_COLOR


def two_shares(shares: Mapping[str, Sequence[float]], ax: Axes, *, totals: Mapping[str, float]) -> Axes:
    """Draw what each method gives to two inputs as bars, the sum as a dot, and what sums should be as lines.

    Parameters
    ----------
    shares : mapping of str to (float, float)
        Method → the shares of x1 and x2.
    totals : mapping of str to float
        Name of a line → where it stands.
    """
    names = list(shares)
    places = np.arange(len(names))
    for k, color in enumerate(FEATURE_COLORS):
        values = [shares[name][k] for name in names]
        ax.barh(places + (0.2 if k else -0.2), values, height=0.36, color=color, label=f"$x_{k + 1}$")
    ax.plot([sum(shares[name]) for name in names], places, "D", color="black", ms=5, label="their sum")
    for (name, value), style in zip(totals.items(), ("--", ":"), strict=False):
        ax.axvline(value, color="0.3", ls=style, lw=1.3, label=f"{name} = {value:g}")
    ax.axvline(0, color="0.7", lw=0.8, zorder=0)
    ax.set_yticks(places, names)
    ax.set(xlabel="share", ylim=(len(names) - 0.5, -0.5))  # the first on top, on shared axes too
    ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
    return ax


def rule_grid(
    image: np.ndarray, maps: Mapping[str, np.ndarray], *, columns: int = 6, size: float = 1.75
) -> Figure:
    """Draw an image and its signed maps, each scaled by itself: red speaks for the class, blue against it.

    Parameters
    ----------
    image : float array of shape (height, width, 1 or 3), in [0, 1]
    maps : mapping of str to float array of shape (height, width, channels)
        Name → attribution; channels are added up.
    """
    rows = -(-(len(maps) + 1) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(size * columns, (size + 0.42) * rows), squeeze=False, layout="constrained"
    )
    for ax in axes.flat[len(maps) + 1 :]:
        ax.set_axis_off()
    show_image(axes.flat[0], image).set_title("image", fontsize=10)
    for ax, (name, values) in zip(axes.flat[1:], maps.items(), strict=False):
        signed_map(values.sum(axis=-1), image, ax).set_title(name, fontsize=10)
    return figure


def signed_map(values: np.ndarray, image: np.ndarray, ax: Axes) -> Axes:
    """Draw a signed map (height, width) over the outline of its image; white is zero, the scale is its own.

    The 99.5 % quantile of the sizes sets the scale, so that single pixels do not.
    """
    sizes = np.abs(values)
    largest = np.quantile(sizes, 0.995) or sizes.max() or 1
    ax.imshow(values, cmap="RdBu_r", vmin=-largest, vmax=largest)
    if image.shape[-1] == 1:
        ax.contour(image[..., 0], levels=[0.5], colors="0.35", linewidths=0.7)
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)
    return ax


def kept_by_layer(kept: Mapping[str, Mapping[str, np.ndarray]], ax: Axes) -> Axes:
    """Draw, from the logit down to the pixels, the share of the relevance that is still there.

    Parameters
    ----------
    kept : mapping of str to (mapping of str to float array of shape (n,))
        Name of a rule → layer → what is there, over what there was at the top, for each image. A line is the
        median, its band holds the middle half of the images.
    """
    for k, (rule, layers) in enumerate(kept.items()):
        low, middle, high = (
            np.quantile(np.array(list(layers.values())), q, axis=1) for q in (0.25, 0.5, 0.75)
        )
        places = np.arange(len(layers))
        color = CLASS_COLORS[(0, 2, 4, 1)[k % 4]]
        ax.plot(places, middle, marker="os^D"[k % 4], ms=5, color=color, label=rule)
        ax.fill_between(places, low, high, color=color, alpha=0.15, lw=0)
    ax.axhline(1, color="0.5", ls=":", lw=1)
    ax.set_xticks(places, list(layers), rotation=30, ha="right")
    ax.set(xlabel="from the logit (left) down to the pixels (right)", ylabel="share of the logit")
    ax.legend(fontsize=9)
    return ax


def residual_by_steps(residuals: Mapping[str, Mapping[int, np.ndarray]], ax: Axes, *, limit: float) -> Axes:
    """Draw how far sums are from complete, against the number of steps; both axes are logarithmic.

    Parameters
    ----------
    residuals : mapping of str to (mapping of int to float array of shape (n,))
        Name of a network → steps → residual of each image. A line is the median, its band holds the middle
        half.
    limit : float
        Drawn as a line.
    """
    for k, (name, by_steps) in enumerate(residuals.items()):
        low, middle, high = (
            np.quantile(np.array(list(by_steps.values())), q, axis=1) for q in (0.25, 0.5, 0.75)
        )
        color = CLASS_COLORS[(0, 2, 4)[k % 3]]
        ax.plot(list(by_steps), middle, marker="os^"[k % 3], ms=5, color=color, label=name)
        ax.fill_between(list(by_steps), low, high, color=color, alpha=0.15, lw=0)
        ax.set_xticks(list(by_steps), [str(steps) for steps in by_steps])
    ax.axhline(limit, color="0.3", ls="--", lw=1, label=f"{limit:.0%}")
    ax.set(xscale="log", yscale="log", xlabel="steps $M$", ylabel="residual (median, middle half)")
    ax.set_xticks(list(by_steps), [str(steps) for steps in by_steps])
    ax.minorticks_off()
    ax.legend(fontsize=9)
    return ax


_COLUMNS = {
    "train": ("train: fitted\nbeforehand", "fit_seconds", "{fit_seconds:.0f} s"),
    "efficiency": ("efficiency: passes\nan image (time here)", "passes", "{passes:.0f} ({ms:,.0f} ms)"),
    "locality": ("locally additive:\nfit near the image", "near_fit", "{near_fit:.2f}"),
    "agnostic": ("agnostic: runs\non a forest", "on_predict", "{runs}"),
}


def comparison_table(measured: pd.DataFrame, words: pd.DataFrame, survey: pd.DataFrame) -> Figure:
    """Draw Table 1 twice: each cell has what was measured, and the survey's word with whether they agree.

    Parameters
    ----------
    measured : DataFrame
        "fit_seconds" · "ms" · "forward" · "backward" · "near_fit" · "on_predict", a row for each method.
    words : DataFrame
        The same in the survey's words; columns "train" · "efficiency" · "locality" · "agnostic".
    survey : DataFrame
        The survey's own, of the same columns. Methods that it does not have get no verdict.
    """
    runs = ["yes" if it_does else "no" for it_does in measured["on_predict"]]
    table = measured.assign(passes=measured["forward"] + measured["backward"], runs=runs)
    figure, ax = plt.subplots(figsize=(9, 0.78 * len(table) + 0.9), layout="constrained")
    for row, name in enumerate(table.index):
        for column, (key, (_, value, tell)) in enumerate(_COLUMNS.items()):
            ax.add_patch(Rectangle((column, row), 1, 1, fc=_shade(table[value], name), ec="white", lw=2))
            ax.text(column + 0.06, row + 0.32, tell.format(**table.loc[name]), va="center", fontsize=11)
            if name in survey.index:
                is_same = words.loc[name, key] == survey.loc[name, key]
                told = f"survey: {survey.loc[name, key]} {'✓' if is_same else '✗'}"
                color = _AGREES if is_same else _DIFFERS
                style = {"color": color, "weight": "bold", "fontsize": 10, "va": "center"}
                ax.text(column + 0.06, row + 0.7, told, **style)
    ax.set(xlim=(0, len(_COLUMNS)), ylim=(len(table), 0))
    ax.set_yticks(np.arange(len(table)) + 0.5, list(table.index), fontsize=11)
    ax.set_xticks(np.arange(len(_COLUMNS)) + 0.5, [title for title, *_ in _COLUMNS.values()], fontsize=10)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return figure


def _shade(values: pd.Series, name: str) -> tuple:
    """Return the colour of a cell by its place in its column: pale for little, blue for much."""
    values = values.astype(float)
    if values.max() > 50 * max(values.median(), 1e-9):
        norm = LogNorm(max(values.max() / 1e4, 1e-3), values.max(), clip=True)
        return plt.get_cmap("Blues")(0.05 + 0.4 * float(norm(max(values[name], 1e-12))))
    norm = Normalize(max(values.min(), -1), max(values.max(), values.min() + 1e-9), clip=True)
    return plt.get_cmap("Blues")(0.05 + 0.4 * float(norm(values[name])))


def selected_patches(
    images: np.ndarray,
    shown: np.ndarray,
    answers: Mapping[str, Sequence[str]],
    truth: Sequence[str],
    *,
    size: float = 1.15,
) -> Figure:
    """Draw images above what a few patches show of them, and what is said of those.

    Parameters
    ----------
    images, shown : float arrays of shape (n, height, width, 1 or 3), in [0, 1]
    answers : mapping of str to sequence of str
        Who → what is said of each shown image; drawn green where it is the truth, red where not.
    truth : sequence of str
    """
    figure, axes = plt.subplots(
        2, len(images), figsize=(size * len(images), 2 * size + 0.45 + 0.22 * len(answers)),
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for k, (image, part) in enumerate(zip(images, shown, strict=True)):
        show_image(axes[0, k], image).set_title(truth[k], fontsize=10)
        show_image(axes[1, k], part)
        for line, said in enumerate(answers.values()):
            color = _AGREES if said[k] == truth[k] else _DIFFERS
            axes[1, k].text(
                0.5, -0.06 - 0.2 * line, said[k], color=color, weight="bold", fontsize=10,
                ha="center", va="top", transform=axes[1, k].transAxes,
            )  # fmt: skip
    for line, who in enumerate(answers):
        axes[1, 0].text(
            -0.08, -0.06 - 0.2 * line, who, fontsize=9, ha="right", va="top", transform=axes[1, 0].transAxes
        )
    return figure


def reasons_found(trials: Mapping[str, Any], axes: Sequence[Axes]) -> Sequence[Axes]:
    """Draw, for made-up classifiers, how often each number is among those selected; true reasons are framed.

    Parameters
    ----------
    trials : mapping of str to object with ``selected`` and ``reasons``
        Name → float arrays of shape (numbers,): the share of rows in which a number is selected, and in which
        it is a reason.
    axes : one for each
    """
    for ax, (name, trial) in zip(axes, trials.items(), strict=True):
        places = np.arange(1, len(trial.selected) + 1)
        ax.bar(places, trial.selected, color=CLASS_COLORS[0], label="selected")
        ax.bar(places, trial.reasons, fc="none", ec="black", lw=1.3, label="a true reason")
        ax.set(title=name, xlabel="number", ylim=(0, 1.05))
        ax.set_xticks(places)
    axes[0].set_ylabel("share of the rows")
    axes[0].legend(fontsize=9, loc="upper right")
    return axes
