"""What a network is fed with, at every public entrance; and that it fits into memory."""

import subprocess
import sys
from functools import partial

import keras
import numpy as np
import pytest

from cnninte_utils.datasets import Split
from cnninte_utils.methods.cnn_inte import CNNINTE
from cnninte_utils.methods.layers import neighborhood
from cnninte_utils.methods.units import deconvnet
from cnninte_utils.networks import activations, builders, gradients, lookup
from cnninte_utils.papers import qdv

GOOD = np.random.default_rng(0).random((30, 64, 64, 3), np.float32)
WITH_NAN = np.where(np.arange(30)[:, None, None, None] == 29, np.nan, GOOD)
BAD = {
    "uint8": ((GOOD * 255).astype(np.uint8), "got uint8"),
    "0 … 255": (np.round(GOOD * 255), "got 0 to 255"),
    "NaN": (WITH_NAN, "got NaN"),
    "standardised": ((GOOD - 0.5) / 0.25, "got -2 to"),
}


@pytest.fixture(scope="module")
def network():
    return builders.alexnet(input_size=64, width=0.1)


@pytest.fixture(scope="module")
def fitted():
    hidden = np.random.default_rng(1).random((30, 8))
    return CNNINTE(2, 2, n_trees=2, random_state=0).fit(GOOD, np.arange(30) % 3, hidden)


def entrances(network, fitted):
    """Every public function that feeds a network, or the forests of CNN-INTE, with images."""
    labels, hidden = np.arange(30) % 3, np.random.default_rng(1).random((30, 8))
    return {
        "activations": partial(activations.activations, network, "conv1"),
        "predict": partial(activations.predict, network),
        "vector_jacobian_product": lambda x: gradients.vector_jacobian_product(
            network, x, np.ones((len(x), 10), np.float32)
        ),
        "reconstruct": lambda x: deconvnet.reconstruct(network, x[-1], "conv2", [0]),
        "reconstruct_unit": lambda x: deconvnet.reconstruct_unit(network, x, "conv2", 0),
        "layer_spaces": lambda x: neighborhood.layer_spaces("alexnet", network, ["conv5"], x),
        "CNNINTE.fit": lambda x: CNNINTE(2, 2, n_trees=2).fit(x, labels, hidden),
        "CNNINTE.transform": fitted.transform,
        "CNNINTE.predict": fitted.predict,
        "CNNINTE.explain": lambda x: fitted.explain(x[-1]),
        "CNNINTE.explain_all": fitted.explain_all,
    }


@pytest.mark.parametrize("kind", BAD)
def test_what_is_not_in_zero_one_is_refused_by_name_everywhere(network, fitted, kind):
    images, found = BAD[kind]
    if kind == "0 … 255":
        images = np.concatenate([images, np.zeros((1, 64, 64, 3)), np.full((1, 64, 64, 3), 255.0)])[-30:]
    for name, feed in entrances(network, fitted).items():
        with pytest.raises(ValueError, match=r"images must be floats in \[0, 1\], got") as error:
            feed(images)
        if "reconstruct" not in name and name != "CNNINTE.explain":  # these see the last image only
            assert found in str(error.value), name
    if kind != "uint8":
        with pytest.raises(ValueError, match=r"images must be floats in \[0, 1\]"):
            Split(images.astype(np.float32), np.zeros(30, np.int64))


def test_good_images_pass_everywhere_in_single_and_double_precision(network, fitted):
    for feed in entrances(network, fitted).values():
        feed(GOOD)
        feed(GOOD.astype(np.float64))


def test_split_is_scaled_and_resized_batch_by_batch(network):
    small = (GOOD[:, ::2, ::2] * 255).astype(np.uint8)
    split = Split(small, np.arange(30) % 10)
    floats = split.floats(64)
    for batch_size in (500, 7):
        found = activations.activations(network, ["conv1", "conv5"], split, batch_size=batch_size)
        for layer, expected in activations.activations(network, ["conv1", "conv5"], floats).items():
            np.testing.assert_allclose(found[layer], expected, atol=1e-5)
    probabilities = activations.predict(network, floats)
    np.testing.assert_allclose(activations.predict(network, split), probabilities, atol=1e-6)
    assert np.array_equal(qdv.predicted_labels(network, split), probabilities.argmax(axis=1))


def test_cnn_inte_takes_a_split_as_its_floats(fitted):
    split = Split((GOOD * 255).astype(np.uint8), np.arange(30) % 3)
    assert np.array_equal(fitted.transform(split), fitted.transform(split.floats()))


def test_a_split_that_does_not_fit_is_refused(network):
    grey = Split(GOOD[..., :1], np.zeros(30, np.int64))
    with pytest.raises(ValueError, match=r"takes images of shape \(64, 64, 3\), got 30 of \(64, 64, 1\)"):
        activations.predict(network, grey)
    with pytest.raises(ValueError, match="got 0 of"):
        activations.predict(network, Split(GOOD[:0], np.zeros(0, np.int64)))


def test_images_at_once_by_hand():
    image = keras.Input((10, 10, 1))
    x = keras.layers.Conv2D(4, 1, name="wide")(image)  # 400 numbers
    x = keras.layers.Conv2D(2, 1, name="narrow")(x)  # 200
    model = keras.Model(image, keras.layers.GlobalMaxPooling2D()(x))  # 2; the image has 100
    assert lookup.images_at_once(model, n_bytes=4 * 600 * 7) == 7
    assert lookup.images_at_once(model, n_bytes=4 * 600 * 7 - 1) == 6
    assert lookup.images_at_once(model, n_bytes=4 * 702 * 3, keeps_all=True) == 3
    assert lookup.images_at_once(model, n_bytes=1) == 1


def test_batches_of_a_gradient_do_not_matter(network, monkeypatch):
    cotangents = np.eye(10, dtype=np.float32)[np.arange(30) % 10]
    whole = gradients.vector_jacobian_product(network, GOOD, cotangents)
    monkeypatch.setattr(gradients, "images_at_once", lambda *_, **__: 7)
    parts = gradients.vector_jacobian_product(network, GOOD, cotangents)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    with pytest.raises(ValueError, match=r"the outputs' shape \(30, 10\), got \(1, 10\)"):
        gradients.vector_jacobian_product(network, GOOD, cotangents[:1])


def test_memory_at_224_pixels_is_bounded():
    """160 images through VGG19's first block: at once 4 GB of feature maps, in batches by bytes 1."""
    code = """
import resource
import keras, numpy as np
from cnninte_utils.networks import activations, builders

whole = builders.vgg19(head="pooling")
model = keras.Model(whole.inputs, whole.get_layer("conv1_2").output)
images = np.zeros((160, 224, 224, 3), np.float32)
peaks = activations.activations(model, "conv1_2", images, summary="max")
print(peaks.shape, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    shape, _, gigabytes = done.stdout.strip().rpartition(" ")
    assert shape == "(160, 64)"
    assert float(gigabytes) < 3.5
