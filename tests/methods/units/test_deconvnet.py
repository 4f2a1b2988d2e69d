"""Deconvnet: by hand, against a chain of transposed convolutions, against TensorFlow's own gradients."""

import os
import subprocess
import sys
from importlib.util import find_spec

import keras
import numpy as np
import pytest
from keras import ops

from cnninte_utils.methods.units import deconvnet
from cnninte_utils.networks import builders
from cnninte_utils.networks.activations import activations
from cnninte_utils.networks.gradients import vjp
from cnninte_utils.networks.parts import GroupedConv2D
from cnninte_utils.papers import qdv


def chain(*layers, shape=(8, 8, 3)):
    start = x = keras.Input(shape)
    for layer in layers:
        x = layer(x)
    return keras.Model(start, x)


def picture(shape=(8, 8, 3), seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def noise(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture
def one_filter():
    """1×1 filter of weight w, ReLU, 2×2 max-pooling."""

    def make(weight, bias=0.0):
        conv = keras.layers.Conv2D(1, 1, activation="relu", name="conv")
        model = chain(conv, keras.layers.MaxPooling2D(2, name="pool"), shape=(2, 2, 1))
        conv.set_weights([np.full((1, 1, 1, 1), weight), np.array([bias])])
        return model

    return make


def test_by_hand_switches_and_rules(one_filter):
    image = np.array([[0.25, 0.75], [0.5, 0.0]], np.float32)[..., None]
    expected = {"map": 27.0, "ones": 6.0, "peak": 27.0}  # up 6 · 0.75 = 4.5; down 4.5 or 1, times 6
    for seed, value in expected.items():
        back = deconvnet.reconstruct(one_filter(6.0), image, "pool", seed=seed)
        assert back.tolist() == [[[[0.0], [value]], [[0.0], [0.0]]]]


def test_by_hand_the_three_rules_differ_where_the_relu_was_off():
    # second filter turns the sign, so the signal that comes down is negative where its weight is
    first = keras.layers.Conv2D(2, 1, activation="relu", use_bias=False, name="first")
    second = keras.layers.Conv2D(1, 1, activation="relu", name="second")
    model = chain(first, second, shape=(1, 1, 1))
    first.set_weights([np.array([1.0, -1.0]).reshape(1, 1, 1, 2)])
    second.set_weights([np.array([2.0, 5.0]).reshape(1, 1, 2, 1), np.array([0.0])])
    image = np.full((1, 1, 1), 0.75, np.float32)  # first: (0.75, 0); second: 1.5

    def back(rule):
        return deconvnet.reconstruct(model, image, "second", rule=rule, seed="ones").item()

    assert back("gradient") == 2.0  # only the unit that was on
    assert back("guided") == 2.0
    assert back("deconvnet") == 2.0 - 5.0  # both: nothing remembers that the second one was off
    second.set_weights([np.array([-2.0, 5.0]).reshape(1, 1, 2, 1), np.array([7.0])])  # second: 5.5
    assert back("gradient") == -2.0
    assert back("guided") == 0.0
    assert back("deconvnet") == -5.0


@pytest.mark.parametrize("build", [builders.alexnet, builders.vgg19])
def test_plain_gradient_is_the_backends_own(build):
    model = build(input_size=64, width=0.1)
    image = np.random.default_rng(1).random((64, 64, 3), np.float32)
    layer = qdv.LAYERS[model.name][3]
    lower = keras.Model(model.inputs, model.get_layer(layer).output)
    units = [0, 3]
    back = deconvnet.reconstruct(model, image, layer, units, rule="gradient", seed="ones", lrn="gradient")
    for unit, found in zip(units, back, strict=True):
        x = ops.convert_to_tensor(image[None])
        cotangent = np.zeros((1, *lower.output_shape[1:]), np.float32)
        cotangent[..., unit] = 1
        _, expected = vjp(lower, x, ops.convert_to_tensor(cotangent))
        np.testing.assert_allclose(found, expected[0], atol=1e-5 * np.abs(expected).max() + 1e-12)


def test_deconvnet_is_a_chain_of_transposed_convolutions():
    layers = [
        keras.layers.Conv2D(4, 3, activation="relu", name="a"),
        keras.layers.Conv2D(5, 3, activation="relu", name="b"),
    ]
    model = chain(*layers)
    image = picture()
    top = activations(model, "b", image[None])[0]
    for unit in range(5):
        signal = np.zeros((1, 4, 4, 5), np.float32)
        signal[0, ..., unit] = top[..., unit]
        for layer in reversed(layers):
            signal = ops.conv_transpose(ops.relu(signal), layer.kernel, padding="valid")
        back = deconvnet.reconstruct(model, image, "b", [unit])
        np.testing.assert_allclose(back, ops.convert_to_numpy(signal), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("kernel", "stride", "size"), [(11, 4, 32), (7, 2, 32), (3, 2, 9), (3, 2, 10), (2, 3, 11)]
)
def test_strided_transposed_convolution_is_the_adjoint(kernel, stride, size, padding):
    x = ops.convert_to_tensor(noise((2, size, size, 3)))
    filters = ops.convert_to_tensor(noise((kernel, kernel, 3, 5), seed=1))

    def forward(x):
        return ops.conv(x, filters, strides=stride, padding=padding)

    signal = ops.convert_to_tensor(noise(tuple(forward(x).shape), seed=2))
    found = deconvnet.transposed_convolution(
        signal, filters, stride=stride, padding=padding, size=(size, size)
    )
    np.testing.assert_allclose(found, vjp(forward, x, signal)[1], atol=2e-5)


@pytest.mark.parametrize("rule", deconvnet.RULES)
def test_a_relu_of_its_own_or_inside_is_the_same(rule):
    shared = {"name": "conv", "kernel_initializer": keras.initializers.RandomNormal(seed=3)}
    inside = chain(
        keras.layers.Conv2D(4, 3, activation="relu", **shared), keras.layers.MaxPooling2D(2, name="top")
    )
    apart = chain(
        keras.layers.Conv2D(4, 3, **shared), keras.layers.ReLU(), keras.layers.MaxPooling2D(2, name="top")
    )
    apart.set_weights(inside.get_weights())
    one, other = (deconvnet.reconstruct(m, picture(), "top", rule=rule) for m in (inside, apart))
    assert np.abs(one).max() > 0
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_groups_do_not_leak():
    conv = GroupedConv2D(4, 1, groups=2, activation="relu", name="conv")
    model = chain(conv, shape=(3, 3, 4))
    image = picture((3, 3, 4))
    conv.set_weights([np.ones((1, 1, 2, 4)), np.zeros(4)])
    back = deconvnet.reconstruct(model, image, "conv", [0, 3])
    assert np.abs(back[0, ..., :2]).min() > 0
    assert not back[0, ..., 2:].any()
    assert not back[1, ..., :2].any()


def test_local_response_normalization_is_passed_by_or_reversed():
    model = builders.alexnet(input_size=64, width=0.1)
    image = np.random.default_rng(1).random((64, 64, 3), np.float32)
    by, exact = (
        deconvnet.reconstruct(model, image, "lrn1", [0], lrn=lrn) for lrn in ("identity", "gradient")
    )
    relu = deconvnet.reconstruct(model, image, "conv1", [0])
    assert np.abs(by - exact).max() > 0
    np.testing.assert_allclose(by, relu, rtol=1e-2, atol=1e-2 * np.abs(relu).max())


def test_dead_units_send_nothing_back(one_filter):
    image = np.ones((2, 2, 1), np.float32)
    assert not deconvnet.reconstruct(one_filter(1.0, bias=-5.0), image, "pool").any()
    assert not deconvnet.reconstruct(
        one_filter(1.0, bias=-5.0), image, "conv", rule="guided", seed="ones"
    ).any()


def test_batches_do_not_matter_and_the_model_stays_as_it_was():
    model = builders.alexnet(input_size=64, width=0.1)
    before, config = [w.copy() for w in model.get_weights()], model.get_config()
    image = np.random.default_rng(1).random((64, 64, 3), np.float32)
    one, other = (deconvnet.reconstruct(model, image, "conv3", batch_size=b) for b in (3, 100))
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert model.get_config() == config


def test_one_unit_in_many_images_is_the_same_as_image_by_image():
    model = builders.alexnet(input_size=64, width=0.1)
    images = np.random.default_rng(1).random((3, 64, 64, 3), np.float32)
    for seed in deconvnet.SEEDS:
        together = deconvnet.reconstruct_unit(model, images, "conv3", 2, seed=seed)
        alone = [deconvnet.reconstruct(model, image, "conv3", [2], seed=seed)[0] for image in images]
        np.testing.assert_allclose(together, alone, atol=1e-6)
    each = deconvnet.reconstruct_unit(model, images, "conv3", [2, 5, 2])
    alone = [
        deconvnet.reconstruct(model, x, "conv3", [u], seed="peak")[0]
        for x, u in zip(images, [2, 5, 2], strict=True)
    ]
    np.testing.assert_allclose(each, alone, atol=1e-6)
    with pytest.raises(ValueError, match=r"units must be between 0 and 37, got \[1000\]"):
        deconvnet.reconstruct_unit(model, images, "conv3", 1_000)
    with pytest.raises(ValueError, match="one unit or one for each of 3 images needed, got 2"):
        deconvnet.reconstruct_unit(model, images, "conv3", [1, 2])


def test_dense_layers_are_reversed_too():
    dense = keras.layers.Dense(2, activation="relu", name="dense")
    model = chain(keras.layers.Flatten(), dense, shape=(1, 2, 1))
    dense.set_weights([np.array([[1.0, -1.0], [2.0, 0.5]]), np.zeros(2)])
    back = deconvnet.reconstruct(model, np.ones((1, 2, 1), np.float32), "dense")
    assert back[..., 0].tolist() == [[[3.0, 6.0]], [[0.0, 0.0]]]  # responses 3 and max(0, -0.5)


def test_shuffled_weights_keep_their_values():
    model = builders.alexnet(input_size=64, width=0.1)
    copy = deconvnet.randomized(model, ["conv2"], seed=1)
    for layer in ("conv1", "conv2", "conv3"):
        old, new = (m.get_layer(layer).get_weights()[0] for m in (model, copy))
        assert np.array_equal(np.sort(old.ravel()), np.sort(new.ravel()))
        assert np.array_equal(old, new) == (layer != "conv2")


def test_bad_requests_are_refused(one_filter):
    model, image = one_filter(1.0), np.ones((2, 2, 1), np.float32)
    with pytest.raises(
        ValueError, match="unknown rule 'saliency': choose one of deconvnet, guided, gradient"
    ):
        deconvnet.reconstruct(model, image, "pool", rule="saliency")
    with pytest.raises(ValueError, match="no layer 'conv9'"):
        deconvnet.reconstruct(model, image, "conv9")
    with pytest.raises(ValueError, match=r"units must be between 0 and 0, got \[1\]"):
        deconvnet.reconstruct(model, image, "pool", [1])
    with pytest.raises(ValueError, match="takes images of shape"):
        deconvnet.reconstruct(model, np.ones((3, 3, 1), np.float32), "pool")
    start = keras.Input((2, 2, 1))
    branches = keras.layers.Add(name="add")([keras.layers.ReLU()(start), start])
    with pytest.raises(ValueError, match="is not a chain up to add"):
        deconvnet.reconstruct(keras.Model(start, branches), image, "add")


HAND_COMPUTED = (
    "test_by_hand_switches_and_rules",
    "test_by_hand_the_three_rules_differ_where_the_relu_was_off",
    "test_deconvnet_is_a_chain_of_transposed_convolutions",
    "test_strided_transposed_convolution_is_the_adjoint",
    "test_plain_gradient_is_the_backends_own",
)


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_on_another_backend(backend):
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    tests = [f"{__file__}::{name}" for name in HAND_COMPUTED]
    environment = os.environ | {"KERAS_BACKEND": backend}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *tests], env=environment, capture_output=True
    )
    assert done.returncode == 0, done.stdout.decode()


