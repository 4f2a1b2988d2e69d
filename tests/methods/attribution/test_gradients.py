"""Gradients of a logit: by hand, straight lines, completeness, and what must not matter."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers
from toy_networks import NETS, QUARTER, TARGET, X, linear_network, net_a, net_b, pictures, with_noise

from cnninte_utils.methods import attribution
from cnninte_utils.networks import builders, targets


@pytest.fixture(scope="module")
def network():
    model = builders.alexnet(input_size=64, width=0.1, mean=[0.5, 0.4, 0.3], std=[0.2, 0.3, 0.25])
    return with_noise(model)


IMAGES, CLASSES = pictures((64, 64, 3)), np.array([3, 0, 9])


@pytest.mark.parametrize("net", NETS)
def test_by_hand(net):
    model = NETS[net]()
    assert (attribution.gradient(model, X, TARGET).ravel() / QUARTER).tolist() == [4, -1]
    assert attribution.gradient_input(model, X, TARGET).ravel().tolist() == [4, -2]


def test_integrated_gradients_by_hand():
    def found(model, steps):
        return attribution.integrated_gradients(model, X, TARGET, steps=steps).ravel()

    assert found(net_a(), 4).tolist() == [4, -2]
    assert found(net_b(), 4).tolist() == [4.25, -5.5]
    np.testing.assert_allclose(found(net_b(), 3_000), [4.5, -6.5], atol=0.01)


def test_baseline_of_integrated_gradients_by_hand():
    model = linear_network([4.0, -8.0], 1.0)
    found = attribution.integrated_gradients(model, X, TARGET, steps=3, baseline=0.25)
    np.testing.assert_allclose(found.ravel(), [0.0, -2.0], atol=1e-6)


@settings(max_examples=20)
@given(st.lists(st.floats(-5, 5, width=32), min_size=3, max_size=3), st.floats(-3, 3, width=32))
def test_straight_lines_are_weights_times_differences(weights, bias):
    model, images = linear_network(weights, bias), pictures((1, 3, 1), 2)
    expected = images * np.reshape(weights, (1, 1, 3, 1))
    both = np.array([0, 0])
    for method in (attribution.gradient_input, attribution.integrated_gradients):
        np.testing.assert_allclose(method(model, images, both), expected, atol=1e-5)
    smooth = attribution.smoothgrad(model, images, both, n_samples=3)
    np.testing.assert_allclose(smooth, np.broadcast_to(expected / images, images.shape), atol=1e-5)


def test_integrated_gradients_are_complete_the_better_the_more_steps(network):
    difference = targets.scores(network, IMAGES, CLASSES) - targets.scores(
        network, targets.baselines(network, IMAGES), CLASSES
    )

    def residual(steps):
        found = attribution.integrated_gradients(network, IMAGES, CLASSES, steps=steps)
        return np.abs(found.sum(axis=(1, 2, 3)) - difference).mean() / np.abs(difference).mean()

    few, many = residual(4), residual(64)
    assert many < few / 2
    assert many < 0.02


def test_the_mean_colour_gets_nothing(network):
    mean = np.broadcast_to(np.float32([0.5, 0.4, 0.3]), (1, 64, 64, 3))
    assert np.abs(attribution.gradient(network, mean, [1])).max() > 0
    for method in (attribution.gradient_input, attribution.integrated_gradients):
        np.testing.assert_allclose(method(network, mean, [1]), 0, atol=1e-6)


def test_the_product_is_the_same_before_and_after_standardising(network):
    # the same network on images that are standardised outside
    found = attribution.gradient_input(network, IMAGES, CLASSES)
    gradients = attribution.gradient(network, IMAGES, CLASSES) * np.float32([0.2, 0.3, 0.25])
    standardised = (IMAGES - np.float32([0.5, 0.4, 0.3])) / np.float32([0.2, 0.3, 0.25])
    np.testing.assert_allclose(found, gradients * standardised, rtol=1e-4, atol=1e-6)


def test_integrated_gradients_do_not_see_how_a_function_is_written():
    # relu(x) = (x + relu(x) - relu(-x)) / 2 ... as |.|: two networks of one function
    one = net_b()
    image = keras.Input((1, 2, 1))
    flat = layers.Flatten()(image)
    hidden, passed = layers.Dense(3, name="hidden"), layers.Dense(6, activation="relu", name="twins")
    out = layers.Dense(2, name="out")
    other = keras.Model(image, out(passed(hidden(flat))))
    hidden.set_weights(one.get_layer("hidden").get_weights())
    passed.set_weights([np.concatenate([np.eye(3), 0.5 * np.eye(3)], axis=1), np.zeros(6)])
    kernel, bias = one.get_layer("out").get_weights()
    out.set_weights([np.concatenate([0.5 * kernel, kernel]), bias])
    x = pictures((1, 2, 1), 5)
    zeros = np.zeros(5, int)
    np.testing.assert_allclose(targets.scores(one, x, zeros), targets.scores(other, x, zeros), atol=1e-5)
    for method in (attribution.integrated_gradients, attribution.gradient):
        np.testing.assert_allclose(method(one, x, zeros), method(other, x, zeros), atol=1e-4)


def test_smoothgrad_without_noise_is_the_gradient_and_squares_are_its_squares(network):
    plain = attribution.gradient(network, IMAGES, CLASSES)
    still = attribution.smoothgrad(network, IMAGES, CLASSES, noise=0.0, n_samples=2)
    np.testing.assert_allclose(still, plain, atol=1e-6)
    squared = attribution.smoothgrad(network, IMAGES, CLASSES, noise=0.0, n_samples=2, is_squared=True)
    np.testing.assert_allclose(squared, plain**2, atol=1e-6)


def test_smoothgrad_averages_gradients_at_noisy_copies_that_are_not_clipped():
    # f(x) = 3 relu(x - 1): nothing but noise takes a pixel of 1, or one of ½, over the edge
    image = keras.Input((1, 2, 1))
    conv = layers.Conv2D(1, 1, activation="relu", name="conv")
    out = layers.Dense(1, name="out")
    model = keras.Model(image, out(layers.Flatten()(conv(image))))
    conv.set_weights([np.ones((1, 1, 1, 1)), np.array([-1.0])])
    out.set_weights([np.full((2, 1), 3.0), np.zeros(1)])
    x = np.float32([1, 0]).reshape(1, 1, 2, 1)
    found = attribution.smoothgrad(model, x, [0], n_samples=400, noise=0.5, random_state=1)
    np.testing.assert_allclose(found.ravel(), [1.5, 3 * 0.0228], atol=0.25)  # half of it, two sigma
    again = attribution.smoothgrad(model, x, [0], n_samples=400, noise=0.5, random_state=1)
    assert np.array_equal(found, again)
    assert not np.array_equal(found, attribution.smoothgrad(model, x, [0], n_samples=400, noise=0.5))


METHODS = {
    "gradient": attribution.gradient,
    "gradient_input": attribution.gradient_input,
    "integrated_gradients": lambda *rest: attribution.integrated_gradients(*rest, steps=3),
    "smoothgrad": lambda *rest: attribution.smoothgrad(*rest, n_samples=3),
}


@pytest.mark.parametrize("name", METHODS)
def test_classes_and_combinations_of_logits(network, name):
    method = METHODS[name]
    one, other = (method(network, IMAGES, np.full(3, c)) for c in (2, 5))
    assert one.shape == IMAGES.shape
    assert one.dtype == np.float32
    difference = np.zeros((3, 10), np.float32)
    difference[:, 2], difference[:, 5] = 1, -1
    scale = np.abs(one).max()
    np.testing.assert_allclose(method(network, IMAGES, difference), one - other, atol=1e-5 * scale)


@pytest.mark.parametrize("name", METHODS)
def test_a_map_does_not_depend_on_the_other_images(network, name):
    together = METHODS[name](network, IMAGES, CLASSES)
    alone = METHODS[name](network, IMAGES[1:2], CLASSES[1:2])
    np.testing.assert_allclose(together[1:2], alone, atol=1e-5 * np.abs(alone).max())


def test_batches_do_not_matter(network, monkeypatch):
    from cnninte_utils.networks import gradients

    whole = attribution.integrated_gradients(network, IMAGES, CLASSES, steps=2)
    monkeypatch.setattr(gradients, "images_at_once", lambda *_, **__: 2)
    parts = attribution.integrated_gradients(network, IMAGES, CLASSES, steps=2)
    np.testing.assert_allclose(whole, parts, atol=1e-6)


def test_bad_requests_are_refused(network):
    for method in METHODS.values():
        with pytest.raises(ValueError, match=r"images must be floats in \[0, 1\], got uint8"):
            method(network, (IMAGES * 255).astype(np.uint8), CLASSES)
        with pytest.raises(ValueError, match="classes from 0 to 9, got"):
            method(network, IMAGES, [1, 2, 10])
    with pytest.raises(ValueError, match="whole number steps must be at least 1, got 0"):
        attribution.integrated_gradients(network, IMAGES, CLASSES, steps=0)
    with pytest.raises(ValueError, match="whole number n_samples must be at least 1"):
        attribution.smoothgrad(network, IMAGES, CLASSES, n_samples=0)
    with pytest.raises(ValueError, match="noise must be finite and not negative"):
        attribution.smoothgrad(network, IMAGES, CLASSES, noise=-1)
    with pytest.raises(ValueError, match="does not fit images"):
        attribution.integrated_gradients(network, IMAGES, CLASSES, baseline=np.zeros(7))
