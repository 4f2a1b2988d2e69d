"""RISE: the formula over its own masks, what masks are, straight lines."""

import numpy as np
import pytest
from toy_networks import linear_network, pictures, with_noise

from cnninte_utils.methods import perturbation
from cnninte_utils.methods.perturbation import random_masks
from cnninte_utils.networks import builders
from cnninte_utils.networks.activations import predict


def test_by_hand_one_cell():
    # one cell, enlarged, is all or nothing: a = score of the whole image · share of ones / p
    def classifier(x):
        return x.mean(axis=(1, 2))

    images = np.full((1, 4, 4, 2), 0.5, np.float32)
    masks = random_masks.masks(20, (4, 4), cells=1, random_state=3)
    ones = masks[:, 0, 0, 0]
    assert set(ones.tolist()) == {0.0, 1.0}
    assert np.array_equal(masks, np.broadcast_to(ones[:, None, None, None], masks.shape))
    found = perturbation.rise(classifier, images, [1], n_masks=20, cells=1, random_state=3)
    np.testing.assert_allclose(found, 0.5 * ones.mean() / 0.5)


def test_masks_are_smooth_between_zero_and_one_and_as_many_ones_as_asked_for():
    masks = random_masks.masks(400, (21, 30), cells=7, share=0.3, random_state=1)
    assert masks.shape == (400, 21, 30, 1)
    assert masks.min() >= 0
    assert masks.max() <= 1
    np.testing.assert_allclose(masks.mean(axis=0), 0.3, atol=0.12)
    np.testing.assert_allclose(masks.mean(), 0.3, atol=0.01)
    assert np.abs(np.diff(masks, axis=1)).max() <= 1 / 3 + 0.1  # a cell is 3 pixels and a little
    assert np.array_equal(masks, random_masks.masks(400, (21, 30), cells=7, share=0.3, random_state=1))


@pytest.mark.parametrize("baseline", [0.0, 0.5])
def test_it_is_the_formula(baseline):
    model = with_noise(builders.mnist_cnn((12, 12, 1)))
    images, classes = pictures((12, 12, 1), 2), np.array([3, 7])
    options = {"cells": 3, "share": 0.4, "random_state": 2}
    found = perturbation.rise(model, images, classes, n_masks=15, baseline=baseline, **options)
    expected = np.zeros((2, 12, 12, 1))
    for mask in random_masks.masks(15, (12, 12), **options):
        scores = predict(model, images * mask + baseline * (1 - mask))[[0, 1], classes]
        expected += scores[:, None, None, None] * mask / (15 * 0.4)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.min() >= 0


def test_the_pixel_that_counts_stands_out():
    model, images = linear_network(np.eye(9)[4] * 3), np.ones((1, 1, 9, 1), np.float32)
    found = perturbation.rise(model, images, [0], n_masks=300, cells=9, output="logit")
    assert found.ravel().argmax() == 4


def test_bad_requests_are_refused():
    model, images = linear_network([1.0, 2.0]), pictures((1, 2, 1), 1)
    for share in (0, 1, 2):
        with pytest.raises(ValueError, match=f"share is {share}; allowed: a number between 0 and 1"):
            perturbation.rise(model, images, [0], share=share)
    with pytest.raises(ValueError, match="whole number n_masks must be at least 1"):
        perturbation.rise(model, images, [0], n_masks=0)
