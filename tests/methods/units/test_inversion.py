"""Images that a layer takes for others: all of one where nothing is lost, and only what is kept."""

import keras
import numpy as np
import pytest
from keras import layers
from toy_networks import pictures, with_noise

from cnninte_utils.methods.units.inversion import invert
from cnninte_utils.networks import builders


def network():
    """What leaves `same` is the image itself, of `red` only the red is left, of `mean` only its mean."""
    image = keras.Input((4, 4, 3), name="image")
    same = layers.Conv2D(3, 1, use_bias=False, name="same")
    red = layers.Conv2D(1, 1, use_bias=False, name="red")
    x = red(same(image))
    model = keras.Model(image, layers.GlobalAveragePooling2D(name="mean")(x))
    same.set_weights([np.eye(3).reshape(1, 1, 3, 3)])
    red.set_weights([np.float32([1, 0, 0]).reshape(1, 1, 3, 1)])
    return model


IMAGES = 0.2 + 0.6 * pictures((4, 4, 3), 2)
FREE = {"bound": 0.0, "smoothness": 0.0, "steps": 200}


def test_what_the_layer_keeps_comes_back_and_what_it_drops_does_not():
    found, errors = invert(network(), "same", IMAGES, **FREE)
    np.testing.assert_allclose(found, IMAGES, atol=0.02)
    assert errors.max() < 1e-3
    found, errors = invert(network(), "red", IMAGES, **FREE)
    np.testing.assert_allclose(found[..., 0], IMAGES[..., 0], atol=0.02)
    assert np.abs(found[..., 1] - IMAGES[..., 1]).mean() > 0.1
    np.testing.assert_allclose(found[0, ..., 1:], found[1, ..., 1:], atol=0.02)  # the noise, as it began
    found, errors = invert(network(), "mean", IMAGES, **FREE)
    np.testing.assert_allclose(found[..., 0].mean(axis=(1, 2)), IMAGES[..., 0].mean(axis=(1, 2)), atol=0.01)
    assert np.abs(found - IMAGES).mean() > 0.05
    assert errors.max() < 1e-3


def test_errors_are_those_of_the_images_found():
    model = with_noise(builders.resnet(depth=8, input_size=16))
    images = pictures((16, 16, 3), 2)
    found, errors = invert(model, "relu_add3", images, steps=5)
    features = keras.Model(model.inputs, model.get_layer("relu_add3").output)
    wanted, had = (features.predict(x, verbose=0).reshape(2, -1) for x in (images, found))
    expected = ((had - wanted) ** 2).sum(axis=1) / (wanted**2).sum(axis=1)
    np.testing.assert_allclose(errors, expected, rtol=1e-3)
    assert found.shape == images.shape
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 1
    fewer, _ = invert(model, "relu_add3", images[1:], steps=5)
    np.testing.assert_allclose(fewer, found[1:], atol=1e-3)  # an image does not depend on the others


def test_more_steps_come_nearer_and_smoothness_makes_smooth():
    model = with_noise(builders.resnet(depth=8, input_size=16))
    images = pictures((16, 16, 3), 2)
    few, many = (invert(model, "relu_add3", images, steps=n)[1].mean() for n in (2, 80))
    assert many < few / 2
    rough, smooth = (invert(model, "relu_add3", images, steps=40, smoothness=s)[0] for s in (0.0, 10.0))
    assert np.abs(np.diff(smooth, axis=1)).mean() < 0.5 * np.abs(np.diff(rough, axis=1)).mean()


def test_what_cannot_be_is_refused_and_the_network_is_not_altered():
    model = network()
    before = model.get_weights()
    with pytest.raises(ValueError, match="no layer 'conv9'"):
        invert(model, "conv9", IMAGES)
    with pytest.raises(ValueError, match="red puts out nothing but zeros for image 1"):
        invert(model, "red", np.stack([IMAGES[0], np.zeros_like(IMAGES[0])]))
    with pytest.raises(ValueError, match=r"floats in \[0, 1\]"):
        invert(model, "red", IMAGES * 255)
    with pytest.raises(ValueError, match="steps"):
        invert(model, "red", IMAGES, steps=0)
    with pytest.raises(ValueError, match="smoothness"):
        invert(model, "red", IMAGES, smoothness=float("nan"))
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
