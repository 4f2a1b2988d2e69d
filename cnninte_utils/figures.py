"""Every drawing of the series: functions take arrays and axes, draw, and return the axes or figure."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from .artifacts import atomic_path, write_json
from .claims import Run
from .explanations import Explanation, Explanations
from .meta_learners import Tree

__all__ = [
    "CLASS_COLORS",
    "accuracy_by_depth",
    "confusion",
    "factor_clusters",
    "hypothesis_grid",
    "id_matrix",
    "image_row",
    "instance_table",
    "learning_curves",
    "save",
    "score_distributions",
    "separability_map",
    "separation_bars",
    "taxonomy",
    "tree_diagram",
    "unit_profiles",
    "use_style",
    "verdict_bars",
]

# Petroff (2021), ten colours that people with any colour vision tell apart; class k is always colour k.
CLASS_COLORS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
LABEL_COLOR, HYPOTHESIS_COLOR = "#D55E00", "#0072B2"
SEPARATED_COLOR, OPEN_COLOR = "#009E73", "#B2182B"


def use_style() -> None:
    """Use the look of the series for every figure of this notebook."""
    plt.style.use("cnninte_utils.series")


def save(figure: Figure, run: Run, slug: str, title: str, alt: str) -> Figure:
    """Put the title on a figure and write it into the run's ``figures`` folder as PNG.

    Parameters
    ----------
    slug : str
        The rest of the file name, e.g. ``"learning_curves"``.
    title : str
        What the figure states; a figure that has a title keeps it.
    alt : str
        What is to be seen, for those who cannot see it.
    """
    if not figure.get_suptitle():
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    path = run.folder / "figures" / f"{run.name}.{slug}.png"
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Title": title, "Description": alt})
    write_json(path.with_suffix(".json"), {"title": title, "alt": alt})
    return figure


def image_row(images: np.ndarray, titles: Sequence[str], *, size: float = 1.0) -> Figure:
    """Draw grey images (n, height, width, 1) in [0, 1] in a row, each under its title."""
    figure, axes = plt.subplots(1, len(images), figsize=(size * len(images), size + 0.4), squeeze=False)
    for ax, image, title in zip(axes[0], images, titles, strict=True):
        _show_image(ax, image)
        ax.set_title(title, fontsize=9, loc="center")
    return figure


def learning_curves(history: Mapping[str, Sequence[float]], ax: Axes) -> Axes:
    """Draw accuracy on training batches and on validation images against steps."""
    ax.plot(history["step"], history["accuracy"], marker=".", label="training batches (dropout on)")
    ax.plot(history["step"], history["val_accuracy"], marker=".", label="validation images")
    ax.set(xlabel="optimizer steps", ylabel="accuracy", ylim=(0, 1))
    ax.legend(loc="lower right")
    return ax


def confusion(labels: np.ndarray, predictions: np.ndarray, class_names: Sequence[str], ax: Axes) -> Axes:
    """Draw how many instances of each label get each prediction; the errors set the colour scale."""
    n_classes = len(class_names)
    cells = np.bincount(labels * n_classes + predictions, minlength=n_classes**2)
    counts = cells.reshape(n_classes, n_classes)
    errors = np.where(np.eye(n_classes, dtype=bool), 0, counts)
    _annotated_map(errors, ax, text=counts, vmax=max(1, errors.max()), cmap="Blues")
    return _name_classes(ax, class_names, x="predicted", y="label")


def id_matrix(
    matrix: np.ndarray, ax: Axes, *, rows: Sequence[str], columns: Sequence[str], **options
) -> Axes:
    """Draw a small matrix with its numbers written in: one row per factor, one column per instance."""
    _annotated_map(matrix, ax, text=matrix, **options)
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    return ax


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
        _show_image(below, images[ids == i].mean(axis=0))
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
        figsize=(1.25 * n_columns, 1.3 * n_rows + 0.5),
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
        for spine in ax.spines.values():
            spine.set(visible=True, color=color, linewidth=2.2)


def _label_row(ax, condition, depth):
    text = f"depth {depth}\nf{condition.factor} in\n{condition.set_text}"
    ax.text(-0.08, 0.5, text, transform=ax.transAxes, fontsize=7, ha="right", va="center")


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
    _annotated_map(share, axes[0], text=share, fmt=".0%", vmin=0, vmax=1)
    _annotated_map(mean_depth, axes[1], text=mean_depth, fmt=".1f", vmin=1, cmap="cividis_r")
    axes[0].set_title("How often the path separates the hypothesis")
    axes[1].set_title("Mean depth at which it does")
    for ax in axes:
        _name_classes(ax, class_names, x="hypothesis", y="label")
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
    _reference_lines(ax.axhline, references)
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
    _reference_lines(ax.axvline, references)
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
    silent = f"; the last {is_silent.sum()} are silent" if is_silent.any() else ""
    ax.set(xlabel=f"{means.shape[1]} units, sorted by their strongest class{silent}", ylabel="class")
    return ax


def taxonomy(branches: Mapping[str, Sequence[str]], ax: Axes) -> Axes:
    """Draw a two-level map; families whose name ends in * are those the series has, in bold."""
    for column, (branch, families) in enumerate(branches.items()):
        color = CLASS_COLORS[column]
        ax.plot([column, column], [0, -0.35 * len(families) - 0.15], color=color, lw=1, zorder=0)
        ax.text(
            column, 0, branch, ha="center", va="center", weight="bold",
            bbox={"boxstyle": "round,pad=0.5", "fc": "white", "ec": color, "lw": 2},
        )  # fmt: skip
        for row, family in enumerate(families, start=1):
            is_here = family.endswith("*")
            ax.text(
                column, -0.35 * row - 0.15, family.rstrip("*"), ha="center", va="center", fontsize=9,
                weight="bold" if is_here else "normal",
                bbox={"boxstyle": "round,pad=0.25", "fc": "white", "ec": color if is_here else "0.85"},
            )  # fmt: skip
    depth = max(map(len, branches.values()))
    ax.set(xlim=(-0.6, len(branches) - 0.4), ylim=(-0.35 * depth - 0.5, 0.35))
    ax.set_axis_off()
    return ax


def verdict_bars(scoreboard: pd.DataFrame, ax: Axes) -> Axes:
    """Draw how many claims of each paper got which verdict."""
    colors = {
        "reproduced": SEPARATED_COLOR,
        "not reproduced": OPEN_COLOR,
        "not comparable": "0.6",
        "not run": "0.88",
    }
    papers = scoreboard["source"].str.split(",").str[0].rename("paper")
    counts = pd.crosstab(papers, scoreboard["verdict"]).reindex(columns=list(colors), fill_value=0)
    counts.plot.barh(stacked=True, color=list(colors.values()), ax=ax, width=0.6)
    ax.invert_yaxis()
    ax.set(xlabel="claims", ylabel="paper")
    ax.legend(fontsize=8, loc="lower right")
    return ax


def _reference_lines(draw, references: Mapping[str, float]) -> None:
    styles = ("--", ":", "-.")
    for (name, level), style in zip(references.items(), styles, strict=False):
        draw(level, color="0.3", linestyle=style, linewidth=1, label=f"{name} ({level:.3f})")


def _annotated_map(values, ax, *, text, fmt="d", **options):
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


def _name_classes(ax, class_names, *, x, y):
    ax.set_xticks(range(len(class_names)), class_names)
    ax.set_yticks(range(len(class_names)), class_names)
    ax.set(xlabel=x, ylabel=y)
    return ax


def _show_image(ax, image):
    ax.imshow(image[..., 0], cmap="gray_r", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set(visible=True, color="0.8")


def _id_color(i: int):
    return plt.get_cmap("tab20")(i % 20)
