"""Drawings of network dissection: concepts, the units that detect them, and how many (paper C)."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import is_color_like, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from .common import CLASS_COLORS, annotated_map, show_image
from .units import tiles

# Okabe and Ito (2008); a category is the same colour everywhere.
CATEGORY_COLORS = {
    "color": "#CC79A7",
    "object": "#0072B2",
    "part": "#56B4E9",
    "material": "#E69F00",
    "scene": "#009E73",
    "texture": "#D55E00",
}
_OTHER_CATEGORY, _OUTLINE, _MARK = "0.5", "yellow", "#D55E00"
# Ten colours, then lighter and darker ones, for labels side by side.
_BRIGHT = np.array([to_rgb(color) for color in CLASS_COLORS])
_SHADES = [tuple(color) for color in np.concatenate([_BRIGHT, 0.45 + 0.55 * _BRIGHT, 0.5 * _BRIGHT])]
_OUTSIDE = 0.35  # brightness of what is outside a mask
_GAP = 0.03  # between the images of a strip, in widths of an image
_N_BARS, _N_NAMES = 25, 3


def annotated_images(
    images: np.ndarray, overlays: Sequence[Mapping[str, np.ndarray]], names: Sequence[str]
) -> Figure:
    """Draw images, and below each what is marked in it, one row for each category.

    The largest labels of a map are named above it. Colours belong to a row: a label has the same one under
    every image. Labels of the category "color" have the colour that they name.

    Parameters
    ----------
    images : float array of shape (n, height, width, 3), in [0, 1]
    overlays : sequence of mapping of str to int array of shape (rows, columns)
        For each image, category → label number of every pixel, 0 (white) for none.
    names : sequence of str
        Of the label numbers.
    """
    categories = list(dict.fromkeys(category for overlay in overlays for category in overlay))
    palettes = {category: _palette(category, overlays, names) for category in categories}
    n_rows, n_columns = 1 + len(categories), len(images)
    figure, axes = plt.subplots(
        n_rows, n_columns, figsize=(1.6 * n_columns + 0.3, 1.6 + 2.05 * len(categories)), squeeze=False
    )
    for column, (image, overlay) in enumerate(zip(images, overlays, strict=True)):
        show_image(axes[0, column], image)
        for ax, category in zip(axes[1:, column], categories, strict=True):
            if category in overlay:
                _label_map(ax, overlay[category], palettes[category], names)
            else:
                show_image(ax, np.ones_like(image))
                _say(ax, "none")
    for ax, category in zip(axes[:, 0], ["image", *categories], strict=True):
        ax.set_ylabel(category, fontsize=9)
    return figure


def _say(ax: Axes, text: str) -> None:
    """Write in the middle of empty axes."""
    ax.text(0.5, 0.5, text, ha="center", va="center", color="0.4", transform=ax.transAxes)


def _palette(category: str, overlays: Sequence[Mapping[str, np.ndarray]], names: Sequence[str]) -> dict:
    """Return label → colour for the labels of a category; the largest have the most distinct colours."""
    maps = [overlay[category].ravel() for overlay in overlays if category in overlay]
    labels = _by_size(np.concatenate(maps))
    palette = {label: _SHADES[i % len(_SHADES)] for i, label in enumerate(labels)}
    if category == "color":
        meant = {label: names[label].removesuffix("-c") for label in labels}
        palette |= {label: to_rgb(color) for label, color in meant.items() if is_color_like(color)}
        palette |= {label: (0.93, 0.93, 0.93) for label, color in meant.items() if color == "white"}
    return palette


def _label_map(ax: Axes, labels: np.ndarray, palette: Mapping[int, tuple], names: Sequence[str]) -> None:
    picture = np.ones((*labels.shape, 3))
    for label, color in palette.items():
        picture[labels == label] = color
    show_image(ax, picture)
    largest = _by_size(labels)[:_N_NAMES]
    handles = [Patch(facecolor=palette[label], edgecolor="0.6", label=names[label]) for label in largest]
    if handles:
        ax.legend(
            handles=handles, fontsize=7, loc="lower left", bbox_to_anchor=(-0.05, 0.97), handlelength=0.9,
            handleheight=0.9, handletextpad=0.4, labelspacing=0.15, borderpad=0.2,
        )  # fmt: skip


def _by_size(labels: np.ndarray) -> np.ndarray:
    """Return the labels that there are, without 0, the largest first."""
    found, sizes = np.unique(labels[labels != 0], return_counts=True)
    return found[np.argsort(-sizes, kind="stable")]


def unit_rows(images: np.ndarray, masks: np.ndarray, titles: Sequence[str], *, size: float = 1.1) -> Figure:
    """Draw each unit's strongest images in a row, dark outside its mask, the mask outlined in yellow.

    Parameters
    ----------
    images : float array of shape (units, k, height, width, 3), in [0, 1]
    masks : bool array of shape (units, k, rows, columns)
        Resized to the images (nearest neighbour).
    titles : sequence of str
        One for each unit, such as ``"unit 12: grass (0.11)"``.
    size : float
        Inches of an image's side.
    """
    n_units, k = images.shape[:2]
    figure, axes = plt.subplots(n_units, 1, figsize=(size * k, (size + 0.3) * n_units), squeeze=False)
    for ax, some, where, title in zip(axes.flat, images, masks, titles, strict=True):
        _masked_strip(ax, some, where)
        ax.set_title(title, fontsize=9, loc="left")
    return figure


def _masked_strip(ax: Axes, images: np.ndarray, masks: np.ndarray) -> None:
    masks = _resized(np.asarray(masks, bool), images.shape[1:3])[..., None]
    _strip(ax, np.where(masks, images, _OUTSIDE * images))
    outline = np.pad(_side_by_side(masks, False)[..., 0], 1)  # closed at the images' edges
    if outline.any():
        places = (np.arange(-1, size - 1) for size in outline.shape[::-1])
        limits = ax.axis()
        ax.contour(*places, outline.astype(float), levels=[0.5], colors=[_OUTLINE], linewidths=0.9)
        ax.axis(limits)


def _resized(masks: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return masks (n, rows, columns) at another size, by the nearest neighbour."""
    rows, columns = (
        ((np.arange(n_out) + 0.5) * n_in / n_out).astype(int)
        for n_in, n_out in zip(masks.shape[1:], shape, strict=True)
    )
    return masks[:, rows[:, None], columns]


