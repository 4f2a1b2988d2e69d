"""Filters that classes hang on: found where they are known, drawn, and taken away."""

import keras
import numpy as np
import pytest
from keras import layers
from toy_networks import pictures, with_noise

from cnninte_utils.methods.attribution import class_features, guided
from cnninte_utils.networks import builders
from cnninte_utils.networks.activations import activations, predict


def color_network():
    """Filters that see red, green and blue; class 0 is more red, class 1 more green, blue is for nothing."""
    image = keras.Input((2, 2, 3), name="image")
    conv = layers.Conv2D(3, 1, use_bias=False, activation="relu", name="conv")
    dense = layers.Dense(2, use_bias=False, name="dense")
    model = keras.Model(image, dense(layers.GlobalAveragePooling2D(name="pooling")(conv(image))))
    conv.set_weights([np.eye(3).reshape(1, 1, 3, 3)])
    dense.set_weights([np.array([[1.0, 0], [0, 1], [0, 0]])])
    return model


def flat_colors(n=400, seed=3):
    colors = np.random.default_rng(seed).random((n, 1, 1, 3), np.float32)
    return np.broadcast_to(colors, (n, 2, 2, 3)).copy()


def test_norms_by_hand_and_in_the_layers_order():
    images = np.float32([[[[0.3, 0, 1], [0.4, 0, 1]], [[0, 0, 1], [0, 0, 1]]]])
    norms, filters = class_features.filter_norms(color_network(), images)
    np.testing.assert_allclose(norms, [[0.5, 0, 2]], atol=1e-6)
    assert filters == (("conv", 0), ("conv", 1), ("conv", 2))
    model = with_noise(builders.resnet(depth=8, input_size=16))
    names = ["relu_add7", "relu_conv1"]
    norms, filters = class_features.filter_norms(model, pictures((16, 16, 3)), names)
    maps = activations(model, names, pictures((16, 16, 3)))
    expected = np.concatenate([np.sqrt((maps[n] ** 2).sum(axis=(1, 2))) for n in names], axis=1)
    np.testing.assert_allclose(norms, expected, rtol=1e-4, atol=1e-5)
    assert filters[0] == ("relu_add7", 0)
    assert filters[-1] == ("relu_conv1", 15)


def test_the_filters_of_a_class_are_found():
    found = class_features.fit(color_network(), flat_colors(), n_filters=2)
    for label in (0, 1):
        assert set(found.of_class(label)) == {("conv", 0), ("conv", 1)}
    assert found.agreement > 0.95
    assert found.weights[0, 0] > 0 > found.weights[1, 0]
    one = class_features.fit(color_network(), flat_colors(), n_filters=1)
    assert (np.count_nonzero(one.weights, axis=0) <= 1).all()


def test_least_squares_where_as_many_filters_are_allowed_as_there_are():
    images = flat_colors()
    model = color_network()
    found = class_features.fit(model, images, n_filters=50)
    norms, _ = class_features.filter_norms(model, images)
    x = (norms - norms.mean(axis=0)) / norms.std(axis=0)
    wanted = np.eye(2)[predict(model, images).argmax(axis=1)]
    expected = np.linalg.lstsq(x, wanted - wanted.mean(axis=0), rcond=None)[0]
    np.testing.assert_allclose(found.weights, expected, atol=1e-4)


def test_what_speaks_most_is_weight_times_answer():
    found = class_features.fit(color_network(), flat_colors(), n_filters=2)
    assert found.strongest(np.array([1.5, 1.0, 1.0]), 0) == [("conv", 0)]
    assert found.strongest(np.array([0.1, 1.9, 1.0]), 0, n=2) == [("conv", 0)]  # green speaks against red
    assert found.strongest(np.array([0.0, 1.9, 1.0]), 0) == []


def test_the_filter_is_drawn_by_guided_backpropagation():
    model = color_network()
    found = class_features.fit(model, flat_colors(), n_filters=2)
    red, green = np.zeros((2, 1, 2, 2, 3), np.float32)
    red[..., 0], green[..., 1] = 0.9, 0.9
    images = np.concatenate([red, green])
    maps = class_features.class_filter(model, images, [0, 1], features=found)
    np.testing.assert_allclose(maps[0, ..., 0], 0.25, atol=1e-6)  # a mean of four pixels
    np.testing.assert_allclose(maps[1, ..., 1], 0.25, atol=1e-6)
    assert np.count_nonzero(maps) == 8


def test_drawn_from_several_layers_each_image_by_its_own_filter():
    model = with_noise(builders.resnet(depth=8, input_size=16))
    names = ["relu_conv1", "relu_add3", "relu_add7"]
    training = pictures((16, 16, 3), 80, seed=5)
    kernel, bias = model.get_layer("fc8").get_weights()
    means = activations(model, "relu_add7", training).mean(axis=(0, 1, 2)) @ kernel
    model.get_layer("fc8").set_weights([kernel, 0 * bias - means])  # no class is the best of all images
    features = class_features.fit(model, training, 3, layers=names)
    images = pictures((16, 16, 3), 6)
    classes = np.array([np.flatnonzero(features.weights.any(axis=0))[0]] * 6)
    found = class_features.class_filter(model, images, classes, features=features)
    norms, _ = class_features.filter_norms(model, images, names)
    for image, row, label, drawn in zip(images, norms, classes, found, strict=True):
        layer, unit = (features.strongest(row, label) or features.of_class(label))[0]
        pooled = layers.GlobalAveragePooling2D()(model.get_layer(layer).output)
        expected = guided(keras.Model(model.inputs, pooled), image[None], [unit])[0]
        np.testing.assert_allclose(drawn, expected, atol=1e-5 * np.abs(expected).max())


def test_filters_are_taken_away_from_a_copy():
    model = with_noise(builders.resnet(depth=8, input_size=16))
    images, before = pictures((16, 16, 3)), model.get_weights()
    outputs = predict(model, images)
    np.testing.assert_allclose(predict(class_features.without(model, []), images), outputs, atol=1e-6)
    maps = activations(model, "relu_add7", images)
    maps[..., [3, 5]] = 0
    kernel, bias = model.get_layer("fc8").get_weights()
    expected = keras.ops.softmax(maps.mean(axis=(1, 2)) @ kernel + bias)
    poorer = class_features.without(model, [("relu_add7", 3), ("relu_add7", 5)])
    np.testing.assert_allclose(predict(poorer, images), expected, atol=1e-5)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    np.testing.assert_allclose(predict(model, images), outputs, atol=1e-6)


def test_what_cannot_be_is_refused():
    model = color_network()
    with pytest.raises(ValueError, match="takes all 5 images for class 0"):
        class_features.fit(model, np.tile(np.float32([1, 0, 0]), (5, 2, 2, 1)))
    with pytest.raises(ValueError, match="n_filters"):
        class_features.fit(model, flat_colors(), 0)
    with pytest.raises(ValueError, match="pooling has no feature maps"):
        class_features.filter_norms(model, flat_colors(2), ["pooling"])
    with pytest.raises(ValueError, match="no layer 'conv9'"):
        class_features.without(model, [("conv9", 0)])
    with pytest.raises(ValueError, match=r"units must be between 0 and 2, got \[3\]"):
        class_features.without(model, [("conv", 3)])
