"""Maximally invariant perturbation: a box by hand, the program by loops, boxes that keep the class."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_networks import linear_network, pictures, with_noise

from cnninte_utils.methods import perturbation
from cnninte_utils.methods.perturbation import mip
from cnninte_utils.networks import builders, targets
from cnninte_utils.networks.activations import predict

# slopes (2, -1, ½), a margin of 1.5: up costs (0, 1, 0), down (2, 0, ½)
SLOPES, X = np.array([2, -1, 0.5]), np.float32([0.5, 0.5, 0.5]).reshape(1, 1, 3, 1)
BY_HAND = {"noise": 0.0, "n_draws": 0, "cells": 3, "largest": 1.0}


def by_hand():
    return linear_network(SLOPES, 1.5 - SLOPES.sum() / 2)


def test_the_box_by_hand():
    np.testing.assert_allclose(targets.scores(by_hand(), X, [0]), 1.5)
    down, up = mip.box(by_hand(), X, [0], **BY_HAND)
    np.testing.assert_allclose(up.ravel(), [1, 1, 1], atol=1e-6)
    np.testing.assert_allclose(down.ravel(), [0, 1, 1], atol=1e-6)
    score = perturbation.invariant_perturbation(by_hand(), X, [0], **BY_HAND)
    np.testing.assert_allclose(score.ravel(), [1, 0, 0], atol=1e-6)


def test_cells_share_what_they_may_spend():
    # one cell: u costs 1 and v 2.5 a unit; all of the margin 1.5 is spent, on u first, then a fifth of v
    down, up = mip.box(by_hand(), X, [0], **(BY_HAND | {"cells": 1}))
    np.testing.assert_allclose(up.ravel(), [1, 1, 1], atol=1e-6)
    np.testing.assert_allclose(down.ravel(), [0.2, 0.2, 0.2], atol=1e-6)


@settings(max_examples=20)
@given(st.lists(st.integers(-300, 300), min_size=4, max_size=4), st.floats(0, 4), st.floats(0.05, 2))
def test_one_constraint_is_a_knapsack(slopes, margin, largest):
    slopes = np.array(slopes) / 100  # HiGHS takes what is below its tolerance for nothing
    found = mip._solved(slopes.reshape(1, 4, 1), np.array([margin]), np.arange(4), largest)
    costs = np.concatenate([np.maximum(0, slopes), np.maximum(0, -slopes)])
    left, total = margin, 0.0
    for cost in np.sort(costs):  # the cheapest first
        spend = largest if cost * largest <= left else left / cost
        total, left = total + spend, left - cost * spend
    assert found.sum() == pytest.approx(total, abs=1e-5)
    assert (costs @ found.ravel()) <= margin + 1e-6


@pytest.fixture(scope="module")
def network():
    return with_noise(builders.resnet(depth=8, input_size=16, mean=[0.5] * 3, std=[0.25] * 3), seed=3)


def test_no_corner_of_the_box_leaves_the_class_of_the_straight_lines(network):
    images = pictures((16, 16, 3), 2)
    classes = predict(network, images).argmax(axis=1)
    down, up = mip.box(network, images, classes, n_draws=0, cells=4)
    assert down.shape == up.shape == images.shape
    assert up.min() >= 0
    assert up.max() <= 0.1 + 1e-6
    logits = targets.logits(network)
    for i, own in enumerate(classes):
        for other in set(range(10)) - {own}:
            v = np.zeros((1, 10), np.float32)
            v[0, own], v[0, other] = 1, -1
            values, slope = perturbation.jacobians.outputs_and_gradients(logits, images[i : i + 1], v)
            worst = (np.maximum(-slope[0], 0) * up[i] + np.maximum(slope[0], 0) * down[i]).sum()
            assert worst <= (values @ v[0]).item() + 1e-3
    # constant in each cell of each channel
    assert np.array_equal(up[:, :4, :4], np.broadcast_to(up[:, :1, :1], up[:, :4, :4].shape))


def test_more_draws_make_no_larger_box(network):
    images = pictures((16, 16, 3), 1)
    classes = predict(network, images).argmax(axis=1)
    sizes = [sum(x.sum() for x in mip.box(network, images, classes, n_draws=n, cells=4)) for n in (0, 4)]
    assert sizes[1] <= sizes[0] + 1e-3


def test_bad_requests_are_refused():
    with pytest.raises(ValueError, match="targets must be whole numbers, the classes to keep"):
        mip.box(by_hand(), X, np.ones((1, 2)))
    with pytest.raises(ValueError, match="parameter largest is 0"):
        mip.box(by_hand(), X, [0], largest=0)
    with pytest.raises(ValueError, match="noise must be finite and not negative"):
        perturbation.invariant_perturbation(by_hand(), X, [0], noise=-1.0)
    with pytest.raises(ValueError, match="whole number cells must be at least 1"):
        mip.box(by_hand(), X, [0], cells=0)
