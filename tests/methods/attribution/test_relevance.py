"""LRP: every rule by hand, against plain NumPy loops, and what must be kept on the way down."""

import inspect
from itertools import pairwise

import keras
import numpy as np
import pytest
from keras import layers
from toy_networks import TARGET, X, linear_network, net_a, net_b, pictures, with_noise, without_biases

from cnninte_utils.methods import attribution
from cnninte_utils.methods.attribution import relevance
from cnninte_utils.networks import backward, builders, targets

BY_HAND = {
    "LRP-0": ({"rule": "epsilon", "epsilon": 0}, (4, -2), (4, -2)),
    "epsilon 1": ({"rule": "epsilon", "epsilon": 1}, (26 / 15, -4 / 15), (17 / 9, -7 / 9)),
    "gamma 1": ({"rule": "gamma", "gamma": 1}, (14 / 9, 4 / 9), (37 / 35, 2 / 35)),
    "alpha 1": ({"rule": "alpha_beta"}, (1, 1), (0.5, 0.5)),
    "alpha 2": ({"rule": "alpha_beta", "alpha": 2, "beta": 1}, (6, 0), (4, -2 / 3)),
    "box": ({"rule": "epsilon", "epsilon": 0, "first": "box", "pixels": (0, 0.75)}, (1, 1), (-0.5, -0.5)),
    "w2": ({"rule": "epsilon", "epsilon": 0, "first": "w2"}, (2.2, -0.2), (0.4, -1.4)),
    "flat": ({"rule": "epsilon", "epsilon": 0, "first": "flat"}, (1, 1), (-0.5, -0.5)),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name):
    options, *expected = BY_HAND[name]
    for net, values in zip((net_a, net_b), expected, strict=True):
        found = attribution.lrp(net(), X, TARGET, **options).ravel()
        np.testing.assert_allclose(found, values, rtol=1e-5, atol=1e-6)


def test_hidden_relevance_by_hand():
    # net A hands (4, -2, 0) to its hidden units, net B (3, -4, 0) of 2, whatever its last bias is
    options = {"rule": "epsilon", "epsilon": 0}
    a, b = (relevance.by_layer(net(), X, TARGET, **options) for net in (net_a, net_b))
    assert list(a) == ["out", "hidden", "hidden before its ReLU", "flatten", "image"]
    assert [a[name].item() for name in a] == [2, 2, 2, 2, 2]
    np.testing.assert_allclose([b[name].item() for name in b], [2, -1, -1, 2, 2], atol=1e-6)
    dropped = relevance.by_layer(net_b(), X, TARGET, bias="drop", **options)
    np.testing.assert_allclose([dropped[name].item() for name in dropped], 2, atol=1e-5)


def test_overlapping_windows_by_hand():
    # h = (1, 3, 2), windows of two, both won by 3; weights 1/3 and 2/3: relevance 1 and 2 meet there
    image = keras.Input((1, 3, 1))
    out = layers.Dense(1, use_bias=False)
    model = keras.Model(image, out(layers.Flatten()(layers.MaxPooling2D((1, 2), 1)(image))))
    out.set_weights([4 * np.array([[1 / 3], [2 / 3]])])
    x = np.float32([1, 3, 2]).reshape(1, 1, 3, 1) / 4
    for rule in ("epsilon", "gamma", "alpha_beta"):
        found = attribution.lrp(model, x, [0], rule=rule, epsilon=0)
        np.testing.assert_allclose(found.ravel(), [0, 3, 0], atol=1e-5)


def loops(x, kernels, biases, options):
    """LRP of a chain of dense layers with ReLUs between, unit by unit, in double precision."""
    a = [np.asarray(x, float)]
    for step, (w, b) in enumerate(zip(kernels, biases, strict=True)):
        z = a[-1] @ w + b
        a.append(np.maximum(z, 0) if step < len(kernels) - 1 else z)
    r = np.zeros(len(a[-1]))
    r[0] = a[-1][0]
    for w, b, below in zip(kernels[::-1], biases[::-1], a[-2::-1], strict=True):
        shares = np.zeros_like(below)
        for j in range(w.shape[1]):
            products, z = below * w[:, j], below @ w[:, j] + b[j]
            plus, minus = np.maximum(products, 0), np.minimum(products, 0)
            rule = options["rule"]
            if rule == "epsilon":
                shares += products / (z + options["epsilon"] * (1 if z >= 0 else -1)) * r[j]
            elif rule == "gamma":
                favored, half = (plus, np.maximum(b[j], 0)) if z >= 0 else (minus, np.minimum(b[j], 0))
                parts = products + options["gamma"] * favored
                shares += parts / (parts.sum() + b[j] + options["gamma"] * half) * r[j]
            else:
                up, down = plus.sum() + max(b[j], 0), minus.sum() + min(b[j], 0)
                shares += options["alpha"] * (plus / up if up else 0) * r[j]
                shares -= options["beta"] * (minus / down if down else 0) * r[j]
        r = shares
    return r


