"""Drawings of tests of maps, by what is on the axes, and the explorer without a browser."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex

from cnninte_utils import figures
from cnninte_utils.figures import evaluation, explorer
from cnninte_utils.figures.common import OPEN_COLOR, SEPARATED_COLOR


@pytest.fixture
def ax():
    yield plt.figure().add_subplot()
    plt.close("all")


def masks():
    found = np.zeros((2, 8, 8), bool)
    found[0, 1:4, 1:4], found[1, 5:7, 4:7] = True, True
    return found


def titles(figure):
    return [ax.get_title("center").replace("\n", " ") for ax in figure.axes if ax.get_title("center")]


def test_heat_is_dark_where_there_is_none_and_single_pixels_do_not_set_its_scale(ax):
    heat = np.full((20, 20), 0.5)
    heat[0, 0] = 100
    evaluation.heat_map(heat, ax, [heat > 1])
    assert (ax.images[0].norm.vmin, ax.images[0].norm.vmax) == (0, 0.5)
    assert len(ax.collections) == 1
    evaluation.heat_map(np.zeros((20, 20)), ax)
    assert ax.images[-1].norm.vmax > 0


def test_a_class_swap_has_a_row_for_each_class_and_outlines_what_is_asked_about():
    heats = {"guided": np.random.default_rng(0).random((2, 8, 8)), "Grad-CAM": np.ones((2, 8, 8))}
    figure = figures.class_swap(np.zeros((8, 8, 3)), masks(), ["cup", "car"], heats)
    assert titles(figure) == ["scene", "guided", "Grad-CAM"]
    assert [ax.get_ylabel() for ax in figure.axes if ax.get_ylabel()] == ["“cup”?", "“car”?"]
    np.testing.assert_array_equal(figure.axes[4].images[0].get_array(), heats["guided"][1])
    first, second = figure.axes[1].collections[0], figure.axes[4].collections[-1]
    assert to_hex(first.get_edgecolor()[0]) == evaluation.OUTLINES[0]
    assert to_hex(second.get_edgecolor()[0]) == evaluation.OUTLINES[1]
    plt.close("all")


def test_every_method_is_there_once_and_empty_places_are():
    heats = {f"method {k}": np.full((8, 8), k + 1.0) for k in range(6)}
    figure = figures.every_method(np.zeros((8, 8, 3)), heats, masks(), columns=4)
    assert titles(figure) == ["picture", *heats]
    assert [ax.axison for ax in figure.axes] == [True] * 7 + [False]
    plt.close("all")


def test_cascades_are_means_with_the_floor_dotted(ax):
    steps = {(): np.ones(3), ("fc",): np.array([0.2, 0.4, 0.6]), ("fc", "conv"): np.array([0.1, 0.1, np.nan])}
    figures.cascade_curves({"gradient": steps, "guided": steps}, {"gradient": 0.3}, ax)
    curve, floor = ax.lines[:2]
    np.testing.assert_allclose(curve.get_ydata(), [1, 0.4, 0.1])
    assert floor.get_linestyle() == ":"
    assert list(floor.get_ydata()) == [0.3, 0.3]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["none", "+ fc", "+ conv"]
    assert len(ax.lines) == 3


def test_the_matrix_is_white_at_zero_and_has_its_numbers_written_in(ax):
    figures.similarity_matrix(np.array([[1, -0.25], [-0.25, 1]]), ["one", "two"], ax)
    assert (ax.images[0].norm.vmin, ax.images[0].norm.vmax) == (-1, 1)
    assert [t.get_text() for t in ax.texts] == ["1.00", "-0.25", "-0.25", "1.00"]
    assert [t.get_color() for t in ax.texts] == ["white", "black", "black", "white"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["one", "two"]


def test_rankings_have_the_best_on_top_and_a_line_for_each_method(ax):
    left = {"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0}
    figures.two_rankings(left, {"a": 0.1, "b": 0.4, "c": 0.3, "d": 0.2}, ax, titles=("left", "right"))
    lines = {line.get_ydata()[0]: (line.get_ydata()[1], line.get_color()) for line in ax.lines}
    assert lines == {
        0: (3, OPEN_COLOR), 1: (0, SEPARATED_COLOR), 2: (1, SEPARATED_COLOR), 3: (2, SEPARATED_COLOR)
    }  # fmt: skip
    assert {"1  a", "1  b", "4  a", "left", "right"} <= {t.get_text() for t in ax.texts}


def test_rows_of_pictures_stand_below_one_another_with_their_notes():
    images = np.random.default_rng(0).random((2, 8, 8, 3))
    rows = {"picture": images, "conv1": images / 2, "mask": images[..., :1]}
    figure = figures.picture_rows(rows, {"conv1": ["a half", "two"]})
    assert titles(figure) == ["a half", "two"]
    assert [ax.get_ylabel() for ax in figure.axes if ax.get_ylabel()] == ["picture", "conv1", "mask"]
    np.testing.assert_array_equal(figure.axes[3].images[0].get_array(), images[1] / 2)
    plt.close("all")


def test_methods_are_ranked_by_their_mean_with_intervals_and_hollow_baselines():
    _, ax = plt.subplots()
    found = {"one": (0.5, 0.4, 0.7), "centre": (0.9, 0.8, 0.95), "two": (0.6, 0.55, 0.65)}
    figures.method_intervals(found, ax, "share", ["centre"])
    assert ax.get_xlabel() == "share"
    assert [t.get_text() for t in ax.get_yticklabels()] == ["centre", "two", "one"]
    marks = [bar.lines[0] for bar in ax.containers]
    assert [mark.get_xdata()[0] for mark in marks] == [0.9, 0.6, 0.5]
    assert [mark.get_markerfacecolor() == "white" for mark in marks] == [True, False, False]
    ends = ax.containers[2].lines[2][0].get_segments()[0][:, 0]
    np.testing.assert_allclose(ends, [0.4, 0.7])
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the best on top
    plt.close("all")


@pytest.fixture
def chooser():
    rng = np.random.default_rng(0)
    heats = {"guided": rng.random((3, 2, 8, 8)), "Grad-CAM": rng.random((3, 2, 8, 8))}
    names = [["cup", "car"], ["tree", "cup"], ["star", "car"]]
    yield figures.Explorer(rng.random((3, 8, 8, 3)), names, heats), heats
    plt.close("all")


def test_each_choice_draws_another_picture_and_names_its_classes(chooser):
    found, _ = chooser
    seen = [bytes(found.shown.value)]
    assert seen[0].startswith(b"\x89PNG")
    found.method.value = "Grad-CAM"
    seen.append(bytes(found.shown.value))
    found.target.value = 1
    seen.append(bytes(found.shown.value))
    found.picture.value = 1
    seen.append(bytes(found.shown.value))
    assert len(set(seen)) == 4
    assert found.target.options == (("tree", 0), ("cup", 1))
    assert found.target.value == 1
    assert not plt.get_fignums()


def test_what_is_drawn_is_the_map_that_was_chosen(chooser):
    found, heats = chooser
    figure = found.figure(2, "guided", 1)
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), heats["guided"][2, 1])
    assert figure.axes[1].get_title("center") == "guided: “car”?"


def test_without_a_front_end_there_is_a_grid_of_everything(chooser, monkeypatch):
    found, heats = chooser
    assert not explorer.is_live()
    figure = found.show()
    assert len(figure.axes) == 3 * 2 * 3
    assert titles(figure)[:3] == ["picture", "guided", "Grad-CAM"]
    np.testing.assert_array_equal(figure.axes[4].images[0].get_array(), heats["guided"][0, 1])
    assert len(found.grid(1).axes) == 6


def test_with_one_the_choices_are_shown_too_but_not_while_a_runner_executes(chooser, monkeypatch):
    found, _ = chooser
    shown = []
    monkeypatch.setattr(explorer, "display", shown.append)
    monkeypatch.setattr(explorer, "get_ipython", lambda: type("Shell", (), {"kernel": 1})())
    monkeypatch.delenv("CNNINTE_RUN_DIR", raising=False)
    found.show()
    assert shown == [found.panel]
    monkeypatch.setenv("CNNINTE_RUN_DIR", "runs")
    found.show()
    assert len(shown) == 1


def test_maps_that_do_not_fit_are_refused():
    images = np.zeros((2, 8, 8, 3))
    with pytest.raises(ValueError, match=r"got \(2, 1, 8, 8\) of guided"):
        figures.Explorer(images, [["a", "b"]] * 2, {"guided": np.zeros((2, 1, 8, 8))})
    with pytest.raises(ValueError, match="heats"):
        figures.Explorer(images, [["a", "b"]] * 2, {})