def gradient_of_ones(model, image, layer):
    """TensorFlow's gradient of the sum of each map with respect to the image: (units, h, w, c)."""
    import tensorflow as tf

    head = keras.Model(model.inputs, model.get_layer(layer).output)
    x = tf.constant(image[None])
    with tf.GradientTape() as tape:
        tape.watch(x)
        sums = tf.reduce_sum(head(x), axis=(0, 1, 2))
    return tape.jacobian(sums, x).numpy()[:, 0]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="compares with TensorFlow's gradients")
@pytest.mark.parametrize(
    "layers",
    [
        [keras.layers.Conv2D(4, 3, strides=(2, 1), activation="relu")],
        [keras.layers.Conv2D(4, (5, 3), strides=2, activation="relu", padding="same")],
        [keras.layers.Conv2D(4, (3, 2), strides=(1, 3), padding="same"), keras.layers.ReLU()],
        [keras.layers.Conv2D(4, 3, dilation_rate=2, activation="relu")],
        [keras.layers.Conv2D(4, 3), keras.layers.ReLU(max_value=0.2)],
        [keras.layers.Conv2D(4, 3), keras.layers.ReLU(negative_slope=0.5)],
        [keras.layers.Conv2D(4, 3, activation="relu6")],
        [keras.layers.Conv2D(4, 3), keras.layers.LeakyReLU(0.1)],
    ],
)
def test_the_gradient_rule_is_the_gradient_for_every_stride_kernel_and_rectifier(layers):
    keras.utils.set_random_seed(0)
    model = chain(*[layer.__class__.from_config(layer.get_config()) for layer in layers])
    last, image = model.layers[-1].name, picture()
    back = deconvnet.reconstruct(model, image, last, rule="gradient", seed="ones")
    np.testing.assert_allclose(back, gradient_of_ones(model, image, last), atol=1e-5)


