"""The engine: by hand, against the backend's own gradients in networks of every kind of layer."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers, ops
from toy_networks import pictures, with_noise

from cnninte_utils.methods.units import deconvnet
from cnninte_utils.networks import backward, builders, targets
from cnninte_utils.networks.gradients import vjp
from cnninte_utils.networks.parts import GroupedConv2D, LocalResponseNormalization


def noise(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def both_gradients(model, images, seed=2):
    """Return the engine's gradient of a random combination of outputs, and the backend's own."""
    x = ops.convert_to_tensor(images)
    v = ops.convert_to_tensor(noise((len(images), *model.output_shape[1:]), seed))
    trace = backward.trace(backward.steps(model), x)
    outputs, expected = vjp(lambda x: model(x, training=False), x, v)
    np.testing.assert_allclose(trace.output, outputs, atol=1e-5 * np.abs(outputs).max() + 1e-12)
    return np.asarray(trace.down(v)), np.asarray(expected)


def assert_same(found, expected, tolerance=1e-6):
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(found, expected, atol=tolerance * max(1, np.abs(expected).max()))


SMALL = {
    "mnist_cnn": lambda: builders.mnist_cnn(),
    "alexnet": lambda: builders.alexnet(input_size=64, width=0.1, mean=[0.5, 0.4, 0.3], std=[0.2, 0.3, 0.25]),
    "alexnet_b": lambda: builders.alexnet(
        input_size=64, width=0.1, variant="one_tower", head="pooling", batch_norm=True
    ),
    "vgg19": lambda: builders.vgg19(input_size=32, width=0.05, head="fc"),
    "resnet": lambda: builders.resnet(depth=8, input_size=16, width=0.5, mean=[0.5] * 3, std=[0.2] * 3),
    "densenet": lambda: builders.densenet(depth=10, growth=4, input_size=16),
}


@pytest.mark.parametrize("name", SMALL)
def test_gradient_is_the_backends_own_in_every_network_of_the_series(name):
    model = targets.logits(with_noise(SMALL[name]()))
    assert_same(*both_gradients(model, pictures(model.input_shape[1:])))


def block(kind, x, step):
    """Put one random block of layers on feature maps x."""
    name, width = f"{kind}{step}", x.shape[-1]
    if kind == "conv_relu":
        return layers.Conv2D(4, 3, padding="same", activation="relu", name=name)(x)
    if kind == "strided":
        return layers.ReLU(name=f"relu_{name}")(layers.Conv2D(4, 3, 2, padding="same", name=name)(x))
    if kind == "dilated":
        return layers.Conv2D(4, 2, dilation_rate=2, padding="same", activation="relu", name=name)(x)
    if kind == "grouped":
        x = layers.Conv2D(4, 1, name=f"to_{name}")(x)
        return GroupedConv2D(6, 3, groups=2, padding="same", activation="relu", name=name)(x)
    if kind == "overlapping":
        return layers.MaxPooling2D(3, 2, padding="same", name=name)(x)
    if kind == "average":
        return layers.AveragePooling2D(2, 1, padding="same", name=name)(x)
    if kind == "norm":
        return layers.Activation("relu", name=f"relu_{name}")(layers.BatchNormalization(name=name)(x))
    if kind == "lrn":
        return LocalResponseNormalization(alpha=0.5, name=name)(x)
    if kind == "residual":
        return layers.Add(name=name)([x, layers.Conv2D(width, 3, padding="same", name=f"in_{name}")(x)])
    if kind == "dense":
        new = layers.Conv2D(3, 1, activation="relu", name=f"in_{name}")(x)
        return layers.Concatenate(name=name)([new, x])
    if kind == "padding":
        return layers.ZeroPadding2D(1, name=name)(x)
    return layers.SpatialDropout2D(0.5, name=name)(layers.Dropout(0.5, name=f"own_{name}")(x))


BLOCKS = (
    "conv_relu", "strided", "dilated", "grouped", "overlapping", "average", "norm", "lrn", "residual",
    "dense", "padding", "dropout",
)  # fmt: skip


def network(kinds, head, seed):
    keras.utils.set_random_seed(seed)
    image = keras.Input((9, 8, 3), name="image")
    x = layers.Normalization(mean=[0.5, 0.4, 0.3], variance=[0.04, 0.09, 0.16], name="standardize")(image)
    for step, kind in enumerate(kinds):
        x = block(kind, x, step)
    if head == "flat":
        x = layers.Flatten(name="flatten")(x)
    else:
        pooling = layers.GlobalAveragePooling2D if head == "average" else layers.GlobalMaxPooling2D
        x = pooling(name="pooling")(x)
    x = layers.Dense(5, activation="relu", name="fc1")(x)
    return with_noise(keras.Model(image, layers.Dense(4, name="fc2")(x)), seed)


@settings(max_examples=25)
@given(
    kinds=st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=5),
    head=st.sampled_from(["flat", "average", "max"]),
    seed=st.integers(0, 10),
)
def test_gradient_is_the_backends_own_in_random_networks(kinds, head, seed):
    model = network(kinds, head, seed)
    assert {step.kind for step in backward.steps(model)} <= set(backward.KINDS)
    found, expected = both_gradients(model, pictures((9, 8, 3)))
    np.testing.assert_allclose(found, expected, atol=1e-6 * max(1, np.abs(expected).max()))


def test_gradient_with_every_block_at_once():
    model = network(BLOCKS, "flat", 3)
    assert {step.kind for step in backward.steps(model)} == set(backward.KINDS)
    assert_same(*both_gradients(model, pictures((9, 8, 3))))


@settings(max_examples=15)
@given(kinds=st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=4), seed=st.integers(0, 10))
def test_folding_changes_no_number(kinds, seed):
    model = network(["conv_relu", "norm", "strided", *kinds, "norm"], "average", seed)
    x = ops.convert_to_tensor(pictures((9, 8, 3)))
    plain, folded = (backward.trace(backward.steps(model, folded=f), x) for f in (False, True))
    scale = np.abs(plain.output).max()
    np.testing.assert_allclose(folded.output, plain.output, atol=1e-5 * scale)
    start = ops.ones_like(plain.output)
    found, expected = (np.asarray(trace.down(start)) for trace in (folded, plain))
    np.testing.assert_allclose(found, expected, atol=1e-4 * max(1, np.abs(expected).max()))


def test_folding_by_hand():
    # conv: 2x + 1; norm: 3 (z - 5) / sqrt(4) + 1 → 3x - 5
    image = keras.Input((1, 1, 1))
    conv = layers.Conv2D(1, 1, name="conv")
    norm = layers.BatchNormalization(epsilon=0.0, name="norm")
    model = keras.Model(image, layers.Flatten()(norm(conv(image))))
    conv.set_weights([np.full((1, 1, 1, 1), 2.0), np.array([1.0])])
    norm.set_weights([np.array([v]) for v in (3.0, 1.0, 5.0, 4.0)])
    first, _ = backward.steps(model, folded=True)
    assert (first.name, first.kind) == ("norm", "convolution")
    assert np.asarray(first.kernel).ravel().tolist() == [3.0]
    assert np.asarray(first.bias).tolist() == [-5.0]


def test_a_normalisation_that_is_not_alone_or_not_after_weights_stays():
    image = keras.Input((4, 4, 2))
    conv = layers.Conv2D(2, 1, name="conv")(image)
    norm = layers.BatchNormalization(name="norm")(conv)
    both = layers.Add(name="add")([conv, norm])
    model = keras.Model(image, layers.BatchNormalization(name="after_add")(both))
    kinds = [step.kind for step in backward.steps(model, folded=True)]
    assert kinds == ["convolution", "batch_norm", "add", "batch_norm"]


def test_by_hand_overlapping_windows_add():
    # h = (1, 3, 2), windows of two: maxima (3, 3); a signal (1, 2) comes back as (0, 3, 0)
    image = keras.Input((1, 3, 1))
    model = keras.Model(image, layers.Flatten()(layers.MaxPooling2D((1, 2), 1, name="pool")(image)))
    trace = backward.trace(
        backward.steps(model), ops.convert_to_tensor(np.array([1.0, 3, 2], np.float32).reshape(1, 1, 3, 1))
    )
    assert np.asarray(trace.output).tolist() == [[3, 3]]
    down = trace.down(ops.convert_to_tensor(np.array([[1.0, 2]], np.float32)))
    assert np.asarray(down).ravel().tolist() == [0, 3, 0]


def test_a_layer_with_a_relu_is_two_steps_and_its_name_is_that_of_the_second():
    model = builders.mnist_cnn((8, 8, 1))
    found = backward.steps(targets.logits(model))
    assert [step.name for step in found[:3]] == ["conv1 before its ReLU", "conv1", "pool1"]
    assert [step.kind for step in found] == [
        "convolution", "relu", "max_pooling", "convolution", "relu", "max_pooling", "shape", "dense", "relu",
        "shape", "dense",
    ]  # fmt: skip
    assert found[-1].linear is not None
    assert found[-1].kernel.shape == (128, 10)


def test_the_signal_can_be_stopped_on_its_way():
    model = targets.logits(builders.resnet(depth=8, input_size=16, width=0.5))
    images = ops.convert_to_tensor(pictures((16, 16, 3)))
    trace = backward.trace(backward.steps(model), images)
    start = ops.one_hot([1, 2, 3], 10)
    found = trace.down(start, until="relu_add3")  # which two layers take
    head = keras.Model(model.get_layer("relu_add3").output, model.output)
    _, expected = vjp(head, trace["relu_add3"].output, start)
    assert_same(np.asarray(found), np.asarray(expected))
    with pytest.raises(ValueError, match="unknown step 'relu_add4': choose one of conv1, bn_conv1"):
        trace.down(start, until="relu_add4")


@pytest.mark.parametrize("rule", deconvnet.RULES)
@pytest.mark.parametrize("lrn", ["identity", "gradient"])
def test_deconvnet_is_one_of_the_engines_rules(rule, lrn):
    model = builders.alexnet(input_size=64, width=0.1)
    image = pictures((64, 64, 3), 1)
    until = keras.Model(model.inputs, model.get_layer("maxpool5").output)
    units = [0, 4, 7]
    expected = deconvnet.reconstruct(model, image[0], "maxpool5", units, rule=rule, lrn=lrn, seed="map")
    trace = backward.trace(backward.steps(until), ops.convert_to_tensor(image))
    rules = {"relu": backward.RELU_RULES[rule]}
    if lrn == "identity":
        rules["lrn"] = lambda record, signal: signal
    for unit, one in zip(units, expected, strict=True):
        seed = trace.output * ops.one_hot(unit, trace.output.shape[-1])
        found = np.asarray(trace.down(seed, rules))[0]
        np.testing.assert_allclose(found, one, atol=2e-6 * max(1, np.abs(one).max()))


def test_box_and_first_layer():
    model = targets.logits(SMALL["alexnet"]())
    network_ = backward.steps(model)
    assert backward.first_linear(network_) == {"conv1 before its ReLU"}
    ((low, high),) = backward.box(network_, (64, 64, 3), 0, 1).values()
    mean, std = np.array([0.5, 0.4, 0.3]), np.array([0.2, 0.3, 0.25])
    np.testing.assert_allclose(np.asarray(low)[0, 5, 5], -mean / std, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(high)[0, 5, 5], (1 - mean) / std, rtol=1e-5)


def relu(x):
    """Another function of the name of Keras's."""
    return ops.tanh(x)


