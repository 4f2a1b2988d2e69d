"""Activation maximisation finds what a known unit likes."""

import keras
import numpy as np
import pytest

from cnninte_utils.methods.units.activation_maximization import maximize


@pytest.fixture
def model():
    """Unit 0 likes bright pixels, unit 1 dark ones, unit 2 vertical edges."""
    start = keras.Input((8, 8, 1))
    conv = keras.layers.Conv2D(3, 2, name="conv")
    network = keras.Model(start, keras.layers.ReLU(name="relu")(conv(start)))
    kernel = np.zeros((2, 2, 1, 3))
    kernel[..., 0, 0], kernel[..., 0, 1] = 1, -1
    kernel[:, 0, 0, 2], kernel[:, 1, 0, 2] = 1, -1
    conv.set_weights([kernel, np.array([0.0, 4.0, 0.0])])
    return network


def test_images_are_what_the_units_like(model):
    images, reached = maximize(model, "relu", [0, 1, 2], steps=80, step_size=0.05, decay=0.001)
    assert images[0].min() > 0.9
    assert images[1].max() < 0.1
    across, down = np.abs(np.diff(images[2, ..., 0], axis=1)), np.abs(np.diff(images[2, ..., 0], axis=0))
    assert across.mean() > 3 * down.mean()
    assert (reached[-1] > reached[0]).all()


def test_decay_pulls_towards_grey_and_the_seed_decides(model):
    weak, strong = (maximize(model, "conv", [0], steps=40, decay=d)[0] for d in (0.0, 0.2))
    assert np.abs(strong - 0.5).mean() < np.abs(weak - 0.5).mean()
    again, other = (maximize(model, "conv", [0], steps=3, random_state=s)[0] for s in (0, 1))
    assert np.array_equal(again, maximize(model, "conv", [0], steps=3)[0])
    assert not np.array_equal(again, other)


def test_blur_takes_the_finest_patterns_out(model):
    def roughness(image):
        return np.abs(np.diff(image, axis=0)).mean() + np.abs(np.diff(image, axis=1)).mean()

    sharp, smooth = (maximize(model, "relu", [2], steps=40, blur=b)[0][0] for b in (0.0, 1.5))
    assert roughness(smooth) < 0.7 * roughness(sharp)
    # a unit that likes all pixels bright has the same gradient everywhere, which no blur changes
    for one, other in zip(
        *(maximize(model, "conv", [0], steps=3, max_shift=0, blur=b) for b in (0, 1e-3)), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_unknown_layers_and_units_are_refused(model):
    with pytest.raises(ValueError, match="no layer 'conv9'"):
        maximize(model, "conv9", [0])
    with pytest.raises(ValueError, match=r"units must be between 0 and 2, got \[3\]"):
        maximize(model, "conv", [3])