@pytest.mark.parametrize("layer", [keras.layers.ReLU(max_value=6.0), keras.layers.LeakyReLU(0.1)])
@pytest.mark.parametrize("rule", ["deconvnet", "guided"])
def test_other_rectifiers_are_refused_by_name_where_the_rule_is_not_made_for_them(layer, rule):
    model = chain(
        keras.layers.Conv2D(2, 3), layer.__class__.from_config(layer.get_config() | {"name": "odd"})
    )
    with pytest.raises(ValueError, match=f"cannot reverse odd by {rule}: it is not a plain ReLU"):
        deconvnet.reconstruct(model, picture(), "odd", rule=rule)


@pytest.mark.parametrize("rule", list(deconvnet.RULES))
def test_a_sequential_model_is_the_functional_one_with_the_same_layers(rule):
    def layers():
        first = keras.layers.Conv2D(3, 3, padding="same", activation="relu")  # of the image's own shape
        second = keras.layers.Conv2D(4, 3, activation="relu")
        return first, second, keras.layers.MaxPooling2D(2, name="pool")

    functional = chain(*layers())
    sequential = keras.Sequential([keras.Input((8, 8, 3)), *layers()])
    sequential.set_weights(functional.get_weights())
    expected = deconvnet.reconstruct(functional, picture(), "pool", rule=rule)
    assert np.abs(expected).max() > 0
    assert np.array_equal(deconvnet.reconstruct(sequential, picture(), "pool", rule=rule), expected)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Conv2D(2, 3, activation=lambda x: keras.ops.relu(x), name="odd"),
        keras.layers.Conv2D(2, 3, activation=keras.layers.ReLU(), name="odd"),
        keras.layers.Lambda(keras.ops.relu, name="odd"),
    ],
    ids=["lambda", "layer", "Lambda"],
)
def test_a_relu_that_cannot_be_seen_is_refused_by_name_and_its_gradient_is_right(layer):
    model, image = chain(layer), picture()
    for rule in ("deconvnet", "guided"):
        with pytest.raises(ValueError, match=f"cannot reverse odd by {rule}"):
            deconvnet.reconstruct(model, image, "odd", rule=rule)
    back = deconvnet.reconstruct(model, image, "odd", rule="gradient", seed="ones")
    np.testing.assert_allclose(back, gradient_of_ones(model, image, "odd"), atol=1e-5)