def linear(x):
    """Another function of the name of Keras's."""
    return x * x


def _one(layer, shape=(4, 4, 2)):
    image = keras.Input(shape)
    return keras.Model(image, layer(image))


def _used_twice():
    image = keras.Input((4, 4, 2))
    conv = layers.Conv2D(2, 1, name="twice")
    return keras.Model(image, conv(conv(image)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: _one(layers.LayerNormalization(name="odd")), "odd, a LayerNormalization"),
        (lambda: _one(layers.LeakyReLU(name="odd")), "odd, a LeakyReLU"),
        (lambda: _one(layers.ReLU(max_value=6, name="odd")), "odd, a ReLU with a slope"),
        (lambda: _one(layers.Conv2DTranspose(2, 1, name="odd")), "odd, a Conv2DTranspose"),
        (lambda: _one(layers.DepthwiseConv2D(1, name="odd")), "odd, a DepthwiseConv2D"),
        (lambda: _one(layers.Conv2D(2, 1, activation="tanh", name="odd")), "odd: its activation is tanh"),
        (lambda: _one(layers.Activation("sigmoid", name="odd")), "odd: its activation is sigmoid"),
        (
            lambda: _one(layers.Conv2D(2, 1, activation=relu, name="odd")),
            "odd: its activation is relu, not Keras's",
        ),
        (lambda: _one(layers.Activation(linear, name="odd")), "odd: its activation is linear, not Keras's"),
        (lambda: _one(builders.mnist_cnn((4, 4, 2))), "mnist_cnn, a Functional"),
        (_used_twice, "uses twice, or what it takes, more than once"),
    ],
)
def test_layers_without_a_rule_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        backward.steps(make())


def test_the_model_is_not_altered():
    model = with_noise(SMALL["resnet"]())
    before, config = [w.copy() for w in model.get_weights()], model.to_json()
    both_gradients(targets.logits(model), pictures((16, 16, 3)))
    backward.steps(targets.logits(model), folded=True)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert model.to_json() == config
