"""Drawings of CNN-INTE: clusters, trees, what is left on a path (paper A)."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patches import Rectangle

from ..methods.cnn_inte.explanations import Explanation, Explanations
from ..methods.cnn_inte.meta_learners import Tree
from .common import (
    CLASS_COLORS,
    HYPOTHESIS_COLOR,
    LABEL_COLOR,
    OPEN_COLOR,
    SEPARATED_COLOR,
    annotated_map,
    name_classes,
    reference_lines,
    show_image,
)

# Paul Tol's "muted" set: told apart with any colour vision, and none of them a class's colour
ID_COLORS = (
    "#332288", "#88ccee", "#44aa99", "#117733", "#999933",
    "#ddcc77", "#cc6677", "#882255", "#aa4499", "#bbbbbb",
)  # fmt: skip


def id_cells(ids: np.ndarray, ax: Axes, *, rows: Sequence[str], columns: Sequence[str]) -> Axes:
    """Draw a table of IDs, a colour for each number: they are names, and no colour is more than another.

    Parameters
    ----------
    ids : int array of shape (rows, columns)
    """
    colors = np.array([to_rgba(_id_color(i)) for i in ids.ravel()]).reshape(*ids.shape, 4)
    ax.imshow(colors, aspect="auto")
    for (row, column), i in np.ndenumerate(ids):
        ax.text(column, row, str(i), ha="center", va="center", color=_ink_on(_id_color(i)), weight="bold")
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.set_xticks(np.arange(0.5, len(columns) - 1), minor=True)
    ax.set_yticks(np.arange(0.5, len(rows) - 1), minor=True)
    ax.grid(which="minor", color="white", linewidth=2)
    ax.tick_params(which="both", length=0)
    ax.spines[:].set_visible(False)
    return ax


def factor_clusters(
    points: np.ndarray, ids: np.ndarray, images: np.ndarray, *, max_points: int = 2_000
) -> Figure:
    """Draw a factor's images by ID, and below the mean image of each ID.

    Parameters
    ----------
    points : float array of shape (n, 2)
        A projection of the factor's activations.
    ids : int array of shape (n,)
    images : array of shape (n, height, width, 1)
    max_points : int
        Points drawn, evenly spaced through the data.
    """
    numbers = np.unique(ids)
    figure = plt.figure(figsize=(8, 5.4))
    grid = figure.add_gridspec(2, len(numbers), height_ratios=(4, 1))
    ax = figure.add_subplot(grid[0, :])
    drawn = slice(None, None, max(1, len(ids) // max_points))
    ax.scatter(*points[drawn].T, c=[_id_color(i) for i in ids[drawn]], s=12, linewidths=0)
    middles = np.stack([points[ids == i].mean(axis=0) for i in numbers])
    for i, middle, place in zip(numbers, middles, _apart(middles), strict=True):
        ax.annotate(
            str(i), middle, xytext=place, ha="center", va="center", weight="bold",
            bbox={"boxstyle": "circle,pad=0.25", "fc": "white", "ec": _id_color(i), "lw": 2.5},
            arrowprops={"arrowstyle": "-", "color": "black", "lw": 0.8},
        )  # fmt: skip
    ax.set(xlabel="first principal component", ylabel="second principal component")
    for column, i in enumerate(numbers):
        below = figure.add_subplot(grid[1, column])
        show_image(below, images[ids == i].mean(axis=0))
        below.spines[:].set(color=_id_color(i), linewidth=3)
        below.set_title(f"ID {i}", fontsize=10, loc="center", color="black")
        below.set_xlabel(f"{(ids == i).mean():.0%}", fontsize=9)
    return figure


def _apart(places: np.ndarray, *, gap: float = 0.1, n_rounds: int = 200) -> np.ndarray:
    """Push places (n, 2) off each other until none is nearer than `gap` of the whole range."""
    low, extent = places.min(axis=0), np.ptp(places, axis=0).max() or 1.0
    moved = (places - low) / extent
    for _ in range(n_rounds):
        offsets = moved[:, None] - moved[None]
        distances = np.linalg.norm(offsets, axis=2) + 1e-9
        push = np.clip(gap - distances, 0, None)
        np.fill_diagonal(push, 0)
        if not push.any():
            break
        moved = moved + 0.5 * (offsets / distances[..., None] * push[..., None]).sum(axis=1)
    return moved * extent + low


def block_diagram(
    boxes: Mapping[str, tuple[float, float, str]], arrows: Sequence[tuple[str, ...]], ax: Axes
) -> Axes:
    """Draw boxes and arrows between them: how data go through a method.

    Parameters
    ----------
    boxes : mapping
        Name → x, y and text; names that begin with "model" are drawn in colour.
    arrows : sequence of (from, to) or (from, to, label)
    """
    drawn = {}
    for name, (x, y, text) in boxes.items():
        is_model = name.startswith("model")
        drawn[name] = ax.text(
            x, y, text, ha="center", va="center", fontsize=9,
            bbox={
                "boxstyle": "round,pad=0.45" if is_model else "square,pad=0.45",
                "fc": "#dceaf5" if is_model else "white", "ec": "#0072B2" if is_model else "0.5",
            },
        )  # fmt: skip
    for start, end, *label in arrows:
        (x0, y0, _), (x1, y1, _) = boxes[start], boxes[end]
        ax.annotate(
            "", (x1, y1), (x0, y0), zorder=3,
            arrowprops={
                "arrowstyle": "-|>", "color": "0.3", "shrinkA": 1, "shrinkB": 1,
                "patchA": drawn[start].get_bbox_patch(), "patchB": drawn[end].get_bbox_patch(),
            },
        )  # fmt: skip
        for text in label:
            ax.text(
                (x0 + x1) / 2, (y0 + y1) / 2, text, ha="center", va="center", fontsize=8, color="0.25",
                zorder=4, bbox={"fc": "white", "ec": "none", "pad": 1},
            )  # fmt: skip
    x, y = np.array([box[:2] for box in boxes.values()]).T
    ax.set(xlim=(x.min() - 0.6, x.max() + 0.6), ylim=(y.min() - 0.5, y.max() + 0.5))
    ax.set_axis_off()
    return ax


def training_diagrams() -> Figure:
    """Draw how meta-learning and how CNN-INTE are trained, one above the other.

    References
    ----------
    Liu, Wang, Matwin 2018, Figs 2 and 4, redrawn.
    """
    stacking = {
        "data": (0, 1, "training data"), "model base": (1.6, 1, "base models\n1 … m"),
        "said": (3.2, 1, "their predictions"), "label": (4.8, 0, "labels"),
        "model meta": (4.8, 1, "meta-learner"),
    }  # fmt: skip
    inte = {
        "S": (0, 1, "activations S\n128 × N"), "F": (1.6, 1, "K factors"), "said": (3.2, 1, "N × K IDs"),
        "label": (4.8, 0, "labels"), "model meta": (4.8, 1, "small tree"),
        "x": (1.6, 0, "pixels"), "model base": (3.2, 0, "K forests"),
    }  # fmt: skip
    to_meta = [("said", "model meta"), ("label", "model meta")]
    to_ids = [("S", "F", "cluster\nneurons"), ("F", "said", "cluster\nimages")]
    figure, axes = plt.subplots(2, 1, figsize=(9, 4.6))
    block_diagram(stacking, [("data", "model base"), ("model base", "said"), *to_meta], axes[0])
    to_base = [("x", "model base"), ("said", "model base", "targets")]
    block_diagram(inte, [*to_ids, *to_meta, *to_base], axes[1])
    axes[0].set_title(
        "Meta-learning (Fig. 2): base models predict the label, the meta-learner learns from them"
    )
    axes[1].set_title("CNN-INTE (Fig. 4): clusters of activations are what the base models learn to predict")
    return figure


def layer_stack(layers: Sequence[tuple[str, tuple[int, ...]]], ax: Axes) -> Axes:
    """Draw a network as it is usually drawn: feature maps as stacked squares, dense layers as bars.

    Parameters
    ----------
    layers : sequence of (name, shape)
        Shapes (height, width, units) or (units,); sides and heights are drawn to scale, the second by their
        logarithm.
    """
    largest = max(shape[0] for _, shape in layers if len(shape) == 3)
    x = 0.0
    kinds = {"image": "#bbbbbb", "conv": "#0072B2", "pool": "#E69F00"}
    for number, (name, shape) in enumerate(layers):
        color = kinds.get(name.rstrip("0123456789"), "#009E73")
        if len(shape) == 3:
            side, n_drawn = 2.0 * shape[0] / largest, min(5, shape[2])
            for k in reversed(range(n_drawn)):
                corner = (x + 0.13 * k, -side / 2 + 0.13 * k)
                ax.add_patch(Rectangle(corner, side, side, fc=_pale(color), ec="0.3", lw=0.8))
            width = side + 0.13 * (n_drawn - 1)
        else:
            height, width = 0.4 * np.log2(shape[0]), 0.8
            ax.add_patch(Rectangle((x + 0.3, -height / 2), 0.2, height, fc=_pale(color), ec="0.3", lw=0.8))
        ax.text(x + width / 2, 1.85, name, ha="center", weight="bold", fontsize=9)
        ax.text(x + width / 2, -1.75, "×".join(map(str, shape)), ha="center", fontsize=8)
        x += max(width, 0.8) + 0.7
        if number < len(layers) - 1:
            ax.annotate("", (x - 0.1, 0), (x - 0.6, 0), arrowprops={"arrowstyle": "-|>", "color": "0.3"})
    ax.set(xlim=(-0.5, x - 0.3), ylim=(-2.1, 2.3), aspect="equal")
    ax.set_axis_off()
    return ax


def sliding_filter(
    image: np.ndarray, weights: np.ndarray, feature_map: np.ndarray, pooled: np.ndarray, at: tuple[int, int]
) -> Figure:
    """Draw a filter at one place of an image, and where its answer and the pooled answer stand.

    Parameters
    ----------
    image, weights, feature_map, pooled : int arrays of two dimensions
        The pooled map has half the height and width of the feature map.
    at : (row, column)
        Of the feature map.
    """
    panels = {"image": image, "filter": weights, "feature map": feature_map, "after ReLU and pooling": pooled}
    widths = [matrix.shape[1] + 1 for matrix in panels.values()]
    figure, axes = plt.subplots(1, 4, figsize=(9, 2.9), width_ratios=widths)
    for ax, (name, matrix) in zip(axes, panels.items(), strict=True):
        reach = 2.5 * max(1, np.abs(matrix).max())  # pale, so that black numbers can be read
        options = {"cmap": "gray_r", "vmin": 0} if name == "image" else {"cmap": "RdBu_r", "vmin": -reach}
        ax.imshow(matrix, vmax=reach, **options)
        for (row, column), value in np.ndenumerate(matrix):
            ax.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=11)
        ax.set(xticks=[], yticks=[], xlabel=name, anchor="S")
    (row, column), side = at, len(weights)
    places = ((axes[0], row, column, side), (axes[2], row, column, 1), (axes[3], row // 2, column // 2, 1))
    for ax, y, x, size in places:
        ax.add_patch(Rectangle((x - 0.5, y - 0.5), size, size, fill=False, ec="#009E73", lw=3))
    pool = (column // 2 * 2 - 0.5, row // 2 * 2 - 0.5)
    axes[2].add_patch(Rectangle(pool, 2, 2, fill=False, ec="#CC79A7", lw=2, ls="--"))
    return figure


def tree_diagram(
    tree: Tree,
    classes: Sequence,
    ax: Axes,
    *,
    max_depth: int = 5,
    leaf_images: Mapping[int, np.ndarray] | None = None,
) -> Axes:
    """Draw a tree, root at the left, "yes" upwards; a leaf shows its class and that class's share.

    Nodes deeper than `max_depth` are left out.

    Parameters
    ----------
    leaf_images : mapping, optional
        Node → image (height, width, 1) in [0, 1] to be drawn beside the leaf.
    """
    places = _places(tree, max_depth)
    for node, (height, depth) in places.items():
        is_drawn_leaf = tree.factor[node] < 0 or tree.left[node] not in places
        if not is_drawn_leaf:
            for child, side in ((tree.left[node], "yes"), (tree.right[node], "no")):
                child_height, child_depth = places[child]
                ax.plot([depth, child_depth], [-height, -child_height], color="0.75", lw=1, zorder=1)
                if depth < 2:
                    middle = ((depth + child_depth) / 2, -(height + child_height) / 2)
                    ax.annotate(side, middle, color="0.4", fontsize=9, ha="center", va="center")
        _draw_node(ax, tree, node, classes, depth, -height, is_drawn_leaf)
        if is_drawn_leaf and leaf_images and node in leaf_images:
            picture = OffsetImage(leaf_images[node][..., 0], zoom=0.65, cmap="gray_r", clim=(0, 1))
            ax.add_artist(AnnotationBbox(picture, (depth + 0.45, -height), frameon=False, pad=0))
    heights, depths = zip(*places.values(), strict=True)
    ax.set(xlim=(-0.4, max(depths) + (0.75 if leaf_images else 0.4)), ylim=(-max(heights) - 0.6, 0.6))
    ax.set_axis_off()
    return ax


def _draw_node(ax, tree, node, classes, x, y, is_leaf):
    if is_leaf:
        counts = tree.counts[node]
        best = counts.argmax()
        text = f"{classes[best]}  {counts[best] / max(1, counts.sum()):.0%}"
        color = CLASS_COLORS[best % 10]
    else:
        text, color = _question(tree, node), "white"
    ax.text(
        x, y, text, ha="center", va="center", fontsize=10, zorder=2, weight="bold" if is_leaf else "normal",
        bbox={"boxstyle": "round,pad=0.15", "fc": _pale(color), "ec": "0.4", "lw": 0.6},
    )  # fmt: skip


def _pale(color: str) -> tuple[float, float, float]:
    """The colour thinned with white, and not transparent."""
    return tuple(1 - 0.35 * (1 - part) for part in to_rgba(color)[:3])


def _question(tree: Tree, node: int) -> str:
    """Word a division: "f3 ≤ 4" where it is one, otherwise the set."""
    goes_left = tree.goes_left[node]
    n_left = int(goes_left.sum())
    if goes_left[:n_left].all():
        return f"f{tree.factor[node]} ≤ {n_left - 1}"
    ids = np.flatnonzero(goes_left)
    return f"f{tree.factor[node]} in\n{''.join(map(str, ids)) if ids.max() < 10 else len(ids)}"


def _places(tree: Tree, max_depth: int) -> dict[int, tuple[float, int]]:
    """Give each node down to `max_depth` a place among the leaves (evenly spaced) and a depth."""
    places: dict[int, tuple[float, int]] = {}
    n_leaves = 0

    def place(node: int, depth: int) -> float:
        nonlocal n_leaves
        if tree.factor[node] < 0 or depth == max_depth:
            where, n_leaves = float(n_leaves), n_leaves + 1
        else:
            where = (place(tree.left[node], depth + 1) + place(tree.right[node], depth + 1)) / 2
        places[node] = (where, depth)
        return where

    place(0, 0)
    return places


def hypothesis_grid(
    explanation: Explanation,
    points: Sequence[np.ndarray],
    ids: np.ndarray,
    labels: np.ndarray,
    *,
    instance: Sequence[np.ndarray] | None = None,
    overlaps: np.ndarray | None = None,
    max_points: int = 300,
) -> Figure:
    """Draw the paper's diagram of one instance: rows are depths, columns hypotheses.

    A panel scatters the training instances that satisfy the conditions down to its depth, of the
    instance's class against the hypothesis, by the factor of that depth. A column ends, framed green,
    where no instance of the hypothesis is left; one that never gets there is framed red.

    Parameters
    ----------
    explanation : Explanation
    points : sequence of float arrays of shape (n, 2)
        For each factor a projection of its training activations.
    ids : int array of shape (n, factors)
        Of the training instances.
    labels : array of shape (n,)
    instance : sequence of float arrays of shape (2,), optional
        The explained instance in each factor's plane: a star in every panel.
    overlaps : float array of shape (depths, hypotheses), optional
        How far the two clouds of each panel overlap, written into its lower corner.
    max_points : int
        Points drawn of each class in a panel.

    References
    ----------
    Liu, Wang, Matwin 2018, Figs 7-9.
    """
    hypotheses = list(explanation.separation)
    n_rows, n_columns = len(explanation.conditions), len(hypotheses)
    if not n_rows:
        raise ValueError("the instance's path has no condition, so there is nothing to draw")
    figure, axes = plt.subplots(
        n_rows,
        n_columns,
        figsize=(1.0 * n_columns + 1.0, 1.05 * n_rows + 1.1),
        squeeze=False,
        sharex="row",
        sharey="row",
    )
    holds = np.ones(len(ids), dtype=bool)
    for row, condition in enumerate(explanation.conditions):
        holds &= condition.holds(ids)
        for column, hypothesis in enumerate(hypotheses):
            _panel(
                axes[row, column], points[condition.factor], holds, labels,
                explanation, row + 1, hypothesis, max_points,
            )  # fmt: skip
            if axes[row, column].axison and instance is not None:
                x, y = instance[condition.factor]
                axes[row, column].plot(
                    x, y, marker="*", color="black", markeredgecolor="white", markersize=10
                )
            if axes[row, column].axison and overlaps is not None:
                axes[row, column].annotate(
                    f"{overlaps[row, column]:.0%}", (0.03, 0.03), xycoords="axes fraction", fontsize=8
                )
        _label_row(axes[row, 0], condition, row + 1)
    for ax, hypothesis in zip(axes[0], hypotheses, strict=True):
        marker = " (predicted)" if hypothesis == explanation.prediction else ""
        ax.set_title(f"{hypothesis}?{marker}", fontsize=9, loc="center")
    verdict = "correctly" if explanation.is_correct else "wrongly"
    figure.suptitle(
        f"Label {explanation.label}, {verdict} classified as {explanation.prediction}: "
        f"training {explanation.label}s (orange ●) against each hypothesis (blue ×)",
        fontsize=11,
    )
    figure.supxlabel("each panel: first principal component of the factor's neurons", fontsize=9)
    figure.supylabel("second principal component", fontsize=9)
    return figure


def _panel(ax, points, holds, labels, explanation, depth, hypothesis, max_points):
    separated_at = explanation.separation[hypothesis]
    ax.set(xticks=[], yticks=[])
    if separated_at is not None and depth > separated_at:
        ax.set_axis_off()
        if depth == separated_at + 1:
            ax.text(
                0.5, 0.85, f"ruled out\nat depth {separated_at}", transform=ax.transAxes,
                ha="center", va="center", fontsize=8, color=SEPARATED_COLOR,
            )  # fmt: skip
        return
    drawings = ((explanation.label, LABEL_COLOR, "o"), (hypothesis, HYPOTHESIS_COLOR, "x"))
    for label, color, marker in drawings:
        rows = np.flatnonzero(holds & (labels == label))
        rows = rows[:: max(1, len(rows) // max_points)]
        ax.scatter(*points[rows].T, s=5, color=color, marker=marker, linewidths=0.6, alpha=0.6)
    ax.annotate(
        f"{explanation.left(depth, hypothesis):,}", (0.97, 0.97), xycoords="axes fraction",
        ha="right", va="top", fontsize=8, color=HYPOTHESIS_COLOR,
    )  # fmt: skip
    is_last = depth in (separated_at, len(explanation.conditions))
    if is_last:
        color = OPEN_COLOR if separated_at is None else SEPARATED_COLOR
        ax.patch.set_facecolor((*to_rgba(color)[:3], 0.06))
        mark = "✗" if separated_at is None else "✓"
        ax.annotate(
            mark, (0.03, 0.97), xycoords="axes fraction", ha="left", va="top", color=color, weight="bold",
            fontsize=12,
        )  # fmt: skip
        for spine in ax.spines.values():
            spine.set(visible=True, color=color, linewidth=2.2)


def _label_row(ax, condition, depth):
    allowed = fill(condition.set_text, 12)
    text = f"depth {depth}\nf{condition.factor} in\n{allowed}"
    ax.text(-0.1, 0.5, text, transform=ax.transAxes, fontsize=9, ha="right", va="center")


def signed_maps(images: np.ndarray, maps: np.ndarray, titles: Sequence[str], *, size: float = 1.5) -> Figure:
    """Draw grey images and below each a signed map: red speaks for, blue against, one scale for all.

    Parameters
    ----------
    images : float array of shape (n, height, width, 1), in [0, 1]
    maps : float array of shape (n, height, width)
    titles : sequence of str
    """
    largest = np.abs(maps).max() or 1
    figure, axes = plt.subplots(
        2, len(images), figsize=(size * len(images) + 0.8, 2 * size + 0.4), squeeze=False
    )
    for column, (image, values, title) in enumerate(zip(images, maps, titles, strict=True)):
        show_image(axes[0, column], image)
        axes[0, column].set_title(title, fontsize=9, loc="center")
        drawn = axes[1, column].imshow(values, cmap="RdBu_r", vmin=-largest, vmax=largest)
        axes[1, column].contour(image[..., 0], levels=[0.5], colors="0.3", linewidths=0.6)
        axes[1, column].set(xticks=[], yticks=[])
    figure.colorbar(drawn, ax=axes, label="weight of the part", shrink=0.7)
    return figure


def instance_table(explanations: Sequence[Explanation], names: Sequence[str]) -> pd.DataFrame:
    """Return the paper's Table I: IDs, label and prediction of a few instances."""
    rows = [
        {f"f{factor}": value for factor, value in enumerate(e.ids)}
        | {"label": e.label, "prediction": e.prediction}
        for e in explanations
    ]
    return pd.DataFrame(rows, index=list(names))


