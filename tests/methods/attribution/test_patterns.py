"""Patterns: a signal and its distractor by hand, plain loops over patches, what the two methods then do."""

import keras
import numpy as np
import pytest
from keras import layers
from toy_networks import pictures, with_noise

from cnninte_utils.methods import attribution
from cnninte_utils.methods.attribution import patterns
from cnninte_utils.networks import builders, targets
from cnninte_utils.networks.activations import activations


def network(weights, *, rectified):
    """Pixels p stand for 4p - 2; one unit, with a ReLU and a copy after it or without."""
    image = keras.Input((1, 2, 1), name="image")
    x = layers.Normalization(mean=0.5, variance=0.0625, name="standardize")(image)
    unit = layers.Dense(1, activation="relu" if rectified else None, name="unit")
    x = unit(layers.Flatten(name="flatten")(x))
    if rectified:
        x = layers.Dense(1, kernel_initializer="ones", name="copy")(x)
    model = keras.Model(image, x, name="by_hand")
    unit.set_weights([np.reshape(weights, (2, 1)), np.zeros(1)])
    return model


def as_images(rows):
    return (np.float32(rows).reshape(-1, 1, 2, 1) + 2) / 4


def test_signal_and_distractor_by_hand():
    # x = (y + e, e): the weights (1, -1) cancel e, but the signal lies in the first pixel alone
    x = as_images([[y + e, e] for y in (1, -1) for e in (1, -1)])
    model = network([1.0, -1.0], rectified=False)
    found = patterns.fit(model, x)
    np.testing.assert_allclose(found["unit"].ravel(), [1, 0], atol=1e-6)
    y = np.array([1, 1, -1, -1])
    signal = patterns.pattern_net(model, x, [0] * 4, found)[:, 0, :, 0]
    np.testing.assert_allclose(signal, np.stack([y, 0 * y], axis=1), atol=1e-5)
    added = patterns.pattern_attribution(model, x, [0] * 4, found)[:, 0, :, 0]
    np.testing.assert_allclose(added, np.stack([y, 0 * y], axis=1), atol=1e-5)
    gradient = attribution.gradient(model, x, [0] * 4)[0] / 4
    np.testing.assert_allclose(gradient.ravel(), [1, -1], atol=1e-6)


@pytest.mark.parametrize(("mean", "expected"), [("all", [0.8, 0.2]), ("positive", [2, -1])])
def test_only_where_a_unit_is_on_by_hand(mean, expected):
    x = as_images([[2, 0], [0, 1], [-1, -1], [1, -2]])
    found = patterns.fit(network([1.0, 1.0], rectified=True), x, mean=mean)
    assert set(found) == {"unit before its ReLU", "copy"}
    np.testing.assert_allclose(found["unit before its ReLU"].ravel(), expected, atol=1e-5)
    np.testing.assert_allclose(found["copy"], 1, atol=1e-5)


def patches_of(maps, kernel):
    """Return every zero-padded patch (positions, kernel, kernel, channels) around every position."""
    side = kernel // 2
    padded = np.pad(maps, [(0, 0), (side, side), (side, side), (0, 0)])
    places = np.ndindex(maps.shape[:3])
    return np.stack([padded[n, i : i + kernel, j : j + kernel] for n, i, j in places])


def test_against_loops_over_patches():
    model = with_noise(builders.mnist_cnn((6, 6, 1)), seed=5)
    images = pictures((6, 6, 1), 9)
    found = patterns.fit(model, images, guard=0.0)
    maps = activations(model, "pool1", images)
    weights, bias = model.get_layer("conv2").get_weights()
    x = patches_of(maps, 5).astype(float)
    pattern = found["conv2 before its ReLU"]
    n_checked = 0
    for unit in range(0, 64, 7):
        w = weights[..., unit].astype(float)
        y = (x * w).sum(axis=(1, 2, 3))
        is_on = y + bias[unit] > 0
        if is_on.sum() < 2:
            continue
        numerator = (x[is_on] * y[is_on, None, None, None]).mean(0) - x[is_on].mean(0) * y.mean()
        if (w * numerator).sum() <= 0:
            assert not pattern[..., unit].any()
            continue
        expected = numerator / (w * numerator).sum()
        np.testing.assert_allclose(pattern[..., unit], expected, atol=1e-3 * np.abs(expected).max())
        n_checked += 1
    assert n_checked > 3


@pytest.mark.parametrize("name", ["alexnet", "alexnet_b", "resnet"])
def test_weights_times_pattern_is_one_where_there_is_one(name):
    model = {
        "alexnet": lambda: builders.alexnet(input_size=64, width=0.1),
        "alexnet_b": lambda: builders.alexnet(input_size=64, width=0.1, variant="one_tower", batch_norm=True),
        "resnet": lambda: builders.resnet(depth=8, input_size=16, mean=[0.5] * 3, std=[0.25] * 3),
    }[name]()
    model = with_noise(model, seed=2)
    images = pictures(model.input_shape[1:], 6)
    found = patterns.fit(model, images)
    for step in patterns._network(targets.logits(model)):
        if step.linear is not None:
            kernel, pattern = np.asarray(step.kernel), found[step.name]
            axes = tuple(range(kernel.ndim - 1))
            products, is_there = (kernel * pattern).sum(axis=axes), pattern.any(axis=axes)
            assert is_there.any()
            np.testing.assert_allclose(products[is_there], 1, atol=1e-3)
            lengths = (kernel**2).sum(axis=axes) * (pattern.astype(float) ** 2).sum(axis=axes)
            assert 1 / np.sqrt(lengths[is_there].max()) >= 0.0099
    for method in (patterns.pattern_net, patterns.pattern_attribution):
        maps = method(model, images, np.arange(6), found)
        assert maps.shape == images.shape
        assert np.isfinite(maps).all()
        assert np.abs(maps).max() > 0


def test_with_weights_as_patterns_it_is_the_gradient_times_the_logit():
    model = with_noise(builders.mnist_cnn((12, 12, 1)))
    images, classes = pictures((12, 12, 1), 2), np.array([3, 8])
    own = {s.name: np.asarray(s.kernel) for s in patterns._network(targets.logits(model)) if s.linear}
    logits = targets.scores(model, images, classes)[:, None, None, None]
    expected = logits * attribution.gradient(model, images, classes)
    found = patterns.pattern_net(model, images, classes, own)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    ones = {name: np.ones_like(kernel) for name, kernel in own.items()}
    found = patterns.pattern_attribution(model, images, classes, ones)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_bad_requests_are_refused():
    model, images = builders.mnist_cnn((12, 12, 1)), pictures((12, 12, 1), 3)
    with pytest.raises(ValueError, match="unknown mean 'none': choose one of all, positive"):
        patterns.fit(model, images, mean="none")
    with pytest.raises(ValueError, match="these are not the patterns of mnist_cnn"):
        patterns.pattern_net(model, images, [0, 1, 2], {"conv1": np.zeros((5, 5, 1, 32))})
    dense = builders.densenet(depth=7, growth=4, input_size=8)
    with pytest.raises(ValueError, match="no patterns through bn_before_conv2, a step of kind batch_norm"):
        patterns.fit(dense, pictures((8, 8, 3), 2))
