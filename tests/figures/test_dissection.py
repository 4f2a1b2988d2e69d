"""Drawings of paper C, by what is on the axes."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb

from cnninte_utils import figures
from cnninte_utils.figures import dissection as dissection_drawings
from cnninte_utils.figures import group_norms as drawings
from cnninte_utils.figures.group_norms import penalty_colors


@pytest.fixture
def ax():
    yield plt.figure().add_subplot()
    plt.close("all")


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def widths(ax):
    return [bar.get_width() for bar in ax.patches]


# groups


def test_penalties_keep_their_colors_and_others_get_spare_ones():
    colors = penalty_colors(["weight decay", "mine", "block_norm", "theirs"])
    assert colors["weight decay"] == figures.PENALTY_COLORS["weight_decay"]
    assert colors["block_norm"] == figures.PENALTY_COLORS["block_norm"]
    assert len(set(colors.values())) == 4


def test_unit_ball_of_the_l1_norm_is_a_diamond(ax):
    figures.unit_ball(lambda w: np.abs(w).sum(axis=1), ax)
    filled, outline = ax.collections
    assert filled.get_paths()[0].contains_point((0.45, 0.45))
    assert not filled.get_paths()[0].contains_point((0.55, 0.55))
    assert np.abs(outline.get_paths()[0].vertices).sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert ax.get_aspect() == 1


def test_filters_share_one_scale_with_zero_at_grey():
    kernel = np.zeros((2, 2, 3, 5))
    kernel[0, 0, :, 0], kernel[0, 0, :, 3] = 4.0, -1.0
    figure = figures.filters_by_group(kernel, [slice(0, 3), slice(3, 5)])
    first, second = (ax.images[0].get_array() for ax in figure.axes)
    assert first.shape == second.shape == (2, 8, 3)  # three filters of 2 and white between
    assert first[0, 0].tolist() == [1, 1, 1]
    assert first[1, 1].tolist() == [0.5, 0.5, 0.5]
    assert second[0, 0].tolist() == [0.375, 0.375, 0.375]  # a quarter of the largest
    assert [ax.get_ylabel() for ax in figure.axes] == ["group 1: strength 6.93", "group 2: strength 1.73"]


def test_large_groups_of_filters_take_several_lines():
    figure = figures.filters_by_group(np.zeros((2, 2, 3, 5)), [slice(0, 5)], columns=2)
    assert figure.axes[0].images[0].get_array().shape == (8, 5, 3)


def test_norm_ball_has_its_tips_and_edge_and_a_sphere_that_reaches_the_touching_point():
    optimum, touch = np.array([1.2, 0.9, 0.4]), np.array([0.8, 0.6, 0.0])
    figure = drawings.norm_balls({"w₃ is zero": optimum}, {"w₃ is zero": touch})
    (ax,) = figure.axes
    assert ax.get_title() == "(0.8, 0.6, 0.0): w₃ is zero"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "least loss",
        "least loss within the solid",
    ]
    rim, way = (np.array(line.get_data_3d()).T for line in ax.lines)
    assert np.hypot(rim[:, 0], rim[:, 1]) == pytest.approx(np.ones(len(rim)))
    assert not rim[:, 2].any()
    assert way.tolist() == [optimum.tolist(), touch.tolist()]
    surface, sphere = ax.collections[:2]
    corners = surface._faces.reshape(-1, 3)  # the only place where Matplotlib keeps them
    assert np.hypot(corners[:, 0], corners[:, 1]) + np.abs(corners[:, 2]) == pytest.approx(
        np.ones(len(corners))
    )
    radii = np.linalg.norm(np.concatenate(sphere._segments3d) - optimum, axis=1)
    assert radii == pytest.approx(np.full(len(radii), np.linalg.norm(optimum - touch)))


def test_the_idea_colours_only_active_groups(ax):
    drawings.training_idea(ax, n_groups=3, active=(0, 2), size=2)
    circles = [patch for patch in ax.patches if isinstance(patch, plt.Circle)]
    assert len(circles) == 4
    assert len({to_hex(circle.get_facecolor()) for circle in circles}) == 2
    said = [text.get_text() for text in ax.texts]
    assert [said.count(word) for word in ("active", "off")] == [2, 1]
    assert sum("term" in words or "norm" in words for words in said) == 3


def test_strength_paths_end_where_a_group_is_zero():
    paths = {
        "by gradient": np.array([[2.0, 1.0], [2.0, 0.1]]),
        "by proximal step": np.array([[2.0, 1.0], [2.0, 0]]),
    }
    figure = drawings.strength_paths(paths, ["needed", "not"])
    first, second = figure.axes
    assert [ax.get_title() for ax in figure.axes] == list(paths)
    assert first.lines[1].get_ydata().tolist() == [1.0, 0.1]
    assert np.isnan(second.lines[1].get_ydata()[1])
    assert second.get_yscale() == "log"
    assert legend(second) == ["needed", "not"]


def test_validation_curves_have_a_line_and_a_marker_for_each_network(ax):
    histories = {
        "weight_decay": {"step": [5, 10], "val_accuracy": [0.1, 0.4]},
        "proximal": {"step": [5, 10], "val_accuracy": [0.2, 0.3]},
    }
    drawings.validation_curves(histories, ax)
    assert legend(ax) == ["weight decay", "proximal"]
    assert ax.lines[0].get_xydata().tolist() == [[5, 0.1], [10, 0.4]]
    assert ax.lines[0].get_marker() != ax.lines[1].get_marker()
    assert ax.lines[1].get_color() == figures.PENALTY_COLORS["proximal"]


def test_strengths_by_layer_are_dots_above_the_reach(ax):
    strengths = {
        "weight_decay": {"conv1": np.array([1.0, 2.0]), "conv2": np.array([3.0, 4.0])},
        "proximal": {"conv1": np.array([0.0, 2.5]), "conv2": np.array([3.5, 4.5])},
    }
    drawings.strengths_by_layer(strengths, ax, reach=0.5)
    decay, proximal = (dots.get_offsets() for dots in ax.collections[:2])
    assert decay[:, 1].tolist() == [1, 2, 3, 4]
    assert proximal[:, 1].tolist() == [0, 2.5, 3.5, 4.5]
    assert np.round(proximal[:, 0]).tolist() == [0, 0, 1, 1]
    assert (decay[:, 0] < proximal[:, 0]).all()
    assert ticks(ax.xaxis) == ["conv1", "conv2"]
    assert ax.patches[0].get_extents().transformed(ax.transData.inverted()).y1 == pytest.approx(0.5)
    assert legend(ax) == ["weight decay", "proximal", "within the penalty's reach"]


def test_shrinking_path_has_accuracies_with_intervals_above_living_groups():
    path = pd.DataFrame(
        {"accuracy": [0.9, 0.5], "low": [0.8, 0.4], "high": [0.95, 0.6], "conv1": [5, 2], "conv2": [4, 0]},
        index=pd.Index([0.01, 0.1], name="λ"),
    )
    above, below = drawings.shrinking_path(path, chosen=0.01, chance=0.25).axes
    (bars,) = above.containers
    assert bars.lines[0].get_xydata().tolist() == [[0.01, 0.9], [0.1, 0.5]]
    ends = np.array(bars.lines[2][0].get_segments())[:, :, 1]
    assert ends == pytest.approx(np.array([[0.8, 0.95], [0.4, 0.6]]))
    assert [np.round(line.get_ydata()).tolist() for line in below.lines[:2]] == [[5, 2], [4, 0]]
    assert legend(below) == ["conv1", "conv2", "chosen: λ = 0.01"]
    assert below.lines[-1].get_xdata() == [0.01, 0.01]
    assert (below.get_xscale(), below.get_ylabel()) == ("log", "living groups")
    assert [text.get_text() for text in above.texts] == ["chance"]


def test_penalties_by_factor_have_accuracy_above_counts_and_ring_what_was_chosen():
    rows = [
        ("alexnet", "weight_decay", 0, 0.2, 10), ("alexnet", "weight_decay", 10, 0.4, 12),
        ("alexnet", "block_norm", 0, 0.2, 10), ("alexnet", "block_norm", 10, 0.1, 7),
        ("resnet", "weight_decay", 0, 0.3, 20), ("resnet", "block_norm", 0, 0.3, 21),
    ]  # fmt: skip
    tried = pd.DataFrame(rows, columns=["network", "penalty", "factor", "accuracy", "detectors"])
    tried = tried.assign(low=tried["accuracy"] - 0.05, high=tried["accuracy"] + 0.1)
    chosen = {("alexnet", "weight_decay"): 10, ("alexnet", "block_norm"): 0}
    chosen |= {("resnet", kind): 0 for kind in ("weight_decay", "block_norm")}
    left, right, counts, more_counts = drawings.penalties_by_factor(tried, chosen, chance=0.05).axes
    assert [ax.get_title() for ax in (left, right)] == ["AlexNet", "resnet"]
    decay, block = left.containers
    assert [decay.lines[0].get_ydata().tolist(), block.lines[0].get_ydata().tolist()] == [
        [0.2, 0.4],
        [0.2, 0.1],
    ]
    ends = np.array(decay.lines[2][0].get_segments())[:, :, 1]
    assert ends == pytest.approx(np.array([[0.15, 0.3], [0.35, 0.5]]))
    assert [line.get_ydata().tolist() for line in counts.lines] == [[10, 12], [10, 7]]
    assert [np.round(line.get_xdata()).tolist() for line in counts.lines] == [[0, 1], [0, 1]]
    rings = [ring.get_offsets()[0].tolist() for ring in counts.collections]
    assert np.round(rings).tolist() == [[1, 12], [0, 10]]
    assert [line.get_ydata().tolist() for line in more_counts.lines] == [[20], [21]]
    assert ticks(counts.xaxis) == ["0", "10"]
    assert legend(counts) == ["weight decay", "block norm"]
    assert [text.get_text() for text in counts.texts] == ["10", "12", "10", "7"]
    assert [text.get_text() for text in left.texts] == ["chance"]
    assert left.lines[-1].get_ydata() == [0.05, 0.05]
    assert counts.get_ylim()[1] > 21


def test_group_maps_share_one_scale_beside_the_image():
    masks = {"without": np.zeros((2, 2, 3)), "with": np.full((2, 2, 3), 0.25)}
    masks["with"][0, 0, 2] = 1
    figure = drawings.group_maps(np.ones((4, 4, 3)), masks)
    axes = np.array(figure.axes[:8]).reshape(2, 4)
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["without", "with"]
    assert [ax.get_title() for ax in axes[0]] == ["", "filter 1", "filter 2", "filter 3"]
    assert axes[1, 3].images[0].get_array().tolist() == [[1, 0.25], [0.25, 0.25]]
    assert {image.get_clim() for ax in axes[:, 1:].flat for image in ax.images} == {(0, 1)}
    assert figure.axes[-1].get_ylabel() == "soft mask ψ"


# what is marked in images


def test_annotated_images_name_the_largest_labels_and_leave_zero_white():
    names = ["-", "grass", "sky", "tree", "wheel", "red-c", "white-c"]
    many = np.array([[1, 1, 1, 2], [2, 3, 3, 3], [3, 4, 0, 0]])
    overlays = [
        {"object": many, "color": np.array([[5, 6]])},
        {"object": np.array([[1, 0]])},
    ]
    figure = figures.annotated_images(np.zeros((2, 4, 4, 3)), overlays, names)
    axes = np.array(figure.axes).reshape(3, 2)
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["image", "object", "color"]
    assert legend(axes[1, 0]) == ["tree", "grass", "sky"]  # 4, 3 and 2 pixels
    picture, other = axes[1, 0].images[0].get_array(), axes[1, 1].images[0].get_array()
    assert picture[2, 2].tolist() == [1, 1, 1]
    assert picture[0, 0].tolist() == other[0, 0].tolist()  # grass
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 5
    swatch = axes[1, 0].get_legend().get_patches()[1].get_facecolor()
    assert swatch[:3] == tuple(picture[0, 0])
    colors = axes[2, 0].images[0].get_array()
    assert colors[0, 0].tolist() == [1, 0, 0]
    assert 0.9 < colors[0, 1, 0] < 1  # not that of no label
    assert [text.get_text() for text in axes[2, 1].texts] == ["none"]
    assert axes[2, 1].get_legend() is None


def test_unit_rows_darken_what_is_outside_the_mask():
    images = np.ones((2, 2, 4, 4, 3))
    images[1, 1] = 0.5
    masks = np.zeros((2, 2, 2, 2), bool)
    masks[0, 0, 0, 0] = masks[1, 1, 1, 1] = True
    figure = figures.unit_rows(images, masks, ["unit 0: grass (0.11)", "unit 1: sky (0.05)"])
    first, second = figure.axes
    strip = first.images[0].get_array()
    assert strip.shape == (4, 9, 3)  # two images and a white column
    assert (strip[:2, :2] == 1).all()
    dark = strip[2:, :4]
    assert dark.max() < 0.5
    assert (strip[:, 4] == 1).all()
    assert (strip[:, 5:] == dark[0, 0]).all()
    strip = second.images[0].get_array()
    assert (strip[2:, 7:] == 0.5).all()
    assert (strip[:2, 5:] < 0.25).all()
    assert first.get_title("left") == "unit 0: grass (0.11)"


def test_masks_are_outlined_in_yellow_up_to_the_edge_and_empty_ones_are_not():
    masks = np.zeros((2, 1, 4, 4), bool)
    masks[0, 0, :2, :2] = True
    figure = figures.unit_rows(np.ones((2, 1, 4, 4, 3)), masks, ["a", "b"])
    (outline,) = figure.axes[0].collections
    assert to_hex(outline.get_edgecolor()[0]) == to_hex("yellow")
    vertices = outline.get_paths()[0].vertices
    assert vertices.min(axis=0).tolist() == [-0.5, -0.5]
    assert vertices.max(axis=0).tolist() == [1.5, 1.5]
    assert figure.axes[0].axis() == (-0.5, 3.5, 3.5, -0.5)
    assert not figure.axes[1].collections


# detectors


def units(*rows):
    return pd.DataFrame(
        [(i, *row) for i, row in enumerate(rows)],
        columns=["unit", "category", "concept", "iou", "is_detector"],
    )


def counts():
    return pd.DataFrame(
        [[9, 4, 0], [20, 7, 1]],
        index=pd.Index([0.005, 0.01], name="quantile"),
        columns=pd.Index([0.02, 0.04, 0.1], name="iou_threshold"),
    )


def test_count_map_frames_the_marked_cell(ax):
    figures.count_map(counts(), ax, mark=(0.005, 0.04))
    assert [text.get_text() for text in ax.texts] == ["9", "4", "0", "20", "7", "1"]
    assert ticks(ax.xaxis) == ["0.02", "0.04", "0.1"]
    assert ticks(ax.yaxis) == ["0.005", "0.01"]
    (frame,) = ax.patches
    assert frame.get_bbox().bounds == (0.5, -0.5, 1, 1)
    assert not frame.get_fill()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("IoU threshold", "top quantile")


def test_count_map_knows_which_cells_there_are(ax):
    assert not figures.count_map(counts(), ax).patches
    with pytest.raises(ValueError, match=r"no quantile 0\.2 in the table: it has 0\.005, 0\.01"):
        figures.count_map(counts(), ax, mark=(0.2, 0.04))


def test_iou_bars_are_the_highest_with_the_threshold(ax):
    figures.iou_bars(["-", "dog", "cat", "sky"], np.array([0, 0.03, 0.2, 0.05]), ax, n=3)
    assert ticks(ax.yaxis) == ["cat", "sky", "dog"]
    assert widths(ax) == [0.2, 0.05, 0.03]
    assert ax.lines[0].get_xdata() == [0.04, 0.04]
    assert ax.lines[0].get_linestyle() == "--"
    cat, sky, dog = (to_hex(bar.get_facecolor()) for bar in ax.patches)
    assert cat == sky != dog
    assert ax.get_xlabel() == "IoU (dashed: threshold 0.04)"


def test_iou_bars_keep_the_threshold_in_sight(ax):
    figures.iou_bars(["a"], np.array([0.01]), ax)
    assert ax.get_xlim()[1] > 0.04


def test_unit_page_has_images_reconstructions_and_bars():
    masks = np.zeros((2, 2, 2), bool)
    masks[0] = True
    seen = np.zeros((2, 4, 4, 3))
    seen[:, 0, 0] = 2.0
    seen[:, 3, 3] = -2.0
    figure = figures.unit_page(
        np.ones((2, 4, 4, 3)), masks, seen, ["-", "dog"], np.array([0, 0.3]), "A unit", threshold=0.1
    )
    images, reconstructions, bars = figure.axes
    strip = images.images[0].get_array()
    assert (strip[:, :4] == 1).all()
    assert (strip[:, 5:] < 0.5).all()
    strip = reconstructions.images[0].get_array()
    assert strip.shape == (4, 9, 3)
    assert [strip[i, i].tolist() for i in (0, 1, 3)] == [[1] * 3, [0.5] * 3, [0] * 3]
    assert ticks(bars.yaxis) == ["dog", "-"]
    assert bars.lines[0].get_xdata() == [0.1, 0.1]
    assert figure.get_suptitle() == "A unit"


def test_iou_bound_is_mask_by_label_and_names_the_highest(ax):
    concepts = pd.DataFrame(
        {
            "concept": ["sky", "red-c", "wheel"],
            "category": ["object", "color", "part"],
            "share": [0.4, 0.1, 0.001],
            "iou": [0.01, 0.06, 0.2],
        }
    )
    dissection_drawings.iou_bound(concepts, ax, mask_share=0.01, threshold=0.05, n_named=2)
    bound = ax.lines[0]
    assert np.interp(0.1, *bound.get_data()) == pytest.approx(0.1, rel=0.01)
    assert bound.get_ydata()[0] == 1  # of what is smaller than the mask
    assert bound.get_ydata()[-1] == pytest.approx(0.01)
    assert list(ax.lines[1].get_ydata()) == [0.05, 0.05]
    assert [text.get_text() for text in ax.texts] == ["wheel", "red-c"]
    assert legend(ax) == ["color", "object", "part", "largest mask / label", "detector from 0.05"]
    color = ax.collections[0]
    assert color.get_offsets().tolist() == [[0.1, 0.06]]
    assert ax.get_xscale() == "log"


def test_counts_and_nulls_show_every_draw(ax):
    counts = pd.DataFrame(
        [
            ("a", "detectors", 9), ("a", "rotated", 4), ("a", "rotated", 8), ("a", "permuted", 1),
            ("b", "detectors", 3), ("b", "detectors", 5), ("b", "rotated", 2), ("b", "permuted", 0),
        ],
        columns=["row", "kind", "detectors"],
    )  # fmt: skip
    dissection_drawings.counts_and_nulls(counts, ax)
    rotated, permuted, own = ax.collections[:3]
    assert rotated.get_offsets()[:, 0].tolist() == [4, 8]
    assert permuted.get_offsets()[:, 0].tolist() == [1]
    assert own.get_offsets().tolist() == [[9, 0]]
    assert len({offsets[0, 1] for offsets in (rotated.get_offsets(), permuted.get_offsets())}) == 2
    assert list(ax.lines[0].get_xdata()) == [6, 6]
    assert ax.collections[5].get_offsets().tolist() == [[3, 1], [5, 1]]
    assert ticks(ax.yaxis) == ["a", "b"]
    assert legend(ax) == ["rotated, each draw", "permuted, each draw", "the network's own units"]


def test_categories_and_penalties_have_distinct_colors():
    for colors, n in ((figures.CATEGORY_COLORS, 6), (figures.PENALTY_COLORS, 4)):
        assert len({to_rgb(color) for color in colors.values()}) == n
