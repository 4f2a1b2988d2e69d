"""Sums against falls: a straight line by hand, the network's own falls, and what is refused."""

import numpy as np
import pytest

from cnninte_utils.methods.evaluation.additivity import additivity

WEIGHTS = np.random.default_rng(0).standard_normal((8, 8, 1))
IMAGES = np.random.default_rng(1).random((5, 8, 8, 1), np.float32)
CLASSES = np.zeros(5, int)


def line(images):
    score = (images * WEIGHTS).sum(axis=(1, 2, 3))
    return np.stack([score, -score], axis=1)


PARTS = IMAGES * WEIGHTS


def test_a_straight_line_adds_up_whatever_is_hidden():
    for n_hidden in ((1, 3), (10, 16)):
        found = additivity(line, IMAGES, CLASSES, PARTS, patches=4, n_hidden=n_hidden, n_sets=20)
        np.testing.assert_allclose(found.correlation, 1, atol=1e-4)
        np.testing.assert_allclose(found.fit, 1, atol=1e-4)
        against = additivity(line, IMAGES, CLASSES + 1, -PARTS, patches=4, n_hidden=n_hidden, n_sets=20)
        np.testing.assert_allclose(against.fit, 1, atol=1e-4)


def test_size_counts_for_the_fit_and_not_for_the_correlation():
    """With sums c times the falls, the error is (1 - c)² Σ fall², and not about their mean."""
    options = {"patches": 4, "n_hidden": (1, 6), "n_sets": 50, "random_state": 3}
    found = additivity(line, IMAGES, CLASSES, 3 * PARTS, **options)
    np.testing.assert_allclose(found.correlation, 1, atol=1e-4)
    nothing = additivity(line, IMAGES, CLASSES, 0 * PARTS, **options)
    assert np.isnan(nothing.correlation).all()
    np.testing.assert_allclose(1 - found.fit, 4 * (1 - nothing.fit), rtol=1e-3)


def test_a_baseline_that_is_the_image_lets_nothing_fall():
    found = additivity(line, IMAGES, CLASSES, PARTS, patches=2, n_hidden=(1, 2), n_sets=5, baseline=IMAGES)
    assert np.isnan(found.correlation).all()
    assert np.isnan(found.fit).all()


def test_several_channels_are_added_up_and_one_will_do():
    colors = np.repeat(IMAGES, 3, axis=3)
    options = {"patches": 4, "n_hidden": (1, 4), "n_sets": 10}

    def grey(images):
        return line(images.mean(axis=3, keepdims=True))

    per_channel = additivity(grey, colors, CLASSES, np.repeat(PARTS / 3, 3, axis=3), **options)
    one = additivity(grey, colors, CLASSES, PARTS, **options)
    np.testing.assert_allclose(per_channel.fit, one.fit)
    np.testing.assert_allclose(one.fit, 1, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_hidden": (0, 3)}, "n_hidden must be at least 1"),
        ({"n_hidden": (5, 4)}, "two numbers in order"),
        ({"n_hidden": (1, 17)}, "at most the 16 patches"),
        ({"n_sets": 1}, "n_sets must be at least 2"),
        ({"maps": PARTS[:3]}, "expected one map for each image"),
        ({"maps": np.nan * PARTS}, "maps must be finite"),
    ],
)
def test_bad_options_are_refused_by_name(options, message):
    options = {"maps": PARTS, "patches": 4, "n_hidden": (1, 4), "n_sets": 5} | options
    with pytest.raises(ValueError, match=message):
        additivity(line, IMAGES, CLASSES, options.pop("maps"), **options)
