"""Faithfulness: straight lines by hand, exact answers where attributions are exact, controls."""

import numpy as np
import pytest
from scipy.stats import pearsonr
from toy_networks import linear_network, net_b, pictures, with_noise

from cnninte_utils.methods import attribution, evaluation
from cnninte_utils.methods.evaluation import faithfulness
from cnninte_utils.networks import builders, targets

WEIGHTS = np.array([1.0, 4.0, 2.0, 8.0])
LINE = linear_network(WEIGHTS)
ONES = np.ones((1, 1, 4, 1), np.float32)
RIGHT = WEIGHTS.reshape(1, 1, 4)
OPTIONS = {"steps": 4, "baseline": 0.0, "output": "logit"}


def test_deletion_and_insertion_by_hand():
    best = evaluation.deletion(LINE, ONES, [0], RIGHT, **OPTIONS)
    assert best.tolist() == [[15, 7, 3, 1, 0]]
    assert evaluation.deletion(LINE, ONES, [0], -RIGHT, **OPTIONS).tolist() == [[15, 14, 12, 8, 0]]
    assert evaluation.insertion(LINE, ONES, [0], RIGHT, **OPTIONS).tolist() == [[0, 8, 12, 14, 15]]
    assert evaluation.area(best).tolist() == [(11 + 5 + 2 + 0.5) / 4]


def test_steps_are_shares_of_the_pixels():
    found = evaluation.deletion(LINE, ONES, [0], RIGHT, **(OPTIONS | {"steps": 2}))
    assert found.tolist() == [[15, 3, 0]]


def test_pixels_that_tie_go_in_an_order_that_is_drawn():
    flat = np.zeros((1, 1, 4))
    curves = [evaluation.deletion(LINE, ONES, [0], flat, random_state=s, **OPTIONS) for s in range(5)]
    assert all(np.diff(curve).max() < 0 and curve[0, 0] == 15 and curve[0, -1] == 0 for curve in curves)
    assert len({tuple(curve[0]) for curve in curves}) > 1


def test_the_baseline_is_the_blurred_image_unless_said_otherwise():
    model = with_noise(builders.mnist_cnn((12, 12, 1)))
    images, heats = pictures((12, 12, 1), 3), pictures((12, 12), 3)
    blurred = faithfulness.blurred(images)
    curves = evaluation.deletion(model, images, [1, 2, 3], heats, steps=3)
    for end, x in ((0, images), (-1, blurred)):
        expected = targets.scores(model, x, [1, 2, 3], output="probability")
        np.testing.assert_allclose(curves[:, end], expected, atol=1e-6)
    back = evaluation.insertion(model, images, [1, 2, 3], -heats, steps=3)[:, ::-1]
    np.testing.assert_allclose(curves, back, atol=1e-5)  # what comes last has not gone


def test_squares_by_hand():
    # rows of squares of two pixels: sums 5 and 10, the second goes first
    model = linear_network(WEIGHTS)
    images = np.ones((1, 1, 4, 1), np.float32)
    found = evaluation.pixel_flipping(model, images, [0], RIGHT, size=1, steps=4, random_state=3)
    noise = np.random.default_rng(3)
    noise.random(4)  # for ties
    noise = noise.random((1, 4, 1), np.float32).ravel()
    left = np.ones(4)
    expected = [15.0]
    for pixel in (3, 1, 2, 0):
        left[pixel] = noise[pixel]
        expected.append(WEIGHTS @ left)
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)
    np.testing.assert_allclose(evaluation.aopc(found), (15 - np.array(expected)).mean(), rtol=1e-5)


def test_squares_are_ranked_by_their_sum_and_what_is_left_over_stays():
    def classifier(x):
        return x[:, :, :, 0].reshape(len(x), -1).astype(float)

    images = np.full((1, 5, 5, 1), 0.5, np.float32)
    heats = np.zeros((1, 5, 5))
    heats[0, 2:4, 0:2], heats[0, 0, 2], heats[0, 4, 4] = 1, 3, 99
    v = np.zeros((1, 25), np.float32)
    v[0, [10, 2]] = 1, 100  # the pixels (2, 0) and (0, 2)
    curve = evaluation.pixel_flipping(classifier, images, v, heats, size=2, steps=4)[0]
    changes = np.abs(np.diff(curve))
    assert (changes > 1e-4).tolist() == [True, True, False, False]
    assert changes[0] <= 0.5 < changes[1]


def test_hiding_patches_of_a_straight_line_is_what_its_attributions_say():
    model, images = linear_network(np.arange(16) - 5.0), pictures((1, 16, 1), 3)
    right = attribution.gradient_input(model, images, [0] * 3)
    options = {"patches": 4, "n_hidden": 5, "n_sets": 40}
    found = evaluation.mu_fidelity(model, images, [0] * 3, right, **options)
    np.testing.assert_allclose(found, 1, atol=1e-5)
    np.testing.assert_allclose(
        evaluation.mu_fidelity(model, images, [0] * 3, -2 * right, **options), -1, atol=1e-5
    )
    constant = evaluation.mu_fidelity(model, images, [0] * 3, np.zeros_like(right), **options)
    assert np.isnan(constant).all()


