"""CAM and Grad-CAM: by hand, their sum, and each as the other where both exist."""

import keras
import numpy as np
import pytest
from keras import layers
from toy_networks import QUARTER, pictures, with_noise

from cnninte_utils.methods import attribution
from cnninte_utils.methods.attribution import class_maps
from cnninte_utils.networks import builders, targets
from cnninte_utils.networks.activations import activations
from cnninte_utils.networks.gradients import vjp


def row_network():
    """Row (1, 2, 0, 3), filters (1, -1) and (1, 1), ReLU, mean, w = (3, -1): maps (0, 2, 0) and (3, 2, 3)."""
    image = keras.Input((1, 4, 1), name="image")
    conv = layers.Conv2D(2, (1, 2), activation="relu", use_bias=False, name="conv")
    dense = layers.Dense(1, name="dense")
    model = keras.Model(image, dense(layers.GlobalAveragePooling2D(name="pooling")(conv(image))))
    conv.set_weights([QUARTER * np.array([[1.0, 1.0], [-1.0, 1.0]]).reshape(1, 2, 1, 2)])
    dense.set_weights([np.array([[3.0], [-1.0]]), np.zeros(1)])
    return model


ROW = np.float32([1, 2, 0, 3]).reshape(1, 1, 4, 1) / QUARTER


def test_by_hand():
    model = row_network()
    assert activations(model, "conv", ROW)[0, 0].T.tolist() == [[0, 2, 0], [3, 2, 3]]
    np.testing.assert_allclose(targets.scores(model, ROW, [0]), -2 / 3, rtol=1e-6)
    raw = attribution.cam(model, ROW, [0], is_upsampled=False)
    assert raw.tolist() == [[[[-3], [4], [-3]]]]
    weighted = attribution.grad_cam(model, ROW, [0], is_upsampled=False)
    np.testing.assert_allclose(weighted.ravel(), [0, 4 / 3, 0], atol=1e-6)


def test_enlarged_by_hand():
    # three to four columns: centres at ½·¾ - ½ = -1/8 (the edge), 5/8, 11/8, 17/8 (the edge)
    found = attribution.cam(row_network(), ROW, [0])
    assert found.shape == (1, 1, 4, 1)
    np.testing.assert_allclose(found.ravel(), [-3, -3 + 7 * 5 / 8, 4 - 7 * 3 / 8, -3], atol=1e-5)


NETWORKS = {
    "resnet": lambda: builders.resnet(depth=8, input_size=16, mean=[0.5] * 3, std=[0.2] * 3),
    "densenet": lambda: builders.densenet(depth=7, growth=4, input_size=16),
    "alexnet": lambda: builders.alexnet(input_size=96, width=0.1, head="pooling"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_cam_adds_up_to_the_logit_and_is_grad_cam_before_its_relu(name):
    model = with_noise(NETWORKS[name]())
    images, classes = pictures(model.input_shape[1:]), np.array([1, 7, 4])
    raw = attribution.cam(model, images, classes, is_upsampled=False)
    logits = targets.scores(model, images, classes)
    bias = model.get_layer("fc8").get_weights()[1]
    np.testing.assert_allclose(raw.mean(axis=(1, 2, 3)) + bias[classes], logits, rtol=1e-4, atol=1e-5)
    assert (raw < 0).any()
    layer = "maxpool5" if name == "alexnet" else None  # by default conv5, before the pooling
    weighted = attribution.grad_cam(model, images, classes, layer=layer, is_upsampled=False)
    expected = np.maximum(raw, 0) / np.prod(raw.shape[1:3])
    np.testing.assert_allclose(weighted, expected, atol=1e-5 * expected.max())
    difference = np.eye(10, dtype=np.float32)[classes] - np.eye(10, dtype=np.float32)[[0, 0, 0]]
    found = attribution.cam(model, images, difference, is_upsampled=False)
    expected = raw - attribution.cam(model, images, np.zeros(3, int), is_upsampled=False)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(raw).max())


def test_grad_cam_of_a_layer_is_what_the_backend_says():
    model = with_noise(builders.alexnet(input_size=64, width=0.1))
    images, classes = pictures((64, 64, 3), 2), np.array([3, 8])
    for layer in ("conv5", "conv3"):
        maps = activations(model, layer, images)
        head = keras.Model(model.get_layer(layer).output, model.get_layer("fc8").output)
        _, gradients = vjp(head, keras.ops.convert_to_tensor(maps), keras.ops.one_hot(classes, 10))
        weights = np.asarray(gradients).mean(axis=(1, 2), keepdims=True)
        expected = np.maximum((weights * maps).sum(axis=-1, keepdims=True), 0)
        found = attribution.grad_cam(model, images, classes, layer=layer, is_upsampled=False)
        np.testing.assert_allclose(found, expected, atol=1e-5 * expected.max())
    default = attribution.grad_cam(model, images, classes)
    assert default.shape == (2, 64, 64, 1)
    assert np.array_equal(default, attribution.grad_cam(model, images, classes, layer="conv5"))


def test_the_default_layer_is_the_last_one_with_feature_maps():
    model = builders.resnet(depth=8, input_size=16)
    images = pictures((16, 16, 3), 1)
    default = attribution.grad_cam(model, images, [1])
    assert np.array_equal(default, attribution.grad_cam(model, images, [1], layer="relu_add7"))


def test_guided_grad_cam_is_a_product():
    model = with_noise(builders.resnet(depth=8, input_size=16))
    images, classes = pictures((16, 16, 3), 2), np.array([2, 9])
    found = class_maps.guided_grad_cam(model, images, classes)
    expected = attribution.guided(model, images, classes) * attribution.grad_cam(model, images, classes)
    assert found.shape == images.shape
    assert np.array_equal(found, expected)


def test_networks_that_end_otherwise_are_refused():
    images = pictures((64, 64, 3), 1)
    flat = builders.alexnet(input_size=64, width=0.1)
    with pytest.raises(ValueError, match="alexnet does not end in global average pooling"):
        attribution.cam(flat, images, [0])
    with pytest.raises(ValueError, match="flatten of alexnet has no feature maps"):
        attribution.grad_cam(flat, images, [0], layer="flatten")
    with pytest.raises(ValueError, match="unknown step 'conv9'"):
        attribution.grad_cam(flat, images, [0], layer="conv9")
    image = keras.Input((3, 3, 1))
    part = layers.Flatten()(layers.AveragePooling2D(2)(image))  # a corner of the map, not all of it
    with pytest.raises(ValueError, match="does not end in global average pooling"):
        attribution.cam(keras.Model(image, layers.Dense(2)(part)), pictures((3, 3, 1)), [0, 0, 0])
    dense = keras.Model(image, layers.Dense(2)(layers.Flatten()(image)))
    with pytest.raises(ValueError, match="the network has no feature maps"):
        attribution.grad_cam(dense, pictures((3, 3, 1)), [0, 0, 0])
