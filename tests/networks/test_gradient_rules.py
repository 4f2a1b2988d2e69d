"""The rule "gradient", of the deconvnet and of the engine, is autodiff in random chains of all layers."""

import keras
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from keras import layers
from toy_networks import pictures, with_noise

from cnninte_utils.methods.units import deconvnet
from cnninte_utils.networks import backward, gradients
from cnninte_utils.networks.parts import LocalResponseNormalization

SHAPE = (9, 8, 3)
SIDES = st.tuples(st.integers(1, 3), st.integers(1, 3))
PADDINGS = st.sampled_from(["same", "valid"])


def convolutions():
    options = {
        "kernel": SIDES, "strides": SIDES, "dilation": SIDES, "groups": st.sampled_from([1, 2]),
        "padding": PADDINGS, "use_bias": st.booleans(),
        "relu": st.sampled_from(["inside", "layer", "activation", "none"]),
    }  # fmt: skip
    return st.tuples(st.just("convolution"), st.fixed_dictionaries(options))


def poolings():
    options = {"pool": SIDES, "strides": SIDES, "padding": PADDINGS}
    return st.tuples(st.sampled_from(["max", "average"]), st.fixed_dictionaries(options))


def others():
    kinds = st.sampled_from(["norm", "lrn", "padding", "dropout", "relu"])
    return st.tuples(kinds, st.fixed_dictionaries({"around": st.tuples(SIDES, SIDES)}))


def layers_of(kind, options, x):
    """Return the layers of one random block on feature maps x; what would not fit is made smaller."""
    height, width = x.shape[1:3]
    room = (height, width)
    if kind == "convolution":
        kernel = tuple(min(k, side) for k, side in zip(options["kernel"], room, strict=True))
        is_strided = options["strides"] != (1, 1)
        fits = all(
            1 + (k - 1) * d <= side for k, d, side in zip(kernel, options["dilation"], room, strict=True)
        )
        shared = {"padding": options["padding"], "use_bias": options["use_bias"], "groups": options["groups"]}
        conv = layers.Conv2D(
            4, kernel, strides=options["strides"], **shared,
            dilation_rate=options["dilation"] if fits and not is_strided else 1,
            activation="relu" if options["relu"] == "inside" else None,
        )  # fmt: skip
        before = [layers.Conv2D(2, 1)] if x.shape[-1] % options["groups"] else []
        own = {"layer": [layers.ReLU()], "activation": [layers.Activation("relu")]}
        return [*before, conv, *own.get(options["relu"], [])]
    if kind in ("max", "average"):
        pool = tuple(min(p, side) for p, side in zip(options["pool"], room, strict=True))
        make = layers.MaxPooling2D if kind == "max" else layers.AveragePooling2D
        return [make(pool, options["strides"], padding=options["padding"])]
    single = {
        "norm": layers.BatchNormalization, "lrn": lambda: LocalResponseNormalization(alpha=0.5),
        "dropout": lambda: layers.Dropout(0.5), "relu": layers.ReLU,
        "padding": lambda: layers.ZeroPadding2D(options["around"]),
    }  # fmt: skip
    return [single[kind]()]


HEADS = {
    "maps": lambda: [],
    "flat": lambda: [layers.Flatten(), layers.Dense(4, activation="relu"), layers.Dense(3)],
    "global max": lambda: [layers.GlobalMaxPooling2D(), layers.Dense(3), layers.ReLU()],
    "global average": lambda: [layers.GlobalAveragePooling2D(), layers.Dense(3)],
}


def network(blocks, head, is_sequential, seed):
    image = x = keras.Input(SHAPE)
    chain = [layers.Rescaling(2.0, -0.5)]
    x = chain[0](x)
    for kind, options in blocks:
        for layer in layers_of(kind, options, x):
            x = layer(x)
            chain.append(layer)
    for layer in HEADS[head]():
        x = layer(x)
        chain.append(layer)
    functional = with_noise(keras.Model(image, x), seed)
    if not is_sequential:
        return functional
    again = keras.Sequential(
        [keras.Input(SHAPE), *(type(one).from_config(one.get_config()) for one in chain)]
    )
    again.set_weights(functional.get_weights())
    return again


