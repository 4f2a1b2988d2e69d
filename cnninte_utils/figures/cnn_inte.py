"""Drawings of CNN-INTE: clusters, trees, what is left on a path (paper A)."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

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


def factor_clusters(
    points: np.ndarray, ids: np.ndarray, images: np.ndarray, *, max_points: int = 2_000
) -> Figure:
    """Draw a factor's instances by ID, and below the mean image of each ID.

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
    figure = plt.figure(figsize=(8, 5.2))
    grid = figure.add_gridspec(2, len(numbers), height_ratios=(4, 1))
    ax = figure.add_subplot(grid[0, :])
    drawn = slice(None, None, max(1, len(ids) // max_points))
    palette = {i: _id_color(i) for i in numbers}
    sns.scatterplot(
        x=points[drawn, 0],
        y=points[drawn, 1],
        hue=ids[drawn],
        palette=palette,
        s=12,
        linewidth=0,
        ax=ax,
        legend=False,
    )
    for i in numbers:
        ax.annotate(
            str(i), points[ids == i].mean(axis=0), ha="center", va="center", weight="bold",
            bbox={"boxstyle": "circle,pad=0.25", "fc": "white", "ec": _id_color(i), "lw": 2},
        )  # fmt: skip
    ax.set(xlabel="first principal component", ylabel="second")
    for column, i in enumerate(numbers):
        below = figure.add_subplot(grid[1, column])
        show_image(below, images[ids == i].mean(axis=0))
        below.set_title(f"ID {i}", fontsize=9, loc="center", color="black")
        below.set_xlabel(f"{(ids == i).mean():.0%}", fontsize=8)
    return figure


def tree_diagram(tree: Tree, classes: Sequence, ax: Axes, *, max_depth: int = 5) -> Axes:
    """Draw a tree, root at the top; a leaf shows its class and the share of it among its instances.

    Nodes deeper than `max_depth` are left out.
    """
    places = _places(tree, max_depth)
    for node, (x, depth) in places.items():
        is_drawn_leaf = tree.factor[node] < 0 or tree.left[node] not in places
        if not is_drawn_leaf:
            for child, side in ((tree.left[node], "yes"), (tree.right[node], "no")):
                cx, cy = places[child]
                ax.plot([x, cx], [-depth, -cy], color="0.75", lw=0.8, zorder=1)
                if depth < 2:
                    ax.annotate(side, ((x + cx) / 2, -(depth + cy) / 2), color="0.4", fontsize=8, ha="center")
        _draw_node(ax, tree, node, classes, x, depth, is_drawn_leaf)
    ax.set_axis_off()
    ax.margins(0.03, 0.06)
    return ax


def _draw_node(ax, tree, node, classes, x, depth, is_leaf):
    if is_leaf:
        counts = tree.counts[node]
        best = counts.argmax()
        text, color = f"{classes[best]}\n{counts[best] / max(1, counts.sum()):.0%}", CLASS_COLORS[best % 10]
    else:
        text, color = _question(tree, node), "white"
    ax.text(
        x, -depth, text, ha="center", va="center", fontsize=9 - depth * 0.5, zorder=2,
        bbox={"boxstyle": "round,pad=0.25", "fc": (*to_rgba(color)[:3], 0.35), "ec": "0.4", "lw": 0.6},
    )  # fmt: skip


def _question(tree: Tree, node: int) -> str:
    """Word a division: "f3 ≤ 4" where it is one, otherwise the set."""
    goes_left = tree.goes_left[node]
    n_left = int(goes_left.sum())
    if goes_left[:n_left].all():
        return f"f{tree.factor[node]} ≤ {n_left - 1}"
    ids = np.flatnonzero(goes_left)
    return f"f{tree.factor[node]} in\n{''.join(map(str, ids)) if ids.max() < 10 else len(ids)}"


def _places(tree: Tree, max_depth: int) -> dict[int, tuple[float, int]]:
    """Give each node down to `max_depth` an x (leaves evenly spaced) and a depth."""
    places: dict[int, tuple[float, int]] = {}
    n_leaves = 0

    def place(node: int, depth: int) -> float:
        nonlocal n_leaves
        if tree.factor[node] < 0 or depth == max_depth:
            x, n_leaves = float(n_leaves), n_leaves + 1
        else:
            x = (place(tree.left[node], depth + 1) + place(tree.right[node], depth + 1)) / 2
        places[node] = (x, depth)
        return x

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
        figsize=(1.3 * n_columns, 1.35 * n_rows + 0.5),
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
                axes[row, column].plot(x, y, marker="*", color="black", markeredgecolor="white", markersize=9)
            if axes[row, column].axison and overlaps is not None:
                axes[row, column].annotate(
                    f"{overlaps[row, column]:.0%}", (0.03, 0.03), xycoords="axes fraction", fontsize=7
                )
        _label_row(axes[row, 0], condition, row + 1)
    for ax, hypothesis in zip(axes[0], hypotheses, strict=True):
        marker = " (predicted)" if hypothesis == explanation.prediction else ""
        ax.set_title(f"{hypothesis}?{marker}", fontsize=9, loc="center")
    verdict = "correctly" if explanation.is_correct else "wrongly"
    figure.suptitle(
        f"Label {explanation.label}, {verdict} classified as {explanation.prediction}: "
        f"training {explanation.label}s (orange) against each hypothesis (blue)",
        fontsize=11,
    )
    return figure


def _panel(ax, points, holds, labels, explanation, depth, hypothesis, max_points):
    separated_at = explanation.separation[hypothesis]
    ax.set(xticks=[], yticks=[])
    if separated_at is not None and depth > separated_at:
        ax.set_axis_off()
        return
    drawings = ((explanation.label, LABEL_COLOR, "o"), (hypothesis, HYPOTHESIS_COLOR, "x"))
    for label, color, marker in drawings:
        rows = np.flatnonzero(holds & (labels == label))
        rows = rows[:: max(1, len(rows) // max_points)]
        ax.scatter(*points[rows].T, s=5, color=color, marker=marker, linewidths=0.6, alpha=0.6)
    ax.annotate(
        f"{explanation.left(depth, hypothesis):,}", (0.97, 0.97), xycoords="axes fraction",
        ha="right", va="top", fontsize=7, color=HYPOTHESIS_COLOR,
    )  # fmt: skip
    is_last = depth in (separated_at, len(explanation.conditions))
    if is_last:
        color = OPEN_COLOR if separated_at is None else SEPARATED_COLOR
        ax.patch.set_facecolor((*to_rgba(color)[:3], 0.06))
        mark = "✗" if separated_at is None else "✓"
        ax.annotate(
            mark, (0.03, 0.97), xycoords="axes fraction", ha="left", va="top", color=color, weight="bold"
        )
        for spine in ax.spines.values():
            spine.set(visible=True, color=color, linewidth=2.2)


def _label_row(ax, condition, depth):
    text = f"depth {depth}\nf{condition.factor} in\n{condition.set_text}"
    ax.text(-0.08, 0.5, text, transform=ax.transAxes, fontsize=7, ha="right", va="center")


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
    """Draw, for every label and hypothesis, how often it is separated and how deep."""
    annotated_map(share, axes[0], text=share, fmt=".0%", vmin=0, vmax=1)
    annotated_map(mean_depth, axes[1], text=mean_depth, fmt=".1f", vmin=1, cmap="cividis_r")
    axes[0].set_title("How often the path separates the hypothesis")
    axes[1].set_title("Mean depth at which it does")
    for ax in axes:
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
    options = {"x": "accuracy", "y": "method", "hue": "method", "hue_order": order, "order": order, "ax": ax}
    options |= {"legend": False, "palette": "dark:#0072B2"}
    sns.stripplot(frame[~is_single], size=4, alpha=0.4, jitter=0.3, **options)
    sns.stripplot(frame[is_single], size=9, marker="D", jitter=False, **options)
    reference_lines(ax.axvline, references)
    ax.set(xlabel="test accuracy", ylabel="")
    ax.legend(fontsize=8, loc="lower left")
    return ax


def separation_bars(explanations: Explanations, ax: Axes) -> Axes:
    """Draw how many hypotheses are separated, of correctly and of wrongly classified instances."""
    n_separated = (explanations.separation_depth > 0).sum(axis=1)
    kinds = np.where(explanations.is_correct, "correctly classified", "wrongly classified")
    sns.histplot(
        x=n_separated, hue=kinds, hue_order=["correctly classified", "wrongly classified"], discrete=True,
        stat="proportion", common_norm=False, multiple="dodge", shrink=0.8, ax=ax,
    )  # fmt: skip
    ax.set(xlabel="hypotheses separated", ylabel="share of the instances")
    return ax


def _id_color(i: int):
    return plt.get_cmap("tab20")(i % 20)