def test_channels_that_come_first_are_refused_by_name():
    start = keras.Input((8, 8, 8))
    pool = keras.layers.MaxPooling2D(2, data_format="channels_first", name="odd")(start)
    with pytest.raises(ValueError, match="cannot reverse odd: its channels come first"):
        deconvnet.reconstruct(
            keras.Model(start, pool), np.zeros((8, 8, 8), "float32"), "odd", rule="gradient"
        )


def relu(x):
    """Another function with the name of Keras's: a curve, not a corner."""
    return ops.tanh(x)


def test_another_function_of_the_name_of_a_relu_is_no_relu():
    conv = keras.layers.Conv2D(2, 3, activation=relu, name="conv")
    model, image = chain(conv, shape=(6, 6, 3)), picture((6, 6, 3))
    with pytest.raises(ValueError, match="its activation is none of Keras's functions"):
        deconvnet.reconstruct(model, image, "conv", [0], rule="guided")
    found = deconvnet.reconstruct(model, image, "conv", [0], rule="gradient", seed="map")
    maps = activations(model, "conv", image[None])
    signal = np.where(np.arange(2) == 0, maps, 0).astype(np.float32)
    expected = vjp(model, ops.convert_to_tensor(image[None]), ops.convert_to_tensor(signal))[1]
    np.testing.assert_allclose(found, ops.convert_to_numpy(expected), atol=1e-5)


@pytest.mark.parametrize("batch_size", [0, -1, 1.5])
def test_batches_that_cannot_be_are_refused(batch_size):
    model = chain(keras.layers.Conv2D(2, 3, name="conv"))
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        deconvnet.reconstruct(model, picture(), "conv", batch_size=batch_size)