def autodiff(model, image):
    """Return each unit's gradient of the sum of its map, (units, h, w, c)."""
    shape = (model.output_shape[-1], *model.output_shape[1:])
    starts = np.zeros(shape, np.float32)
    starts[np.arange(len(starts)), ..., np.arange(len(starts))] = 1
    return gradients.vector_jacobian_product(model, np.repeat(image[None], len(starts), axis=0), starts)[1]


EVERYTHING = {"kernel": (3, 2), "strides": (1, 1), "dilation": (2, 1), "groups": 1, "padding": "same",
              "use_bias": True, "relu": "inside"}  # fmt: skip


@settings(max_examples=25)
@given(
    blocks=st.lists(st.one_of(convolutions(), poolings(), others()), min_size=1, max_size=5),
    head=st.sampled_from(list(HEADS)),
    is_sequential=st.booleans(),
    seed=st.integers(0, 99),
)
@example([("convolution", EVERYTHING | {"strides": (2, 1), "dilation": (1, 1)})], "maps", True, 0)
@example([("convolution", EVERYTHING), ("max", {"pool": (3, 3), "strides": (2, 1), "padding": "same"})],
         "flat", False, 1)  # fmt: skip
@example([("convolution", EVERYTHING | {"groups": 2, "strides": (2, 2), "kernel": (3, 3)})], "maps", True, 2)
def test_the_gradient_rules_are_autodiff_in_random_chains(blocks, head, is_sequential, seed):
    model = network(blocks, head, is_sequential, seed)
    image = pictures(SHAPE, 1)[0]
    expected = autodiff(model, image)
    near = {"atol": 2e-6 * max(1, np.abs(expected).max())}
    last = model.layers[-1].name
    found = deconvnet.reconstruct(model, image, last, rule="gradient", seed="ones", lrn="gradient")
    np.testing.assert_allclose(found, expected, **near)
    several = keras.ops.convert_to_tensor(np.repeat(image[None], len(expected), axis=0))
    trace = backward.trace(backward.steps(model), several)
    units = keras.ops.one_hot(np.arange(len(expected)), len(expected))
    middle = (1,) * (len(trace.output.shape) - 2)
    start = keras.ops.reshape(units, (len(expected), *middle, len(expected)))
    start = keras.ops.broadcast_to(start, trace.output.shape)
    down = trace.down(start, {"relu": backward.RELU_RULES["gradient"]})
    np.testing.assert_allclose(down, expected, **near)


def _inner(make):
    start = keras.Input((9, 8, 3))
    end = layers.Conv2D(3, 3, padding="same", activation="relu")(start)
    if make is keras.Sequential:
        return keras.Sequential([start, layers.Conv2D(3, 3, padding="same", activation="relu")], name="inner")
    return keras.Model(start, end, name="inner")


@pytest.mark.parametrize("make_inner", [keras.Model, keras.Sequential])
@pytest.mark.parametrize("rule", list(deconvnet.RULES))
def test_models_within_models_are_refused_by_name(make_inner, rule):
    image = keras.Input(SHAPE)
    inner = _inner(make_inner)
    top = layers.ReLU(name="top")
    nested = keras.Model(image, top(inner(image)), name="outer")
    for model in (nested, keras.Sequential([keras.Input(SHAPE), inner, top], name="outer")):
        with pytest.raises(ValueError, match="outer holds another model, inner: build it of single layers"):
            deconvnet.reconstruct(model, pictures(SHAPE, 1)[0], "top", rule=rule)
        with pytest.raises(ValueError, match="no rule backwards for inner"):
            backward.steps(model)


def test_a_sequential_without_an_input_is_refused():
    model = keras.Sequential([layers.Conv2D(3, 3, name="conv")], name="open")
    for ask in (
        lambda: deconvnet.reconstruct(model, pictures(SHAPE, 1)[0], "conv"),
        lambda: backward.steps(model),
    ):
        with pytest.raises(ValueError, match="open knows no image's shape yet: begin it with"):
            ask()