@pytest.mark.parametrize(
    "options",
    [
        {"rule": "epsilon", "epsilon": 0.1},
        {"rule": "gamma", "gamma": 0.5},
        {"rule": "alpha_beta", "alpha": 1.0, "beta": 0.0},
        {"rule": "alpha_beta", "alpha": 2.0, "beta": 1.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("seed", range(3))
def test_against_loops_also_with_inputs_below_zero(options, seed):
    # standardised pixels are of both signs, and the last layer's units too
    rng = np.random.default_rng(seed)
    sizes = (5, 6, 4, 3)
    kernels = [rng.standard_normal(shape) for shape in pairwise(sizes)]
    biases = [0.3 * rng.standard_normal(n) for n in sizes[1:]]
    image = keras.Input((1, 5, 1))
    x = layers.Flatten()(layers.Normalization(mean=0.5, variance=0.0625)(image))
    dense = [layers.Dense(n, activation="relu" if n > 3 else None) for n in sizes[1:]]
    for layer in dense:
        x = layer(x)
    model = keras.Model(image, x)
    for layer, *weights in zip(dense, kernels, biases, strict=True):
        layer.set_weights(weights)
    images = pictures((1, 5, 1), 4, seed)
    for one, found in zip(images, attribution.lrp(model, images, [0] * 4, **options), strict=True):
        expected = loops((one.ravel() - 0.5) / 0.25, kernels, biases, options)
        np.testing.assert_allclose(found.ravel(), expected, atol=1e-3 * np.abs(expected).max())


NETWORKS = {
    "mnist_cnn": lambda: builders.mnist_cnn((12, 12, 1)),
    "alexnet": lambda: builders.alexnet(input_size=64, width=0.1, mean=[0.5, 0.4, 0.3], std=[0.2, 0.3, 0.25]),
    "alexnet_b": lambda: builders.alexnet(
        input_size=64, width=0.1, variant="one_tower", head="pooling", batch_norm=True
    ),
    "resnet": lambda: builders.resnet(depth=8, input_size=16, width=0.5, mean=[0.5] * 3, std=[0.2] * 3),
    "densenet": lambda: builders.densenet(depth=7, growth=4, input_size=16),
}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    return with_noise(NETWORKS[request.param](), seed=4)


def sums(found):
    return found.sum(axis=(1, 2, 3), dtype=float)


def test_lrp_0_is_gradient_times_input_with_biases_too(network):
    images, classes = pictures(network.input_shape[1:]), np.array([2, 9, 0])
    found = attribution.lrp(network, images, classes, rule="epsilon", epsilon=0)
    expected = attribution.gradient_input(network, images, classes)
    if any(step.kind == "lrn" for step in backward.steps(targets.logits(network))):
        # relevance passes it by: the gradient of y = s x for an s that is held fixed
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99
        logits, _, v = targets.prepared(network, images, classes)
        trace = backward.trace(backward.steps(logits), keras.ops.convert_to_tensor(images))
        rules = {"lrn": lambda record, signal: signal * record.output / (record.inputs[0] + 1e-30)}
        down = trace.down(keras.ops.convert_to_tensor(v), rules)
        gradient = np.asarray(down)
        expected = gradient * (images - targets.neutral(logits))
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("first", ["same", "box", "w2", "flat"])
def test_without_biases_nothing_is_lost(network, first):
    images, classes = pictures(network.input_shape[1:]), np.array([2, 9, 0])
    logits = targets.scores(network, images, classes)
    found = attribution.lrp(network, images, classes, rule="gamma", gamma=0.3, bias="drop", first=first)
    np.testing.assert_allclose(sums(found), logits, rtol=5e-3)


def test_what_is_lost_is_lost_to_biases():
    model = without_biases(with_noise(builders.mnist_cnn((12, 12, 1))))
    images, classes = pictures((12, 12, 1)), np.array([2, 9, 0])
    logits = targets.scores(model, images, classes)
    for rule in ("epsilon", "gamma", "alpha_beta", "composite", "composite_flat"):
        totals = relevance.by_layer(model, images, classes, rule=rule, epsilon=0)
        for total in totals.values():
            np.testing.assert_allclose(total, logits, rtol=1e-3)
    swallowed = relevance.by_layer(with_noise(model), images, classes)
    assert np.abs(swallowed["image"] / swallowed["fc2"] - 1).max() > 0.01


def test_the_composite_is_made_of_its_rules():
    # one convolution only: it is the first layer, so the box; then epsilon
    model = with_noise(builders.mnist_cnn((12, 12, 1)))
    images, classes = pictures((12, 12, 1)), np.array([2, 9, 0])
    default = attribution.lrp(model, images, classes)
    conv = attribution.lrp(model, images, classes, rule="gamma", first="box")
    assert not np.allclose(default, conv, rtol=1e-2)
    flat = attribution.lrp(model, images, classes, rule="composite", first="flat", gamma=1e6)
    # gamma without end sees positive weights only
    expected = attribution.lrp(model, images, classes, rule="composite_flat")
    np.testing.assert_allclose(flat, expected, atol=1e-3 * np.abs(expected).max())


def test_the_box_of_standardised_pixels_is_that_of_the_pixels():
    def dense(mean, std):
        image = keras.Input((2, 2, 1))
        x = layers.Normalization(mean=mean, variance=std**2)(image)
        out = layers.Dense(1)
        return keras.Model(image, out(layers.Flatten()(x))), out

    weights, bias = np.float32([[1], [-2], [3], [0.5]]), np.float32([0.3])
    standardised, out = dense(0.4, 0.25)
    out.set_weights([weights, bias])
    plain, out = dense(0.0, 1.0)
    out.set_weights([weights / 0.25, bias - 0.4 * weights.sum(keepdims=True)[0] / 0.25])
    images = pictures((2, 2, 1), 3)
    one, other = (attribution.lrp(model, images, [0] * 3) for model in (standardised, plain))
    np.testing.assert_allclose(one, other, rtol=1e-4)


def test_padding_gets_nothing_of_equal_shares():
    image = keras.Input((2, 2, 1))
    conv, out = layers.Conv2D(1, 3, name="conv"), layers.Dense(1)
    x = layers.Flatten()(conv(layers.ZeroPadding2D(1)(image)))
    model = with_noise(keras.Model(image, out(x)))
    images = pictures((2, 2, 1), 3)
    for first in ("flat", "w2", "box"):
        found = attribution.lrp(model, images, [0] * 3, rule="epsilon", epsilon=0, first=first, bias="drop")
        np.testing.assert_allclose(sums(found), targets.scores(model, images, [0] * 3), rtol=1e-4)


@pytest.mark.parametrize("name", ["mnist_cnn", "alexnet", "alexnet_b"])
def test_deep_taylor_of_a_chain_is_never_negative_and_zero_below_zero(name):
    network = with_noise(NETWORKS[name](), seed=4)
    images = pictures(network.input_shape[1:], 8)
    classes = np.arange(8)
    found = relevance.deep_taylor(network, images, classes)
    logits = targets.scores(network, images, classes)
    assert found.min() >= -1e-5 * found.max()
    assert (logits <= 0).any()
    assert not found[logits <= 0].any()
    assert (sums(found)[logits > 0] > 0).all()
    expected = attribution.lrp(network, images, classes, rule="alpha_beta", first="box")
    np.testing.assert_allclose(found[logits > 0], expected[logits > 0], atol=1e-5 * np.abs(found).max())


def test_deep_taylor_by_hand():
    # net A: all 2 to the first hidden unit, its weights (2, 1) on (1, 2), with l = 0: one half each
    found = relevance.deep_taylor(net_a(), X, TARGET, pixels=(0, 0.75))
    np.testing.assert_allclose(found.ravel(), [1, 1], atol=1e-6)


def test_a_straight_line_is_weights_times_pixels():
    model, images = linear_network([2.0, -1, 0.5]), pictures((1, 3, 1), 4)
    expected = images * np.float32([2, -1, 0.5]).reshape(1, 1, 3, 1)
    found = attribution.lrp(model, images, [0] * 4, rule="epsilon", epsilon=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_combinations_of_logits_add(network):
    images = pictures(network.input_shape[1:], 2)
    one, other = (attribution.lrp(network, images, [c, c]) for c in (3, 6))
    v = np.zeros((2, 10), np.float32)
    v[:, 3], v[:, 6] = 1, -1
    found = attribution.lrp(network, images, v)
    np.testing.assert_allclose(found, one - other, atol=1e-3 * np.abs(found).max())


def test_both_places_of_the_defaults_agree():
    options = inspect.signature(relevance._Options).parameters
    for name, parameter in inspect.signature(attribution.lrp).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            assert parameter.default == options[name].default


def test_the_names_of_layers_do_not_matter():
    # Keras calls the first dense layer of a process "dense", and a kind of step is called so
    def network(*names):
        image = keras.Input((1, 2, 1), name=names[0])
        hidden, out = layers.Dense(3, activation="relu", name=names[1]), layers.Dense(2, name=names[2])
        model = keras.Model(image, out(hidden(layers.Flatten(name=names[3])(image))))
        for layer, of in ((hidden, "hidden"), (out, "out")):
            layer.set_weights(net_b().get_layer(of).get_weights())
        return model

    for rule in ("epsilon", "gamma", "composite"):
        plain, odd = network("a", "b", "c", "d"), network("relu", "dense", "shape", "add")
        one, other = (attribution.lrp(model, X, TARGET, rule=rule, epsilon=1) for model in (plain, odd))
        assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "zeta"}, "unknown rule 'zeta': choose one of epsilon, gamma, alpha_beta"),
        ({"bias": "keep"}, "unknown bias 'keep': choose one of absorb, drop"),
        ({"first": "z"}, "unknown first 'z'"),
        ({"alpha": 2.0}, r"alpha, beta is \(2.0, 0.0\); allowed: alpha - beta = 1"),
        ({"epsilon": -1}, "epsilon must be finite and not negative"),
        ({"pixels": (1, 0)}, "two numbers from 0 to 1 in order"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        attribution.lrp(net_b(), X, TARGET, **options)
