"""Small networks whose explanations are known by hand, for images in [0, 1].

The hand-made nets take numbers like (1, 2); here pixels are a quarter of them and the first weights four
times as large, so that products of pixels and weights, and with them all attributions, stay; gradients are
four times as large.
"""

import keras
import numpy as np
from keras import layers

QUARTER = 4


def dense_network(first, biases, second, bias, *, n_inputs=2):
    """Dense → ReLU → Dense, from an image of one row; two outputs, the second one zero."""
    image = keras.Input((1, n_inputs, 1), name="image")
    x = layers.Flatten(name="flatten")(image)
    hidden = layers.Dense(len(biases), activation="relu", name="hidden")(x)
    out = layers.Dense(2, name="out")
    model = keras.Model(image, layers.Softmax(name="softmax")(out(hidden)), name="by_hand")
    model.get_layer("hidden").set_weights([QUARTER * np.array(first, float), np.array(biases, float)])
    out.set_weights([np.stack([second, np.zeros(len(second))], axis=1), np.array([bias, 0.0])])
    return model


FIRST, SECOND = [[2, -1, 1], [1, 1, -2]], [1, -2, 3]


def net_a():
    """x = (1, 2): z = (4, 1, -3), y = 2, f(0) = 0."""
    return dense_network(FIRST, [0, 0, 0], SECOND, 0)


def net_b():
    """x = (1, 2): z = (3, 2, -2), y = 2, f(0) = 4."""
    return dense_network(FIRST, [-1, 1, 1], SECOND, 3)


NETS = {"A": net_a, "B": net_b}
X = np.array([1, 2], np.float32).reshape(1, 1, 2, 1) / QUARTER
TARGET = np.array([0])


def linear_network(weights, bias=0.0):
    """One dense layer of two outputs; the second is zero."""
    image = keras.Input((1, len(weights), 1), name="image")
    out = layers.Dense(2, name="out")
    model = keras.Model(image, out(layers.Flatten(name="flatten")(image)), name="linear")
    out.set_weights([np.stack([weights, np.zeros(len(weights))], axis=1), np.array([bias, 0.0])])
    return model


def with_noise(model, seed=0):
    """Give every layer weights from this seed, and every normalisation statistics that do something."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, layers.Normalization | layers.Dropout):
            continue
        new = []
        for array in layer.get_weights():
            scale = 0.2 if array.ndim == 1 else np.sqrt(2 / np.prod(array.shape[:-1]))
            new.append(scale * rng.standard_normal(array.shape))
        if isinstance(layer, layers.BatchNormalization):
            new[0] = rng.choice([-1, 1], new[0].shape) * (1 + new[0])  # factors of both signs
            new[-1] = 0.5 + np.abs(new[-1])
        if new:
            layer.set_weights(new)
    return model


def without_biases(model):
    """Set every bias and what a normalisation subtracts and adds to zero."""
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D | layers.Dense) and layer.use_bias:
            layer.set_weights([layer.get_weights()[0], np.zeros(layer.bias.shape)])
        if isinstance(layer, layers.BatchNormalization):
            factor, offset, mean, variance = layer.get_weights()
            layer.set_weights([factor, 0 * offset, 0 * mean, variance])
    return model


def pictures(shape, n=3, seed=1):
    """Random images in [0, 1]."""
    return np.random.default_rng(seed).random((n, *shape), np.float32)
