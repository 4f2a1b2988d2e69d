"""Receptive fields: by hand, and by disturbing pixels."""

import keras
import numpy as np
import pytest

from cnninte_utils.methods import attribution
from cnninte_utils.methods.units import deconvnet
from cnninte_utils.networks import builders, lookup, targets
from cnninte_utils.networks.activations import activations, predict
from cnninte_utils.networks.lookup import ReceptiveField, receptive_field


def test_alexnet_by_hand():
    """227 pixels, VALID: 11/4, then 3/2: fields of 19 pixels, 8 apart, the first centred on pixel 9."""
    model = builders.alexnet(input_size=227, width=0.05, padding="valid", variant="one_tower", head="pooling")
    assert receptive_field(model, "conv1") == ReceptiveField(11, 4, 5.0)
    assert receptive_field(model, "maxpool1") == ReceptiveField(19, 8, 9.0)


@pytest.mark.parametrize("layer", ["conv1", "maxpool1", "conv2"])
def test_field_is_where_pixels_matter(layer):
    model = builders.alexnet(input_size=64, width=0.05, first_kernel=7, first_stride=2, variant="one_tower",
                           head="pooling")  # fmt: skip
    linear = keras.models.clone_model(
        model, clone_function=lambda old: type(old).from_config(old.get_config() | _linear(old))
    )
    linear.set_weights([np.abs(w) + 0.01 for w in model.get_weights()])
    field = receptive_field(linear, layer)
    row = activations(linear, layer, np.zeros((1, 64, 64, 3), np.float32)).shape[1] // 2
    lit = np.zeros((64, 64, 64, 3), np.float32)
    lit[np.arange(64), np.arange(64)] = 1
    changed = activations(linear, layer, lit)[:, row] - activations(linear, layer, 0 * lit[:1])[:, row]
    seen = np.flatnonzero(np.abs(changed).max(axis=(1, 2)) > 0)
    assert len(seen) == field.size
    assert (seen[0] + seen[-1]) / 2 == field.offset + row * field.stride


def _linear(layer):
    return {"activation": "linear"} if isinstance(layer, keras.layers.Conv2D) else {}


def lit_rows(model):
    """Return the rows of a 32-pixel image on which the middle row of a linear network's output depends."""
    model.set_weights([np.abs(w) + 0.01 for w in model.get_weights()])
    lit = np.zeros((33, 32, 32, 1), np.float32)
    lit[np.arange(32), np.arange(32)] = 1
    maps = model.predict(lit, verbose=0)
    row = maps.shape[1] // 2
    return row, np.flatnonzero(np.abs(maps[:32, row] - maps[32:, row]).max(axis=(1, 2)) > 1e-6)


LAYERS = keras.layers


@pytest.mark.parametrize(
    "steps",
    [
        [LAYERS.ZeroPadding2D(3), LAYERS.Conv2D(2, 7, strides=2)],
        [LAYERS.ZeroPadding2D(((0, 1), (0, 1))), LAYERS.DepthwiseConv2D(3, strides=2), LAYERS.Conv2D(2, 3)],
        [LAYERS.Conv2D(2, 3, dilation_rate=4)],
        [LAYERS.Conv2D(2, 3, dilation_rate=4, padding="same"), LAYERS.AveragePooling2D(3, 2)],
        [LAYERS.SeparableConv2D(2, 5, padding="same", strides=2), LAYERS.Conv2D(2, 2, padding="same")],
    ],
)
def test_field_is_where_pixels_matter_with_padding_dilation_and_depthwise_layers(steps):
    image = x = keras.Input((32, 32, 1))
    for step in steps:
        x = step(x)
    model = keras.Model(image, x)
    row, seen = lit_rows(model)
    field = receptive_field(model, steps[-1].name)
    assert seen[-1] - seen[0] + 1 == field.size
    assert (seen[0] + seen[-1]) / 2 == field.offset + row * field.stride


@pytest.mark.parametrize(
    "layer",
    [
        LAYERS.Cropping2D(4, name="other"),
        LAYERS.UpSampling2D(2, name="other"),
        LAYERS.Conv2DTranspose(2, 3, padding="same", name="other"),
        LAYERS.GlobalAveragePooling2D(name="other"),
    ],
)
def test_layers_whose_fields_are_not_known_are_refused(layer):
    image = keras.Input((32, 32, 1))
    model = keras.Model(image, layer(image))
    with pytest.raises(ValueError, match=r"what one position sees through other, a .*, is not known"):
        receptive_field(model, "other")


def test_branches_are_refused():
    image = keras.Input((8, 8, 3))
    one, other = (keras.layers.Conv2D(2, 3, name=name)(image) for name in ("one", "other"))
    model = keras.Model(image, keras.layers.Add(name="sum")([one, other]))
    with pytest.raises(ValueError, match="not a chain up to sum"):
        receptive_field(model, "sum")


class OwnModel(keras.Model):
    """Of no layers that can be asked for."""

    def call(self, x):
        return x


UNFIT = {
    "none": (None, "expected a keras.Model, got NoneType"),
    "word": ("alexnet", "expected a keras.Model, got str"),
    "unbuilt": (keras.Sequential([keras.layers.Conv2D(2, 3)], name="s"), "s knows no image's shape yet"),
    "own": (OwnModel(name="mine"), r"mine is a class of its own: build it of layers"),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_what_is_no_network_of_layers_is_refused_at_every_entrance(kind):
    model, message = UNFIT[kind]
    images = np.zeros((1, 8, 8, 3), np.float32)
    entrances = (
        lambda: lookup.feature_layers(model),
        lambda: lookup.images_at_once(model),
        lambda: lookup.chosen_layers(model, ["conv"]),
        lambda: lookup.receptive_field(model, "conv"),
        lambda: targets.logits(model),
        lambda: predict(model, images),
        lambda: attribution.gradient(model, images, [0]),
        lambda: deconvnet.reconstruct(model, images[0], "conv"),
    )
    for entrance in entrances:
        with pytest.raises((TypeError, ValueError), match=message):
            entrance()


def test_feature_layers_of_a_sequential_are_those_of_the_same_functional_model():
    steps = [
        keras.Input((12, 12, 3)),
        keras.layers.Conv2D(2, 3, name="a"),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(name="on"),
        keras.layers.Conv2D(2, 3, activation="relu", name="b"),
    ]
    assert lookup.feature_layers(keras.Sequential(steps)) == ["on", "b"]
