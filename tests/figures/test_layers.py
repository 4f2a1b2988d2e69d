"""Drawings of paper B, by what is on the axes."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from cnninte_utils import figures
from cnninte_utils.figures.units import tiles


@pytest.fixture
def ax():
    yield plt.figure().add_subplot()
    plt.close("all")


def blocks():
    """Three units: one positive corner, one negative corner of half the size, one silent."""
    result = np.zeros((3, 4, 4, 3), np.float32)
    result[0, 0, 0], result[1, 3, 3] = 2.0, -1.0
    return result


def test_tiles_scale_by_unit_or_by_layer_with_grey_at_zero():
    by_unit, is_silent = tiles(blocks())
    assert is_silent.tolist() == [False, False, True]
    assert by_unit[0, 0, 0].tolist() == [1, 1, 1]
    assert by_unit[1, 3, 3].tolist() == [0, 0, 0]
    assert by_unit[0, 1, 1].tolist() == [0.5, 0.5, 0.5]
    by_layer, _ = tiles(blocks(), normalize="layer")
    assert by_layer[0, 0, 0, 0] == 1
    assert by_layer[1, 3, 3, 0] == 0.25
    with pytest.raises(ValueError, match="unknown normalize 'all': choose one of unit, layer"):
        tiles(blocks(), normalize="all")


def test_large_blocks_are_averaged_down():
    shrunk, _ = tiles(blocks(), normalize="layer", block_size=2)
    assert shrunk.shape == (3, 2, 2, 3)
    assert shrunk[1, 1, 1, 0] == pytest.approx(0.25)  # -1/4 against 2/4


def test_mosaic_places_blocks_in_order_and_crosses_out_the_silent(ax):
    figures.mosaic(blocks(), ax, order=[2, 1, 0], columns=2)
    canvas = ax.images[0].get_array()
    assert canvas.shape == (10, 10, 3)  # two rows and columns of 4 + 1
    assert canvas[5, 0].tolist() == [1, 1, 1]  # unit 0, third in order, starts the second row
    assert canvas[3, 8].tolist() == [0, 0, 0]  # unit 1, second, its last corner
    (line,) = ax.lines
    assert line.get_xydata().tolist() == [[0, 0], [3, 3]]  # the silent one is first


def test_mosaic_row_says_how_many_units_and_how_many_are_silent():
    figure = figures.mosaic_row(np.zeros((4, 4, 3)), {"conv1": blocks(), "conv2": blocks()[:2]})
    assert [ax.get_title() or ax.get_title("left") for ax in figure.axes][:3] == [
        "image",
        "conv1\n3 units, 1 silent here",
        "conv2\n2 units",
    ]
    plt.close(figure)


def test_signed_matrix_writes_its_numbers_on_colours_around_white(ax):
    figures.signed_matrix(np.array([[2.0, 0.0], [-1.0, 0.5]]), ax)
    assert [t.get_text() for t in ax.texts] == ["2", "0", "-1", "0.5"]
    (image,) = ax.images
    assert image.norm.vmin == -image.norm.vmax
    assert image.get_array()[0, 0] == 2


def test_large_blocks_stand_in_the_row_of_their_name_under_their_number():
    figure = figures.large_blocks({"conv1\nguided": ([0, 7], blocks()[:2]), "conv2": ([3], -blocks()[:1])})
    axes = np.array(figure.axes).reshape(2, 2)
    assert [ax.get_title() or ax.get_title("left") for ax in axes.flat] == ["unit 0", "unit 7", "unit 3", ""]
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["conv1\nguided", "conv2"]
    assert axes[0, 0].images[0].get_array()[0, 0].tolist() == [1, 1, 1]
    assert axes[0, 1].images[0].get_array()[3, 3].tolist() == [0, 0, 0]  # each by itself
    assert axes[1, 0].images[0].get_array()[0, 0].tolist() == [0, 0, 0]
    plt.close(figure)


def test_preferred_images_have_a_row_for_each_unit():
    pictures = np.random.default_rng(0).random((2, 3, 4, 4, 3))
    rows = {"u1": pictures[0], "u2": pictures[1]}
    figure = figures.preferred_images(rows, ["climbed", "", "best"])
    axes = np.array(figure.axes).reshape(2, 3)
    assert np.array_equal(axes[1, 2].images[0].get_array(), pictures[1, 2])
    assert [ax.get_title() or ax.get_title("left") for ax in axes[0]] == ["climbed", "", "best"]
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["u1", "u2"]
    plt.close(figure)


def test_strongest_images_stand_above_what_is_seen_in_them():
    pictures = np.random.default_rng(0).random((2, 3, 4, 4, 3))
    seen = np.stack([blocks(), -blocks()])
    figure = figures.strongest_images(pictures, seen, ["u1", "u2"])
    axes = np.array(figure.axes).reshape(4, 3)
    assert np.array_equal(axes[2, 1].images[0].get_array(), pictures[1, 1])
    assert axes[1, 0].images[0].get_array()[0, 0].tolist() == [1, 1, 1]
    assert axes[3, 0].images[0].get_array()[0, 0].tolist() == [0, 0, 0]
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["u1", "sees", "u2", "sees"]
    plt.close(figure)


def test_embedding_colors_are_those_of_the_classes(ax):
    figures.embedding_scatter(np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([4, 0]), ax)
    (points,) = ax.collections
    assert points.get_offsets().tolist() == [[0, 1], [2, 3]]
    expected = [plt.matplotlib.colors.to_rgba(figures.CLASS_COLORS[k]) for k in (4, 0)]
    assert [tuple(c) for c in points.get_facecolors()] == expected


def test_embedding_grid_has_a_panel_each_and_one_legend():
    points = np.random.default_rng(0).random((6, 2))
    rows = {"a": [("one", points), ("two", points)], "b": [("one", points)]}
    figure = figures.embedding_grid(rows, np.arange(6) % 3, ["x", "y", "z"])
    assert [ax.get_title("left") or ax.get_title() for ax in figure.axes] == ["one", "two", "one", ""]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["x", "y", "z"]
    plt.close(figure)


def scores():
    rows = [
        (network, depth, "2-D", seed, value + 0.1 * seed, value - 0.1, value + 0.2)
        for network, values in {"alexnet": (0.2, 0.3), "vgg19": (0.2, 0.6)}.items()
        for depth, value in enumerate(values, start=1)
        for seed in (0, 1)
    ]
    return pd.DataFrame(rows, columns=["network", "depth", "space", "seed", "nh", "low", "high"])


def test_hit_by_depth_averages_seeds_beside_the_papers_points(ax):
    figures.hit_by_depth(scores(), ax, paper={"vgg19": [0.22, 0.24]}, chance=0.1)
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["vgg19, here"].get_ydata().tolist() == pytest.approx([0.25, 0.65])
    assert lines["vgg19, paper"].get_xydata().tolist() == [[1, 0.22], [2, 0.24]]
    assert lines["chance (0.10)"].get_ydata()[0] == 0.1
    assert lines["vgg19, here"].get_color() == lines["vgg19, paper"].get_color()


def test_differences_have_their_intervals(ax):
    frame = pd.DataFrame({"depth": [1, 2], "difference": [0.0, 0.3], "low": [-0.1, 0.2], "high": [0.1, 0.5]})
    figures.difference_by_depth(frame, ax)
    bars = ax.containers[0][2][0].get_segments()
    assert [segment[:, 1].tolist() for segment in bars] == [[-0.1, 0.1], [0.2, 0.5]]


def test_prices_stand_in_the_row_of_their_slip_with_their_intervals(ax):
    rows = [("pixels", "alexnet", 5.0, 3.0, 8.0), ("pixels", "vgg19", 2.0, 1.0, 3.0)]
    rows += [("dropout", "vgg19", 0.5, -0.5, 1.0)]
    frame = pd.DataFrame(rows, columns=["slip", "network", "price", "low", "high"])
    figures.price_intervals(frame, ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["pixels", "dropout"]
    alexnet, vgg19 = ax.containers
    assert alexnet.lines[0].get_xdata().tolist() == [5.0]
    assert vgg19.lines[0].get_xydata().tolist() == [[2.0, 0.12], [0.5, 1.12]]
    bars = vgg19.lines[2][0].get_segments()
    assert [segment[:, 0].tolist() for segment in bars] == [[1.0, 3.0], [-0.5, 1.0]]
    assert ax.get_ylim() == (1.5, -0.5)  # the first row on top


def test_differences_of_each_measure_stand_beside_each_other_at_their_epoch(ax):
    rows = [(1, "hit", 0.1, 0.0, 0.2), (1, "accuracy", -0.1, -0.3, 0.1), (5, "hit", 0.2, 0.1, 0.3)]
    frame = pd.DataFrame(rows, columns=["epoch", "measure", "difference", "low", "high"])
    figures.difference_by_epoch(frame, ax)
    hit, accuracy = ax.containers
    np.testing.assert_allclose(hit.lines[0].get_xydata(), [[-0.08, 0.1], [0.92, 0.2]])
    np.testing.assert_allclose(accuracy.lines[0].get_xydata(), [[0.08, -0.1]])
    assert [s[:, 1].tolist() for s in accuracy.lines[2][0].get_segments()] == [[-0.3, 0.1]]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "5"]


def test_neighbor_links_lead_to_the_nearest_and_tell_kinds_apart(ax):
    points = np.array([[0.0, 0.0], [1.0, 0.0], [3.0, 0.0]])
    figures.neighbor_links(points, np.array([0, 0, 1]), ax, n_neighbors=1)
    links = [(tuple(t.xyann), tuple(t.xy), t.arrow_patch.get_linestyle()) for t in ax.texts]
    assert links == [((0, 0), (1, 0), "-"), ((1, 0), (0, 0), "-"), ((3, 0), (1, 0), "--")]
    assert [line.get_marker() for line in ax.lines] == ["o", "x"]
    assert ax.get_aspect() == 1


def test_similarity_by_layer_has_its_baseline(ax):
    frame = pd.DataFrame(
        {"n_randomized": [0, 1], "similarity": [1.0, 0.4], "rule": "guided", "direction": "top down"}
    )
    figures.similarity_by_layer(frame, ax, baseline=0.3)
    assert [1.0, 0.4] in [list(line.get_ydata()) for line in ax.lines]
    assert any(line.get_label() == "two units of one network (0.30)" for line in ax.lines)


def test_image_grid_titles_what_there_is_and_hides_the_rest():
    figure = figures.image_grid(np.zeros((3, 4, 4, 3)), ["a", "b", "c"], columns=2)
    assert [ax.get_title() for ax in figure.axes if ax.axison] == ["a", "b", "c"]
    plt.close(figure)
