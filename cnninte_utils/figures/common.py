"""Drawings that every part of the series needs, and the colours that mean the same everywhere."""

from collections.abc import Mapping, Sequence
from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython import get_ipython
from IPython.display import Image, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib_inline.backend_inline import set_matplotlib_formats

from .. import claims
from ..artifacts import atomic_path, write_json
from ..runs import Run

# Petroff (2021), ten colours that people with any colour vision tell apart; class k is always colour k.
CLASS_COLORS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
LABEL_COLOR, HYPOTHESIS_COLOR = "#D55E00", "#0072B2"
SEPARATED_COLOR, OPEN_COLOR = "#009E73", "#B2182B"


def use_style() -> None:
    """Use the look of the series for every figure of this notebook, sharp on today's screens."""
    plt.style.use("cnninte_utils.figures.series")
    if get_ipython() is not None:
        set_matplotlib_formats("retina")


def save(
    figure: Figure, run: Run, slug: str, title: str, alt: str, *, is_photographic: bool = False
) -> Figure | None:
    """Put the title on a figure and write it into the run's ``figures`` folder as PNG.

    Parameters
    ----------
    slug : str
        The rest of the file name, e.g. ``"learning_curves"``.
    title : str
        What the figure states; a figure that has a title keeps it.
    alt : str
        What is to be seen, for those who cannot see it.
    is_photographic : bool
        Show it as JPEG, a tenth of the size where nearly everything is texture (photographs, mosaics).
    """
    if not figure.get_suptitle():
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    path = run.folder / "figures" / f"{run.name}.{slug}.png"
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Title": title, "Description": alt})
    write_json(path.with_suffix(".json"), {"title": title, "alt": alt})
    if not is_photographic or get_ipython() is None:
        return figure
    stream = BytesIO()
    figure.savefig(stream, format="jpeg", pil_kwargs={"quality": 88})
    plt.close(figure)
    display(Image(stream.getvalue(), format="jpeg", retina=True))
    return None


def image_row(images: np.ndarray, titles: Sequence[str], *, size: float = 1.0) -> Figure:
    """Draw images (n, height, width, 1 or 3) in [0, 1] in a row, each under its title."""
    figure, axes = plt.subplots(1, len(images), figsize=(size * len(images), size + 0.4), squeeze=False)
    for ax, image, title in zip(axes[0], images, titles, strict=True):
        show_image(ax, image)
        ax.set_title(title, fontsize=9, loc="center")
    return figure


def learning_curves(history: Mapping[str, Sequence[float]], ax: Axes) -> Axes:
    """Draw accuracy on training batches and on validation images against steps."""
    ax.plot(history["step"], history["accuracy"], marker=".", label="training batches")
    ax.plot(history["step"], history["val_accuracy"], marker=".", label="validation images")
    ax.set(xlabel="optimizer steps", ylabel="accuracy", ylim=(0, 1))
    ax.legend(loc="best")
    return ax


def confusion(labels: np.ndarray, predictions: np.ndarray, class_names: Sequence[str], ax: Axes) -> Axes:
    """Draw how many instances of each label get each prediction; the errors set the colour scale."""
    n_classes = len(class_names)
    cells = np.bincount(labels * n_classes + predictions, minlength=n_classes**2)
    counts = cells.reshape(n_classes, n_classes)
    errors = np.where(np.eye(n_classes, dtype=bool), 0, counts)
    annotated_map(errors, ax, text=counts, vmax=max(1, errors.max()), cmap="Blues")
    return name_classes(ax, class_names, x="predicted", y="label")


def id_matrix(
    matrix: np.ndarray, ax: Axes, *, rows: Sequence[str], columns: Sequence[str], **options
) -> Axes:
    """Draw a small matrix with its numbers written in: one row per factor, one column per instance."""
    annotated_map(matrix, ax, text=matrix, **options)
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    return ax


def unit_profiles(activations: np.ndarray, labels: np.ndarray, class_names: Sequence[str], ax: Axes) -> Axes:
    """Draw the mean activation of every unit for every class; units sorted by the class they like best.

    Parameters
    ----------
    activations : float array of shape (n, units)
    labels : int array of shape (n,)
    """
    means = np.stack([activations[labels == k].mean(axis=0) for k in range(len(class_names))])
    is_silent = means.max(axis=0) == 0
    order = np.lexsort((-means.max(axis=0), means.argmax(axis=0), is_silent))
    image = ax.imshow(means[:, order], aspect="auto", vmin=0)
    ax.figure.colorbar(image, ax=ax, label="mean activation", pad=0.01)
    ax.set_yticks(range(len(class_names)), class_names)
    silent = f"; the last {is_silent.sum()} are never active" if is_silent.any() else ""
    ax.set(xlabel=f"{means.shape[1]} units, sorted by their strongest class{silent}", ylabel="class")
    return ax


def taxonomy(branches: Mapping[str, Sequence[str]], ax: Axes) -> Axes:
    """Draw a map of the field under a network: where each of four branches looks, and its families.

    Parameters
    ----------
    branches : mapping of str to sequence of str
        Four, from the data to the whole model; families whose name ends in * are those the series has, in
        bold.
    """
    n_rows = max(map(len, branches.values()))
    _network_from_the_side(ax)
    for column, (branch, families) in enumerate(branches.items()):
        color = CLASS_COLORS[column]
        ax.plot([column, column], [0, -0.42 * len(families) - 0.1], color=color, lw=1.5, zorder=0)
        ax.text(
            column, 0, branch, ha="center", va="center", weight="bold", fontsize=9,
            bbox={"boxstyle": "round,pad=0.5", "fc": "white", "ec": color, "lw": 2},
        )  # fmt: skip
        for row, family in enumerate(families, start=1):
            is_here = family.endswith("*")
            ax.text(
                column, -0.42 * row - 0.15, family.rstrip("*"), ha="center", va="center", fontsize=8,
                weight="bold" if is_here else "normal",
                bbox={"boxstyle": "round,pad=0.3", "fc": "white", "ec": color if is_here else "0.85"},
            )  # fmt: skip
    ax.set(xlim=(-0.55, len(branches) - 0.45), ylim=(-0.42 * n_rows - 0.45, 1.75))
    ax.set_axis_off()
    return ax