def _strip(ax: Axes, images: np.ndarray) -> None:
    """Draw images (n, height, width, 3) side by side."""
    ax.imshow(_side_by_side(images, 1), vmin=0, vmax=1, interpolation="antialiased")
    ax.set(xticks=[], yticks=[], anchor="W")
    ax.spines[:].set_visible(False)


def _side_by_side(pictures: np.ndarray, between: float) -> np.ndarray:
    """Return pictures (n, height, width, channels) as one, with columns of a value between them."""
    gap = max(1, round(_GAP * pictures.shape[2]))
    padded = np.pad(pictures, ((0, 0), (0, 0), (0, gap), (0, 0)), constant_values=between)
    return np.hstack(padded)[:, :-gap]


def _legend_beside(ax: Axes, handles: Sequence[Artist]) -> None:
    ax.legend(handles=handles, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


def count_map(table: pd.DataFrame, ax: Axes, *, mark: tuple[float, float] | None = None) -> Axes:
    """Draw counts of detectors as a map of the two settings that decide them.

    Parameters
    ----------
    table : DataFrame
        Quantiles down, IoU thresholds across, as :func:`.detectors.detectors_by_threshold` returns it.
    mark : (quantile, iou_threshold), optional
        The cell to frame.

    Raises
    ------
    ValueError
        If the table has no such cell.
    """
    counts = table.to_numpy()
    annotated_map(counts, ax, text=counts, fmt=".0f", vmin=0, vmax=max(1, np.nanmax(counts)))
    ax.set_xticks(range(table.shape[1]), [f"{value:g}" for value in table.columns])
    ax.set_yticks(range(table.shape[0]), [f"{value:g}" for value in table.index])
    ax.set(xlabel="IoU threshold", ylabel="top quantile")
    if mark is not None:
        row, column = (
            _place(table.index, mark[0], "quantile"),
            _place(table.columns, mark[1], "IoU threshold"),
        )
        corner = (column - 0.5, row - 0.5)
        ax.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=_MARK, lw=3, clip_on=False, zorder=3))
    return ax


def _place(values: pd.Index, wanted: float, what: str) -> int:
    places = np.flatnonzero(np.isclose(values.to_numpy(float), wanted))
    if not len(places):
        raise ValueError(f"no {what} {wanted:g} in the table: it has {', '.join(f'{v:g}' for v in values)}")
    return int(places[0])


