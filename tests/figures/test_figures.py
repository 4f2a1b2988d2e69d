import json

import matplotlib as mpl

from cnninte_utils import runs

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from cnninte_utils import figures
from cnninte_utils.methods.cnn_inte.explanations import Explanation
from cnninte_utils.methods.cnn_inte.meta_learners import Condition, MetaTree

TOY = np.array([[0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 2], [0, 1, 1, 1, 2, 2]]).T
LABELS = np.array(list("AABBBC"))


@pytest.fixture
def ax():
    yield plt.subplots()[1]
    plt.close("all")


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_use_style_sets_the_look():
    figures.use_style()
    assert mpl.rcParams["figure.dpi"] == 80
    assert mpl.rcParams["image.cmap"] == "cividis"


def test_save_writes_picture_title_and_alternative_text(ax):
    run = runs.Run("10_x", "quick", "digits", 3)
    assert figures.save(ax.figure, run, "slug", "A title", "What is seen") is ax.figure
    assert ax.figure.get_suptitle() == "A title"
    folder = run.folder / "figures"
    assert (folder / "10_x.seed3.slug.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((folder / "10_x.seed3.slug.json").read_text()) == {
        "title": "A title",
        "alt": "What is seen",
    }


def test_learning_curves_have_both_accuracies(ax):
    history = {"step": [10, 20], "accuracy": [0.3, 0.6], "val_accuracy": [0.4, 0.7]}
    figures.learning_curves(history, ax)
    assert [line.get_ydata().tolist() for line in ax.lines] == [[0.3, 0.6], [0.4, 0.7]]
    assert ax.lines[0].get_xdata().tolist() == [10, 20]
    assert ax.get_xlabel() == "optimizer steps"


def test_confusion_counts_labels_in_rows(ax):
    figures.confusion(np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0]), ["a", "b"], ax)
    assert texts(ax) == ["1", "1", "1", "2"]
    assert ax.images[0].get_array().tolist() == [[0, 1], [1, 0]]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted", "label")


def test_id_matrix_writes_every_number(ax):
    figures.id_matrix(TOY.T, ax, rows=["f0", "f1", "f2"], columns=LABELS)
    assert texts(ax) == [str(v) for v in TOY.T.ravel()]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["f0", "f1", "f2"]


def test_image_row_has_one_panel_for_each_title():
    figure = figures.image_row(np.zeros((3, 4, 4, 1)), ["x", "y", "z"])
    assert [a.get_title() for a in figure.axes] == ["x", "y", "z"]
    assert len(figure.axes[0].images) == 1


def test_factor_clusters_show_every_id_with_its_mean_image():
    points, ids = np.arange(12.0).reshape(6, 2), np.array([0, 0, 1, 1, 2, 2])
    images = np.linspace(0, 1, 6)[:, None, None, None] * np.ones((6, 4, 4, 1))
    figure = figures.factor_clusters(points, ids, images)
    assert texts(figure.axes[0]) == ["0", "1", "2"]
    drawn = figure.axes[0].collections[0]
    assert drawn.get_offsets().tolist() == points.tolist()
    assert [to_hex(c) for c in drawn.get_facecolors()] == [figures.ID_COLORS[i] for i in ids]
    means = [a.images[0].get_array().mean() for a in figure.axes[1:]]
    assert np.allclose(means, [0.1, 0.5, 0.9])


def test_tree_diagram_has_questions_and_leaves(ax):
    tree = MetaTree(2).fit(TOY, LABELS)
    figures.tree_diagram(tree.tree_, tree.classes_, ax)
    shown = texts(ax)
    assert {"f0 ≤ 0", "f1 ≤ 1", "A  100%", "B  100%", "C  100%"} <= set(shown)
    assert len(ax.lines) == 4
    at = {text.get_text(): text.get_position() for text in ax.texts}
    assert at["f0 ≤ 0"][0] < at["f1 ≤ 1"][0] < at["C  100%"][0]
    assert at["A  100%"][1] > at["f1 ≤ 1"][1]


def test_tree_diagram_puts_images_beside_their_leaves(ax):
    tree = MetaTree(2).fit(TOY, LABELS)
    leaf = tree.tree_.leaves[0]
    figures.tree_diagram(tree.tree_, tree.classes_, ax, leaf_images={leaf: np.full((2, 2, 1), 0.5)})
    (picture,) = [a for a in ax.artists if hasattr(a, "offsetbox")]
    text = next(t for t in ax.texts if t.get_text().startswith(str(tree.classes_[tree.tree_.classes[leaf]])))
    assert picture.xy[1] == text.get_position()[1]
    assert picture.xy[0] > text.get_position()[0]


def test_id_cells_have_a_colour_for_each_number(ax):
    figures.id_cells(np.array([[0, 1], [1, 12]]), ax, rows=["f0", "f1"], columns=["x", "y"])
    cells = [[to_hex(color) for color in row] for row in ax.images[0].get_array()]
    assert cells == [
        [figures.ID_COLORS[0], figures.ID_COLORS[1]],
        [figures.ID_COLORS[1], figures.ID_COLORS[2]],
    ]
    assert texts(ax) == ["0", "1", "1", "12"]
    assert ax.texts[0].get_color() == "white"  # on dark indigo
    assert ax.texts[1].get_color() == "black"


