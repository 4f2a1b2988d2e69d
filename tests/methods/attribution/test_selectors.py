"""L2X: the true features of made-up answers, what is shown, and what is refused."""

import numpy as np
import pytest
from scipy.special import expit

from cnninte_utils.methods.attribution import selectors
from cnninte_utils.networks import builders


def rows(n, seed):
    return np.clip(np.random.default_rng(seed).standard_normal((n, 1, 10, 1)) / 8 + 0.5, 0, 1).astype(
        np.float32
    )


def xor(images):
    """P(class 1) of the paper's first set: the sign of the product of the first two numbers."""
    x = 8 * (np.asarray(images, float).reshape(len(images), -1) - 0.5)
    positive = expit(4 * x[:, 0] * x[:, 1])
    return np.stack([1 - positive, positive], axis=1)


@pytest.fixture(scope="module")
def fitted():
    options = {"n_selected": 2, "patches": (1, 10), "baseline": 0.5, "network": "dense"}
    return selectors.fit(xor, rows(8_000, 0), epochs=12, batch_size=200, learning_rate=3e-3, **options)


def test_it_finds_the_two_numbers_that_decide(fitted):
    chosen = fitted.selected(rows(500, 1))
    assert chosen.sum(axis=1).tolist() == [2] * 500
    assert chosen[:, :2].mean() > 0.8  # two of ten at random: 0.2
    assert fitted.losses[-1] < fitted.losses[0]


def test_hidden_patches_show_the_baseline(fitted):
    images = rows(20, 2)
    shown, chosen = fitted.shown(images), fitted.selected(images)
    assert np.array_equal(shown[:, 0, :, 0][chosen], images[:, 0, :, 0][chosen])
    assert (shown[:, 0, :, 0][~chosen] == 0.5).all()
    nothing = fitted.guesses(images, np.zeros((20, 10), bool))
    np.testing.assert_allclose(nothing, np.tile(nothing[:1], (20, 1)), atol=1e-6)
    np.testing.assert_allclose(nothing.sum(axis=1), 1, atol=1e-6)


def test_maps_are_shares_of_one_and_heed_no_class(fitted):
    images = rows(5, 3)
    found = selectors.l2x(xor, images, np.zeros(5, int), selector=fitted)
    assert found.shape == (5, 1, 10, 1)
    np.testing.assert_allclose(found.sum(axis=(1, 2, 3)), 1, atol=1e-5)
    assert np.array_equal(found, selectors.l2x(xor, images, np.ones(5, int), selector=fitted))
    with pytest.raises(ValueError, match="targets must be classes from 0 to 1"):
        selectors.l2x(xor, images, np.full(5, 2), selector=fitted)


def test_one_seed_one_selector_for_pictures():
    model, images = (
        builders.mnist_cnn((12, 12, 1)),
        np.random.default_rng(0).random((40, 12, 12, 1), np.float32),
    )
    one, again, other = (
        selectors.fit(model, images, n_selected=3, patches=4, epochs=1, random_state=seed)
        for seed in (0, 0, 1)
    )
    np.testing.assert_allclose(one.scores(images), again.scores(images), atol=1e-5)
    assert not np.allclose(one.scores(images), other.scores(images), atol=1e-3)
    assert one.scores(images).shape == (40, 16)
    assert one.guesses(images).shape == (40, 10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_selected": 16}, "n_selected is 16; allowed: fewer than the 16 patches"),
        ({"n_selected": 0}, "n_selected must be at least 1"),
        ({"temperature": 0}, "temperature is 0; allowed: above 0"),
        ({"network": "deep"}, "unknown network 'deep': choose one of convolutional, dense"),
        ({"patches": 13}, "patches is 13"),
        ({"baseline": 2.0}, "baseline is"),
    ],
)
def test_bad_options_are_refused_by_name(options, message):
    images = np.random.default_rng(0).random((4, 12, 12, 1), np.float32)
    with pytest.raises(ValueError, match=message):
        selectors.fit(builders.mnist_cnn((12, 12, 1)), images, **({"patches": 4, "n_selected": 3} | options))