def separability_map(
    share: np.ndarray, mean_depth: np.ndarray, class_names: Sequence[str], axes: Sequence[Axes]
) -> Sequence[Axes]:
    """Draw, for every label and hypothesis, how often it is separated and how deep.

    Parameters
    ----------
    share, mean_depth : float arrays of shape (classes, classes)
        As :func:`~cnninte_utils.measures.separability` gives them; a depth that is NaN off the diagonal is
        drawn as a dash: never separated.
    """
    own = np.eye(len(share), dtype=bool)
    maps = (
        (
            share,
            ".0%",
            "How often the path separates the hypothesis",
            "share of the label's images",
            {"vmax": 1},
        ),
        (
            mean_depth,
            ".1f",
            "Mean depth at which it does (– never)",
            "depth",
            {"cmap": "cividis_r", "vmax": 5},
        ),
    )
    for ax, (values, fmt, title, meaning, options) in zip(axes, maps, strict=True):
        annotated_map(values, ax, text=values, fmt=fmt, vmin=0, **options)
        for row, column in np.argwhere(np.isnan(values) & ~own):
            ax.text(column, row, "–", ha="center", va="center", fontsize=9)
        for i in range(len(own)):
            ax.add_patch(Rectangle((i - 0.5, i - 0.5), 1, 1, fc="0.92", ec="0.7", hatch="///", lw=0))
        ax.set_title(title)
        ax.figure.colorbar(ax.images[0], ax=ax, label=meaning, shrink=0.75)
        name_classes(ax, class_names, x="hypothesis", y="label")
    return axes