def test_id_colors_are_ten_and_none_is_a_class_color():
    assert len(set(figures.ID_COLORS)) == 10
    assert not set(figures.ID_COLORS) & set(figures.CLASS_COLORS)


def test_block_diagram_joins_boxes(ax):
    boxes = {"a": (0, 0, "data"), "model b": (2, 1, "tree")}
    figures.block_diagram(boxes, [("a", "model b", "fit")], ax)
    assert [t.get_text() for t in ax.texts if t.get_text()] == ["data", "tree", "fit"]
    (arrow,) = [t for t in ax.texts if getattr(t, "arrow_patch", None)]
    assert (arrow.xyann, arrow.xy) == ((0, 0), (2, 1))


def test_training_diagrams_are_two_and_share_their_last_box():
    figure = figures.training_diagrams()
    above, below = figure.axes
    assert {"meta-learner", "labels", "training data"} <= set(texts(above))
    assert {"small tree", "labels", "K forests", "pixels", "targets"} <= set(texts(below))


def test_layer_stack_draws_maps_to_scale(ax):
    figures.layer_stack([("image", (8, 8, 1)), ("pool1", (4, 4, 3)), ("fc1", (16,))], ax)
    widths = [patch.get_width() for patch in ax.patches]
    assert widths[0] == 2 * widths[1] == 2 * widths[2] == 2 * widths[3]
    assert {"image", "8×8×1", "4×4×3", "16"} <= set(texts(ax))


def test_sliding_filter_marks_the_window_and_its_answer():
    image, weights = np.eye(4), np.ones((2, 2))
    figure = figures.sliding_filter(image, weights, np.arange(9).reshape(3, 3), np.ones((1, 1)), at=(1, 0))
    panels = figure.axes
    assert [panel.get_xlabel() for panel in panels][:3] == ["image", "filter", "feature map"]
    window, answer = panels[0].patches[0], panels[2].patches[0]
    assert (window.get_xy(), window.get_width()) == ((-0.5, 0.5), 2)
    assert (answer.get_xy(), answer.get_width()) == ((-0.5, 0.5), 1)


def test_tree_diagram_words_a_set_of_ids(ax):
    ids = np.array([[0], [1], [2], [3]] * 5)
    tree = MetaTree(1, splits="nominal").fit(ids, ids[:, 0] % 2)
    figures.tree_diagram(tree.tree_, tree.classes_, ax)
    assert {"f0 in\n02", "f0 in\n13"} & set(texts(ax))


EXPLANATION = Explanation(
    ids=(1, 0),
    label="B",
    prediction="C",
    classes=("A", "B", "C"),
    conditions=(Condition(0, (1, 2)), Condition(1, (0, 1))),
    remaining=np.array([[2, 3, 1], [0, 3, 1], [0, 3, 1]]),
    separation={"A": 1, "C": None},
)


def grid():
    points = [np.arange(12.0).reshape(6, 2)] * 2
    figure = figures.hypothesis_grid(EXPLANATION, points, TOY[:, :2], LABELS)
    return np.array(figure.axes).reshape(2, 2), figure


def frame_color(ax):
    return to_hex(ax.spines["left"].get_edgecolor()).upper()


def test_grid_frames_the_end_of_each_column():
    axes, figure = grid()
    assert frame_color(axes[0, 0]) == figures.SEPARATED_COLOR
    assert frame_color(axes[1, 1]) == figures.OPEN_COLOR
    assert not axes[1, 0].axison
    assert texts(axes[1, 0])[0] == "ruled out\nat depth 1"
    assert frame_color(axes[0, 1]) not in (figures.SEPARATED_COLOR, figures.OPEN_COLOR)
    assert [a.get_title() for a in axes[0]] == ["A?", "C? (predicted)"]
    assert "Label B, wrongly classified as C" in figure.get_suptitle()


def test_grid_panels_hold_the_instances_left():
    axes, _ = grid()
    of_label, of_hypothesis = (c.get_offsets() for c in axes[0, 0].collections)
    assert of_label.tolist() == [[4, 5], [6, 7], [8, 9]]
    assert len(of_hypothesis) == 0
    assert axes[0, 0].texts[0].get_text() == "0"


def test_grid_needs_a_path():
    empty = Explanation((0,), "A", "A", ("A", "B"), (), np.array([[1, 1]]), {"B": None})
    with pytest.raises(ValueError, match="no condition"):
        figures.hypothesis_grid(empty, [], TOY, LABELS)


