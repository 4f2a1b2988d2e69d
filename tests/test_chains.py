"""Receptive fields: by hand, and by disturbing pixels."""

import keras
import numpy as np
import pytest

from cnninte_utils import models
from cnninte_utils.activations import activations
from cnninte_utils.chains import ReceptiveField, receptive_field


def test_alexnet_by_hand():
    """227 pixels, VALID: 11/4, then 3/2: fields of 19 pixels, 8 apart, the first centred on pixel 9."""
    model = models.alexnet(input_size=227, width=0.05, padding="valid", variant="one_tower", head="pooling")
    assert receptive_field(model, "conv1") == ReceptiveField(11, 4, 5.0)
    assert receptive_field(model, "maxpool1") == ReceptiveField(19, 8, 9.0)


@pytest.mark.parametrize("layer", ["conv1", "maxpool1", "conv2"])
def test_field_is_where_pixels_matter(layer):
    model = models.alexnet(input_size=64, width=0.05, first_kernel=7, first_stride=2, variant="one_tower",
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


def test_branches_are_refused():
    image = keras.Input((8, 8, 3))
    one, other = (keras.layers.Conv2D(2, 3, name=name)(image) for name in ("one", "other"))
    model = keras.Model(image, keras.layers.Add(name="sum")([one, other]))
    with pytest.raises(ValueError, match="not a chain up to sum"):
        receptive_field(model, "sum")