def accuracy_by_depth(frame: pd.DataFrame, ax: Axes, *, references: Mapping[str, float]) -> Axes:
    """Draw accuracy against depth.

    Parameters
    ----------
    frame : DataFrame
        Columns depth, accuracy, tree; one line for each tree.
    references : mapping
        Name → level, drawn as horizontal lines.
    """
    sns.lineplot(frame, x="depth", y="accuracy", hue="tree", style="tree", markers=True, dashes=False, ax=ax)
    reference_lines(ax.axhline, references)
    ax.set(xlabel="largest depth of the tree", ylabel="test accuracy")
    ax.legend(fontsize=8)
    return ax


def score_distributions(frame: pd.DataFrame, ax: Axes, *, references: Mapping[str, float]) -> Axes:
    """Draw accuracies as one point each, by the way they came about.

    Parameters
    ----------
    frame : DataFrame
        Columns accuracy, method.
    references : mapping
        Name → level, drawn as vertical lines.
    """
    order = list(dict.fromkeys(frame["method"]))
    is_single = ~frame["method"].duplicated(keep=False)
    options = {"x": "accuracy", "y": "method", "order": order, "color": "#0072B2", "ax": ax}
    sns.stripplot(frame[~is_single], size=4, alpha=0.4, jitter=0.3, **options)
    sns.stripplot(frame[is_single], size=9, marker="D", jitter=False, **options)
    spans = frame[~is_single].groupby("method").accuracy.agg(["min", "max"])
    for method, (low, high) in spans.iterrows():
        ax.annotate(
            f"{low:.2f} to {high:.2f}", ((low + high) / 2, order.index(method) + 0.48),
            ha="center", va="center", fontsize=8,
        )  # fmt: skip
    reference_lines(ax.axvline, references)
    ax.set(xlabel="test accuracy", ylabel="")
    ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.15), ncols=2)
    return ax


def separation_bars(explanations: Explanations, ax: Axes) -> Axes:
    """Draw how many hypotheses are separated, of correctly and of wrongly classified instances."""
    n_separated = (explanations.separation_depth > 0).sum(axis=1)
    kinds = np.where(explanations.is_correct, "correctly classified", "wrongly classified")
    sns.histplot(
        x=n_separated, hue=kinds, hue_order=["correctly classified", "wrongly classified"], discrete=True,
        stat="proportion", common_norm=False, multiple="dodge", shrink=0.8, ax=ax,
    )  # fmt: skip
    ax.set(xlabel="hypotheses ruled out", ylabel="share of the images")
    return ax


def _id_color(i: int) -> str:
    return ID_COLORS[i % len(ID_COLORS)]


def _ink_on(color: str) -> str:
    """Black or white, whichever can be read on the colour."""
    return "white" if np.dot(to_rgba(color)[:3], (0.299, 0.587, 0.114)) < 0.5 else "black"