def test_grid_marks_the_instance_the_verdict_and_the_overlap():
    points = [np.arange(12.0).reshape(6, 2)] * 2
    figure = figures.hypothesis_grid(
        EXPLANATION, points, TOY[:, :2], LABELS,
        instance=[np.array([1.0, 2.0]), np.array([3.0, 4.0])], overlaps=np.array([[0, 0.5], [0, 0.25]]),
    )  # fmt: skip
    axes = np.array(figure.axes).reshape(2, 2)
    stars = [[line.get_xydata().tolist() for line in ax.lines] for ax in axes.ravel()]
    assert stars == [[[[1, 2]]], [[[1, 2]]], [], [[[3, 4]]]]
    written = [{t.get_text() for t in ax.texts} for ax in axes.ravel()]
    assert {"✓", "0%"} <= written[0]
    assert "50%" in written[1]
    assert not {"✓", "✗"} & written[1]
    assert {"✗", "25%"} <= written[3]


def test_signed_maps_share_one_scale_about_zero():
    maps = np.array([[[0.1, -0.4], [0, 0]], [[0.2, 0.2], [0, 0]]])
    figure = figures.signed_maps(np.zeros((2, 2, 2, 1)), maps, ["a", "b"])
    below = [ax for ax in figure.axes if ax.images and ax.images[0].get_cmap().name == "RdBu_r"]
    assert [ax.images[0].get_clim() for ax in below] == [(-0.4, 0.4)] * 2
    assert below[0].images[0].get_array().tolist() == maps[0].tolist()


def test_instance_table_is_table_one():
    table = figures.instance_table([EXPLANATION], ["Wrong1"])
    assert table.loc["Wrong1"].tolist() == [1, 0, "B", "C"]
    assert table.columns.tolist() == ["f0", "f1", "label", "prediction"]


def test_separability_map_shows_shares_and_depths():
    axes = plt.subplots(1, 2)[1]
    nan = np.nan
    share, depth = np.array([[nan, 0.25], [1.0, nan]]), np.array([[nan, 3.0], [1.5, nan]])
    figures.separability_map(share, depth, ["a", "b"], axes)
    assert texts(axes[0]) == ["25%", "100%"]
    assert texts(axes[1]) == ["3.0", "1.5"]
    assert axes[0].get_xlabel() == "hypothesis"


def test_separability_map_says_never():
    axes = plt.subplots(1, 2)[1]
    nan = np.nan
    share, depth = np.array([[nan, 0.0], [1.0, nan]]), np.array([[nan, nan], [1.5, nan]])
    figures.separability_map(share, depth, ["a", "b"], axes)
    assert texts(axes[1]) == ["1.5", "–"]
    assert [len(ax.patches) for ax in axes] == [2, 2]
    assert {"share of the label's images", "depth"} <= {a.get_ylabel() for a in axes[0].figure.axes}


def test_accuracy_by_depth_has_a_line_for_each_tree(ax):
    frame = pd.DataFrame(
        {"tree": ["a", "a", "b", "b"], "depth": [1, 2, 1, 2], "accuracy": [0.1, 0.2, 0.3, 0.4]}
    )
    figures.accuracy_by_depth(frame, ax, references={"paper": 0.9})
    drawn = [line.get_ydata() for line in ax.lines if len(line.get_ydata()) == 2]
    assert [0.1, 0.2] in [list(y) for y in drawn]
    assert "paper (0.900)" in [t.get_text() for t in ax.get_legend().get_texts()]


def test_score_distributions_have_a_point_for_each_score(ax):
    frame = pd.DataFrame({"method": ["many"] * 5 + ["one"], "accuracy": np.linspace(0.5, 0.9, 6)})
    figures.score_distributions(frame, ax, references={"paper": 0.928})
    drawn = np.concatenate([c.get_offsets()[:, 0] for c in ax.collections])
    assert np.allclose(sorted(drawn), frame.accuracy)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["many", "one"]
    assert texts(ax) == ["0.50 to 0.82"]


def test_unit_profiles_sort_by_class_and_count_the_silent(ax):
    activations = np.array([[0.0, 0.0, 2.0, 0.0], [0.0, 3.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    figures.unit_profiles(activations, np.array([0, 1, 1]), ["a", "b"], ax)
    assert ax.images[0].get_array().tolist() == [[2, 0, 0, 0], [0, 2, 0, 0]]
    assert "the last 2 are never active" in ax.get_xlabel()


def test_verdict_bars_count_by_paper(ax):
    board = pd.DataFrame(
        {"source": ["A, x", "A, y", "B, z"], "verdict": ["reproduced", "not reproduced", "not run"]}
    )
    figures.verdict_bars(board, ax)
    widths = [[bar.get_width() for bar in container] for container in ax.containers]
    assert widths == [[1, 0], [1, 0], *[[0, 0]] * 3, [0, 1]]


def test_taxonomy_marks_what_the_series_has(ax):
    figures.taxonomy({"Branch": ["here*", "elsewhere"]}, ax)
    weights = {text.get_text(): text.get_weight() for text in ax.texts if text.get_text()}
    assert weights == {
        "image": "normal", "“truck”": "normal", "Branch": "bold", "here": "bold", "elsewhere": "normal",
    }  # fmt: skip


def test_classes_have_ten_different_colors():
    assert len(set(figures.CLASS_COLORS)) == 10
