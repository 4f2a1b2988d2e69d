"""What is on the axes of the drawings of perturbations."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from cnninte_utils.figures import perturbation as drawings


def test_pixel_bars_stand_for_the_numbers_and_tell_signs_apart():
    figure = drawings.pixel_bars({"one": [1.0, -0.25], "two": [0.0, 2.0]})
    assert [ax.get_title() for ax in figure.axes] == ["one", "two"]
    bars = figure.axes[0].patches
    assert [bar.get_height() for bar in bars] == [1.0, -0.25]
    assert bars[0].get_facecolor() != bars[1].get_facecolor()


def test_smallest_changes_are_drawn_about_grey_at_their_own_scale():
    images = np.full((2, 4, 4, 3), 0.5)
    changes = np.zeros_like(images)
    changes[0, 0, 0], changes[1, 1, 1] = 0.01, -0.2
    figure = drawings.smallest_changes(images, changes, ["cat", "dog"], ["car", "bus"])
    axes = np.array(figure.axes).reshape(3, 2)
    drawn = [ax.images[0].get_array() for ax in axes[1]]
    assert [drawn[0][0, 0, 0], drawn[0][3, 3, 0], drawn[1][1, 1, 0]] == [1, 0.5, 0]
    assert [ax.get_xlabel() for ax in axes[1]] == ["largest 0.010", "largest 0.200"]
    assert [ax.get_title() for ax in axes[2]] == ["car", "bus"]
    np.testing.assert_allclose(axes[2, 1].images[0].get_array()[1, 1], 0.3)


def test_curves_run_from_nothing_to_all_with_their_mean():
    curves = {"hot first": np.array([[1.0, 0.5, 0.0], [0.8, 0.3, 0.2]])}
    ax = drawings.curves_by_share(curves, plt.figure().subplots(), references={"all blurred": 0.1})
    line, level = ax.get_lines()
    np.testing.assert_allclose(line.get_xdata(), [0, 0.5, 1])
    np.testing.assert_allclose(line.get_ydata(), [0.9, 0.4, 0.1])
    assert set(level.get_ydata()) == {0.1}
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["hot first", "all blurred"]


def test_shares_stand_beside_the_diagonal_of_even_heat():
    frame = pd.DataFrame({"area": [0.1, 0.2, 0.1], "share": [0.5, 0.4, 0.1], "map": ["a", "a", "b"]})
    ax = drawings.share_by_area(frame, plt.figure().subplots())
    np.testing.assert_allclose(ax.collections[0].get_offsets(), [[0.1, 0.5], [0.2, 0.4]])
    np.testing.assert_allclose(ax.collections[1].get_offsets(), [[0.1, 0.1]])
    (diagonal,) = ax.get_lines()
    np.testing.assert_allclose(diagonal.get_xydata(), [[0, 0], [1, 1]])


def test_signal_and_distractor_has_every_point_and_arrow_at_equal_scales():
    points = np.array([[2.0, 1], [0, 1], [0, -1], [-2, -1]])
    ax = drawings.signal_and_distractor(
        points,
        np.array([1, -1, 1, -1]),
        {"gradient": np.array([1, -1]), "signal": np.array([1, 0])},
        plt.figure().subplots(),
    )
    assert sorted(map(tuple, np.concatenate([c.get_offsets() for c in ax.collections]))) == sorted(
        map(tuple, points)
    )
    arrows = [text for text in ax.texts if text.arrow_patch is not None]
    assert [tuple(arrow.xy) for arrow in arrows] == [(1, -1), (1, 0)]
    assert ax.get_aspect() == 1
    assert ax.get_xlim() == ax.get_ylim()
