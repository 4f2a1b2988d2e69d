"""Two other libraries' numbers for one network: zennit's and captum's (see make_references.py)."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from cnninte_utils.methods import attribution
from cnninte_utils.networks.activations import predict

STORED = dict(np.load(Path(__file__).with_name("references.npz")))
IMAGES, BASELINE, TARGETS = (STORED[name] for name in ("images", "baseline", "targets"))


def network(*, is_average=False, has_first_bias=True):
    pool = layers.AveragePooling2D if is_average else layers.MaxPooling2D
    image = keras.Input((13, 13, 3), name="image")
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="conv1")(image)
    x = pool(2 if is_average else 3, 2, name="pool1")(x)
    x = layers.Conv2D(8, 3, activation="relu", name="conv2")(x)
    x = layers.Flatten(name="flatten")(pool(2, name="pool2")(x))
    x = layers.Dense(12, activation="relu", name="fc1")(x)
    model = keras.Model(image, layers.Dense(4, name="fc2")(x))
    for name in ("conv1", "conv2", "fc1", "fc2"):
        bias = STORED[f"{name}.bias"] * (has_first_bias or name != "conv1")
        model.get_layer(name).set_weights([STORED[f"{name}.kernel"], bias])
    return model


def lrp(**options):
    return lambda: attribution.lrp(network(), IMAGES, TARGETS, **options)


METHODS = {
    "gradient": lambda: attribution.gradient(network(), IMAGES, TARGETS),
    "gradient_input": lambda: attribution.gradient_input(network(), IMAGES, TARGETS),
    "guided": lambda: attribution.guided(network(), IMAGES, TARGETS),
    "deconvnet": lambda: attribution.deconvnet(network(), IMAGES, TARGETS),
    "integrated_gradients": lambda: attribution.integrated_gradients(
        network(), IMAGES, TARGETS, steps=20, baseline=BASELINE
    ),
    "deeplift": lambda: attribution.deeplift(network(is_average=True), IMAGES, TARGETS, baseline=BASELINE),
    "grad_cam": lambda: attribution.grad_cam(network(), IMAGES, TARGETS, layer="conv2", is_upsampled=False),
    "lrp epsilon": lrp(rule="epsilon", epsilon=0.25),
    "lrp gamma": lrp(rule="gamma", gamma=0.25),
    "lrp alpha_beta 1": lrp(rule="alpha_beta"),
    "lrp alpha_beta 2": lrp(rule="alpha_beta", alpha=2.0, beta=1.0),
    "lrp composite": lrp(),
    "lrp composite_flat": lrp(rule="composite_flat"),
    "lrp w2": lambda: attribution.lrp(
        network(has_first_bias=False), IMAGES, TARGETS, rule="epsilon", first="w2"
    ),
}


def test_the_networks_are_the_same():
    np.testing.assert_allclose(predict(network(), IMAGES), STORED["found logits"], atol=1e-5)
    assert set(METHODS) == {name[6:] for name in STORED if name.startswith("found ")} - {"logits"}


@pytest.mark.parametrize("name", METHODS)
def test_same_numbers_as_another_library(name):
    found, expected = METHODS[name](), STORED[f"found {name}"]
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())