def test_mu_fidelity_is_pearsons_correlation_over_sets():
    model = with_noise(builders.mnist_cnn((12, 12, 1)))
    images, maps = pictures((12, 12, 1), 2), pictures((12, 12, 1), 2, seed=8)
    options = {"patches": 4, "n_hidden": 3, "n_sets": 30, "random_state": 5}
    found = evaluation.mu_fidelity(model, images, [1, 2], maps, baseline=0.5, **options)
    rng, sums, falls = np.random.default_rng(5), [], []
    for _ in range(30):
        chosen = rng.choice(16, 3, replace=False)
        hidden = np.zeros((12, 12), bool)
        for patch in chosen:
            i, j = divmod(patch, 4)
            hidden[3 * i : 3 * i + 3, 3 * j : 3 * j + 3] = True
        x = images.copy()
        x[:, hidden] = 0.5
        falls.append(targets.scores(model, images, [1, 2]) - targets.scores(model, x, [1, 2]))
        sums.append(maps[:, hidden].sum(axis=(1, 2)))
    sums, falls = np.array(sums), np.array(falls)
    expected = [pearsonr(sums[:, n], falls[:, n]).statistic for n in range(2)]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_gradient_of_a_straight_line_has_no_infidelity():
    model, images = linear_network(WEIGHTS), pictures((1, 4, 1), 3)
    gradient = attribution.gradient(model, images, [0] * 3)
    np.testing.assert_allclose(evaluation.infidelity(model, images, [0] * 3, gradient), 0, atol=1e-8)
    # of nothing it is the variance of the fall: σ² |w|²
    found = evaluation.infidelity(model, images, [0] * 3, 0 * gradient, n_samples=4_000, noise=0.1)
    np.testing.assert_allclose(found, 0.01 * (WEIGHTS**2).sum(), rtol=0.1)
    scaled = evaluation.infidelity(model, images, [0] * 3, 7 * gradient, is_scaled=True)
    np.testing.assert_allclose(scaled, 0, atol=1e-6)
    assert evaluation.infidelity(model, images, [0] * 3, 7 * gradient).min() > 0.1


def test_sensitivity_by_hand():
    images = np.full((2, 1, 4, 1), 0.5, np.float32)
    assert evaluation.max_sensitivity(lambda x: np.ones_like(x), images).tolist() == [0, 0]
    found = evaluation.max_sensitivity(lambda x: x, images, radius=0.1, n_samples=300)
    assert ((found > 0.12) & (found <= 0.2)).all()  # at most every pixel by 0.1 of 0.5
    assert np.isnan(evaluation.max_sensitivity(lambda x: 0 * x, images)).all()


def test_completeness_by_hand():
    maps = np.ones((2, 1, 2, 1))
    assert evaluation.completeness(maps, np.array([2.0, 4.0])).tolist() == [0, 2 / 3]
    model, images = net_b(), pictures((1, 2, 1), 4)
    zeros = np.zeros_like(images)
    difference = targets.scores(model, images, [0] * 4) - targets.scores(model, zeros, [0] * 4)
    found = evaluation.completeness(attribution.deeplift(model, images, [0] * 4), difference)
    np.testing.assert_allclose(found, 0, atol=1e-5)


def test_bad_requests_are_refused():
    images = pictures((1, 4, 1), 2)
    maps = np.zeros((2, 1, 4, 1))
    with pytest.raises(ValueError, match=r"expected one map for each image, \(2, 1, 4\), got \(1, 1, 4\)"):
        evaluation.deletion(LINE, images, [0, 0], RIGHT)
    with pytest.raises(ValueError, match="heats must be finite"):
        evaluation.deletion(LINE, images, [0, 0], np.full((2, 1, 4), np.nan))
    with pytest.raises(ValueError, match="steps is 5; allowed: at most 4, the squares there are"):
        evaluation.pixel_flipping(LINE, images, [0, 0], maps[..., 0], size=1, steps=5)
    with pytest.raises(ValueError, match="n_hidden is 64; allowed: fewer than the 64 patches"):
        evaluation.mu_fidelity(LINE, images, [0, 0], maps, n_hidden=64)
    with pytest.raises(ValueError, match="maps must have the images' shape"):
        evaluation.infidelity(LINE, images, [0, 0], maps[..., 0])
    with pytest.raises(ValueError, match=r"images must be floats in \[0, 1\]"):
        evaluation.deletion(LINE, images + 1, [0, 0], maps[..., 0])


def test_more_patches_than_pixels_are_refused():
    model, images = linear_network(np.arange(16) - 5.0), pictures((1, 16, 1), 3)
    with pytest.raises(ValueError, match="patches is 17; allowed: at most 16, the images' longer side"):
        evaluation.mu_fidelity(model, images, [0] * 3, np.zeros_like(images), patches=17, n_hidden=5)
