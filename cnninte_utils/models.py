"""The papers' networks, built by name as flat functional Keras models with the papers' layer names."""

from collections.abc import Callable

import keras

__all__ = ["BUILDERS", "build", "mnist_cnn"]


def mnist_cnn(input_shape: tuple[int, int, int] = (28, 28, 1), n_classes: int = 10) -> keras.Model:
    """Build the CNN of paper A, Fig. 1: image → class probabilities.

    conv1 5×5×32 → pool1 2×2/2 → conv2 5×5×64 → pool2 2×2/2 → fc1 128 → dropout ½ → fc2 → softmax.
    The paper gives the layers; SAME padding and the initial values (weights from a normal with
    σ = 0.1 truncated at 2σ, biases 0.1) are those of TensorFlow's ``mnist_deep`` tutorial, whose
    names the paper's graph has.

    Parameters
    ----------
    input_shape : (height, width, channels)
    n_classes : int

    Returns
    -------
    keras.Model
        (n, height, width, channels) in [0, 1] → (n, n_classes) probabilities.

    References
    ----------
    Liu, Wang, Matwin 2018, "Interpretable Deep Convolutional Neural Networks via Meta-learning", Fig. 1.
    """
    layers = keras.layers

    def start() -> dict:
        return {
            "kernel_initializer": keras.initializers.TruncatedNormal(stddev=0.1),
            "bias_initializer": keras.initializers.Constant(0.1),
        }

    image = keras.Input(input_shape, name="image")
    x = image
    for step, n_filters in ((1, 32), (2, 64)):
        x = layers.Conv2D(n_filters, 5, padding="same", activation="relu", name=f"conv{step}", **start())(x)
        x = layers.MaxPooling2D(2, name=f"pool{step}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(128, activation="relu", name="fc1", **start())(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    x = layers.Dense(n_classes, name="fc2", **start())(x)
    return keras.Model(image, layers.Softmax(name="softmax")(x), name="mnist_cnn")


BUILDERS: dict[str, Callable[..., keras.Model]] = {"mnist_cnn": mnist_cnn}


def build(name: str, **options) -> keras.Model:
    """Build a network by name; `options` go to its builder.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    if name not in BUILDERS:
        raise ValueError(f"unknown network {name!r}: choose one of {', '.join(BUILDERS)}")
    return BUILDERS[name](**options)