def _network_from_the_side(ax: Axes) -> None:
    """Draw an image, two blocks of feature maps, dense neurons and a prediction, framed as one model."""
    for column, n_maps, height in ((0.7, 5, 0.75), (1.3, 8, 0.5)):
        for k in range(n_maps):
            corner = column - 0.2 + 0.05 * k, 1.1 - height / 2
            ax.add_patch(Rectangle(corner, 0.14, height, fc="white", ec=CLASS_COLORS[1], lw=1))
    ax.add_patch(Rectangle((-0.2, 0.75), 0.4, 0.7, fc="#e8f1fa", ec=CLASS_COLORS[0], lw=1.5))
    ax.text(0, 1.1, "image", ha="center", va="center", fontsize=8)
    ax.scatter([1.85] * 5, np.linspace(0.8, 1.4, 5), s=18, fc="white", ec=CLASS_COLORS[1], zorder=3)
    ax.text(2.2, 1.1, "“truck”", ha="center", va="center", fontsize=9, color=CLASS_COLORS[2])
    frame = FancyBboxPatch(
        (0.4, 0.6), 2.2, 1.05, boxstyle="round,pad=0.05", fc="none", ec=CLASS_COLORS[3], lw=1.5
    )
    ax.add_patch(frame)
    arrow = {"arrowstyle": "-|>", "color": "0.4"}
    for start, stop in ((0.22, 0.46), (0.98, 1.08), (1.7, 1.8), (1.9, 2.02)):
        ax.annotate("", (stop, 1.1), (start, 1.1), arrowprops=arrow)
    for column, (x, y) in enumerate(((0, 0.75), (1.1, 0.8), (2.2, 1.0), (2.65, 1.1))):
        ax.annotate(
            "",
            (x, y),
            (column, 0.22),
            arrowprops={"arrowstyle": "->", "color": CLASS_COLORS[column], "lw": 1.5},
        )


def verdict_bars(scoreboard: pd.DataFrame, ax: Axes) -> Axes:
    """Draw how many claims of each paper got which verdict."""
    colors = claims.COLORS | {"not run": "0.88"}
    papers = scoreboard["source"].str.split(",").str[0].rename("paper")
    counts = pd.crosstab(papers, scoreboard["verdict"]).reindex(columns=list(colors), fill_value=0)
    counts.plot.barh(stacked=True, color=list(colors.values()), ax=ax, width=0.6)
    ax.invert_yaxis()
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel="claims", ylabel="paper")
    ax.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(colors))
    return ax


def reference_lines(draw, references: Mapping[str, float]) -> None:
    """Draw levels with their names by ``ax.axhline`` or ``ax.axvline``."""
    styles = ("--", ":", "-.")
    for (name, level), style in zip(references.items(), styles, strict=False):
        draw(level, color="0.3", linestyle=style, linewidth=1, label=f"{name} ({level:.3f})")


def annotated_map(values: np.ndarray, ax: Axes, *, text: np.ndarray, fmt: str = "d", **options) -> None:
    """Draw a matrix as colours with its numbers written in."""
    values = np.asarray(values, dtype=float)
    image = ax.imshow(values, **options)
    middle = (image.norm.vmin + image.norm.vmax) / 2
    dark_is_high = np.mean(image.cmap(1.0)[:3]) < np.mean(image.cmap(0.0)[:3])
    for (row, column), value in np.ndenumerate(text):
        if np.isfinite(value):
            is_dark = (values[row, column] > middle) == dark_is_high
            ax.text(
                column, row, format(value, fmt), ha="center", va="center", fontsize=8,
                color="white" if is_dark else "black",
            )  # fmt: skip
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.tick_params(length=0)


def name_classes(ax: Axes, class_names: Sequence[str], *, x: str, y: str) -> Axes:
    """Name the ticks of a classes by classes map, and its axes."""
    ax.set_xticks(range(len(class_names)), class_names)
    ax.set_yticks(range(len(class_names)), class_names)
    ax.set(xlabel=x, ylabel=y)
    return ax


def tiled(pictures: np.ndarray, columns: int) -> np.ndarray:
    """Put pictures (n, height, width, channels) into lines of `columns`, a white pixel after each."""
    n, height, width, n_channels = pictures.shape
    lines = -(-n // columns)
    canvas = np.ones((lines * columns, height + 1, width + 1, n_channels), np.float32)
    canvas[:n, :height, :width] = pictures
    canvas = canvas.reshape(lines, columns, height + 1, width + 1, n_channels).transpose(0, 2, 1, 3, 4)
    return canvas.reshape(lines * (height + 1), columns * (width + 1), n_channels)


def show_image(ax: Axes, image: np.ndarray) -> Axes:
    """Draw one image (height, width, 1 or 3): grey ones black on white, colours as they are."""
    if image.shape[-1] == 1:
        ax.imshow(image[..., 0], cmap="gray_r", vmin=0, vmax=1)
    else:
        ax.imshow(image, vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set(visible=True, color="0.8")
    return ax
