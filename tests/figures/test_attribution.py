"""Drawings of attributions, by what is on the axes."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from cnninte_utils import figures
from cnninte_utils.figures.common import OPEN_COLOR, SEPARATED_COLOR
from cnninte_utils.papers.survey_table import SURVEY


@pytest.fixture
def ax():
    yield plt.figure().add_subplot()
    plt.close("all")


def test_two_shares_are_bars_their_sum_a_dot_and_totals_lines(ax):
    figures.two_shares({"LRP": (4, -2), "IG": (4.5, -6.5)}, ax, totals={"f(x)": 2, "f(0)": 4})
    assert sorted(bar.get_width() for bar in ax.patches) == [-6.5, -2, 4, 4.5]
    dots, first, second, _ = ax.lines
    assert dots.get_xdata().tolist() == [2, -2]
    assert (first.get_xdata()[0], second.get_xdata()[0]) == (2, 4)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["LRP", "IG"]


def test_a_signed_map_is_white_at_zero_and_single_pixels_do_not_set_its_scale(ax):
    values = np.full((20, 20), 0.5)
    values[0, 0], values[3, 3] = 100, -0.5
    figures.signed_map(values, np.zeros((20, 20, 3)), ax)
    (image,) = ax.images
    assert image.norm.vmin == -image.norm.vmax
    assert image.norm.vmax == 0.5
    figures.signed_map(np.zeros((20, 20)), np.zeros((20, 20, 1)), ax)
    assert ax.images[-1].norm.vmax == 1


def test_a_rule_grid_has_the_image_first_and_adds_channels_up():
    image, maps = np.zeros((4, 4, 3)), {f"rule {k}": np.full((4, 4, 3), k - 2.0) for k in range(4)}
    figure = figures.rule_grid(image, maps, columns=3)
    titles = [ax.get_title(loc) for ax in figure.axes for loc in ("left", "center") if ax.get_title(loc)]
    assert titles == ["image", "rule 0", "rule 1", "rule 2", "rule 3"]
    assert (figure.axes[1].images[0].get_array() == -6).all()
    assert not figure.axes[5].axison
    plt.close("all")


def test_what_is_kept_is_the_median_of_the_images_layer_by_layer(ax):
    kept = {"absorb": {"fc2": np.array([1.0, 1, 1]), "pixels": np.array([0.2, 0.5, 0.9])}}
    figures.kept_by_layer(kept, ax)
    assert ax.lines[0].get_ydata().tolist() == [1, 0.5]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["fc2", "pixels"]


def test_residuals_fall_along_logarithmic_axes(ax):
    figures.residual_by_steps(
        {"digits": {4: np.array([0.1, 0.3]), 16: np.array([0.01, 0.03])}}, ax, limit=0.05
    )
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[4, 0.2], [16, 0.02]])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["4", "16"]
    assert ax.get_legend().get_texts()[1].get_text() == "5%"


def measured(names):
    row = {
        "fit_seconds": 0.0,
        "ms": 3.0,
        "forward": 2.0,
        "backward": 1.0,
        "near_fit": 0.7,
        "on_predict": False,
    }
    return pd.DataFrame([row] * len(names), index=names)


def test_the_table_says_what_was_measured_and_whether_the_survey_says_so_too():
    names = ["DeepLIFT", "Integrated gradients", "occlusion"]
    words = pd.DataFrame([["no", "high", "yes", "no"]] * 3, index=names, columns=SURVEY.columns)
    figure = figures.comparison_table(measured(names), words, SURVEY)
    texts = {t.get_text(): t.get_color() for t in figure.axes[0].texts}
    assert "3 (3 ms)" in texts
    assert "0.70" in texts
    assert texts["survey: no ✓"] == SEPARATED_COLOR
    assert texts["survey: yes ✗"] == OPEN_COLOR  # integrated gradients are not for black boxes
    told = [t.get_text() for t in figure.axes[0].texts]
    assert sum(t.startswith("survey") for t in told) == 8  # the survey has no occlusion
    plt.close("all")


def test_what_is_said_of_selected_patches_is_green_where_it_is_true():
    images = np.zeros((2, 4, 4, 1))
    answers = {"guesser": ["3", "5"], "network": ["8", "5"]}
    figure = figures.selected_patches(images, images, answers, ["3", "5"])
    said = [(t.get_text(), to_rgba(t.get_color())) for ax in figure.axes for t in ax.texts][:2]
    assert said == [("3", to_rgba(SEPARATED_COLOR)), ("8", to_rgba(OPEN_COLOR))]
    names = [t.get_text() for ax in figure.axes for t in ax.texts]
    assert {"guesser", "network"} <= set(names)
    plt.close("all")


def test_reasons_are_frames_about_the_bars_of_what_is_selected():
    figure, axes = plt.subplots(1, 2)
    trials = {
        "XOR": SimpleNamespace(selected=np.array([1.0, 0.9, 0.1]), reasons=np.array([1.0, 1, 0])),
        "switch": SimpleNamespace(selected=np.array([0.5, 0.5, 1]), reasons=np.array([0.5, 0.5, 1])),
    }
    figures.reasons_found(trials, axes)
    heights = [bar.get_height() for bar in axes[0].patches]
    assert heights == [1.0, 0.9, 0.1, 1, 1, 0]
    assert axes[1].get_title("left") or axes[1].get_title() == "switch"
    assert figure is axes[0].figure
    plt.close("all")