def iou_bars(
    names: Sequence[str], values: np.ndarray, ax: Axes, *, threshold: float = 0.04, n: int = 8
) -> Axes:
    """Draw the concepts with the highest IoU for one unit.

    Parameters
    ----------
    names : sequence of str
        Of the concepts.
    values : float array of shape (len(names),)
        Their IoU with the unit.
    threshold : float
        From where on the unit is a detector; bars below are grey.
    n : int
        Bars drawn at most.
    """
    values = np.asarray(values)
    largest = np.argsort(-values, kind="stable")[:n]
    colors = np.where(values[largest] >= threshold, "#0072B2", "0.7")
    ax.barh(range(len(largest)), values[largest], color=colors, height=0.7)
    ax.axvline(threshold, color="0.2", ls="--", lw=1)
    ax.set_yticks(range(len(largest)), [names[label] for label in largest], fontsize=8)
    ax.set_ylim(len(largest) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set(
        xlabel=f"IoU (dashed: threshold {threshold:g})",
        xlim=(0, 1.1 * max(threshold, values[largest].max(initial=0))),
    )
    return ax


def unit_page(
    images: np.ndarray,
    masks: np.ndarray,
    reconstruction: np.ndarray,
    names: Sequence[str],
    ious: np.ndarray,
    title: str,
    *,
    threshold: float = 0.04,
) -> Figure:
    """Draw a unit on one page: its strongest images, what it sees in them, and the concepts it marks best.

    Parameters
    ----------
    images : float array of shape (k, height, width, 3), in [0, 1]
    masks : bool array of shape (k, rows, columns)
    reconstruction : float array of shape (k, height, width, 3)
        Signed; grey is 0, and each is scaled by its own magnitude.
    names, ious, threshold
        As for :func:`iou_bars`.
    title : str
    """
    figure = plt.figure(figsize=(1.25 * len(images) + 3.2, 3.6))
    grid = figure.add_gridspec(2, 2, width_ratios=(1.25 * len(images), 2.6))
    axes = [figure.add_subplot(grid[row, 0]) for row in (0, 1)]
    _masked_strip(axes[0], images, masks)
    _strip(axes[1], tiles(reconstruction)[0])
    for ax, label in zip(axes, ("strongest images", "reconstructions"), strict=True):
        ax.set_title(label, fontsize=9, loc="left")
    iou_bars(names, ious, figure.add_subplot(grid[:, 1]), threshold=threshold)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure


def iou_bound(
    concepts: pd.DataFrame, ax: Axes, *, mask_share: float, threshold: float = 0.04, n_named: int = 4
) -> Axes:
    """Draw every concept's highest IoU against its size, below what a mask of some size can reach.

    Parameters
    ----------
    concepts : DataFrame
        One row a concept: ``concept``, ``category``, ``share`` (of all pixels, above 0), ``iou``.
    mask_share : float
        Share of all pixels under the largest mask; the bound is mask_share / share, and 1 at most.
    threshold : float
        From where on a unit is a detector.
    n_named : int
        How many concepts are named: those with the highest IoU.
    """
    for category, color in CATEGORY_COLORS.items():
        some = concepts[concepts["category"] == category]
        if len(some):
            ax.scatter(
                some["share"],
                some["iou"],
                s=22,
                color=color,
                alpha=0.85,
                linewidths=0,
                label=category,
                zorder=3,
            )
    shares = np.geomspace(min(concepts["share"].min(), mask_share) / 1.5, 1, 200)
    bound = np.minimum(1, mask_share / shares)
    ax.plot(shares, bound, color="0.2", lw=1.5, label="largest mask / label")
    ax.fill_between(shares, bound, 1, color="0.9", zorder=0)
    ax.axhline(threshold, color=_MARK, ls="--", lw=1.2, label=f"detector from {threshold:g}")
    for row in concepts.nlargest(n_named, "iou").itertuples():
        ax.annotate(row.concept, (row.share, row.iou), xytext=(4, 3), textcoords="offset points", fontsize=8)
    ax.set(xscale="log", xlim=(shares[0], 1), ylim=(0, 1.15 * max(concepts["iou"].max(), threshold)))
    ax.set(xlabel="share of all pixels that the concept covers", ylabel="highest IoU of any unit")
    _legend_beside(ax, ax.get_legend_handles_labels()[0])
    return ax


def counts_and_nulls(counts: pd.DataFrame, ax: Axes) -> Axes:
    """Draw what networks count beside every draw of their nulls, a row for each network.

    Parameters
    ----------
    counts : DataFrame
        ``row`` (what is drawn in one row), ``kind`` (``"detectors"`` or the name of a null), ``detectors``:
        one row for each training and draw. The networks' own counts are diamonds, draws are dots, each null
        on a line of its own; a bar marks a null's median.
    """
    rows = counts["row"].unique().tolist()
    nulls = [kind for kind in counts["kind"].unique() if kind != "detectors"]
    colors = dict(zip(nulls, ("#56B4E9", "#E69F00", "#009E73"), strict=False))
    for place, row in enumerate(rows):
        some = counts[counts["row"] == row]
        for line, kind in enumerate(nulls, start=1):
            values = some.loc[some["kind"] == kind, "detectors"].to_numpy()
            height = place + 0.22 * line
            ax.scatter(values, np.full(len(values), height), s=24, color=colors[kind], alpha=0.5, lw=0,
                       label=f"{kind}, each draw" if place == 0 else None)  # fmt: skip
            ax.plot([np.median(values)] * 2, [height - 0.09, height + 0.09], color=colors[kind], lw=2.5)
        own = some.loc[some["kind"] == "detectors", "detectors"]
        ax.scatter(own, np.full(len(own), place), s=52, marker="D", color=_MARK, edgecolors="white", zorder=3,
                   label="the network's own units" if place == 0 else None)  # fmt: skip
    ax.set_yticks(np.arange(len(rows)) + 0.2, rows)
    ax.set_ylim(len(rows) - 0.3, -0.35)
    ax.set_xlim(left=-0.5)
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    ax.set_xlabel("unique detectors, summed over layers")
    _legend_beside(ax, ax.get_legend_handles_labels()[0])
    return ax
