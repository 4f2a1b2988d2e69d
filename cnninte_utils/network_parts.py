"""What the networks have in common: how they begin, their convolutions, how they end."""

import keras

from .layers import GroupedConv2D

__all__ = [
    "BEFORE_NORM",
    "HEADS",
    "choose",
    "classified",
    "convolution",
    "image_input",
    "normalized",
    "rectified",
    "scaled",
]

HEADS = ("flat", "fc", "pooling")
BEFORE_NORM = {"padding": "same", "use_bias": False, "kernel_initializer": "he_normal"}
"""Options of a convolution before a batch normalisation."""


def image_input(input_size: int, mean, std) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Return the input and, if `mean` and `std` are given, the layer that standardises it by them.

    Raises
    ------
    ValueError
        If only one of the two is given.
    """
    if (mean is None) != (std is None):
        raise ValueError(f"mean and std go together, got {mean} and {std}")
    image = keras.Input((input_size, input_size, 3), name="image")
    if mean is None:
        return image, image
    variance = [value**2 for value in std]
    return image, keras.layers.Normalization(mean=list(mean), variance=variance, name="standardize")(image)


def convolution(x, n_filters: int, kernel: int, name: str, batch_norm: bool, *, groups=1, **options):
    """Convolve and rectify; with batch normalisation between if asked for, then in layers of their own."""
    options = {"padding": "same", "kernel_initializer": "he_normal", "name": name, "groups": groups} | options
    make = keras.layers.Conv2D if groups == 1 else GroupedConv2D
    if not batch_norm:
        return make(n_filters, kernel, activation="relu", **options)(x)
    return rectified(make(n_filters, kernel, use_bias=False, **options)(x), name)


def rectified(x, name: str) -> keras.KerasTensor:
    """Normalise and rectify in two layers."""
    return keras.layers.ReLU(name=f"relu_{name}")(normalized(x, name))


def normalized(x, name: str) -> keras.KerasTensor:
    """Normalise each channel over the batch."""
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"bn_{name}")(x)


def classified(x, head: str, n_classes: int, width: float) -> keras.KerasTensor:
    """Put one of the heads (see :func:`cnninte_utils.models.alexnet`) on feature maps.

    Raises
    ------
    ValueError
        If there is no such head.
    """
    layers = keras.layers
    choose("head", head, dict.fromkeys(HEADS))
    x = (
        layers.GlobalAveragePooling2D(name="pooling")(x)
        if head == "pooling"
        else layers.Flatten(name="flatten")(x)
    )
    if head == "fc":
        for name in ("fc6", "fc7"):
            x = layers.Dense(
                scaled(4096, width), activation="relu", kernel_initializer="he_normal", name=name
            )(x)
            x = layers.Dropout(0.5, name=f"dropout_{name}")(x)
    x = layers.Dense(n_classes, name="fc8")(x)
    return layers.Softmax(name="softmax")(x)


def scaled(count: int, width: float) -> int:
    """Return that fraction of a published count, even, so that two groups divide it."""
    return max(2, 2 * round(count * width / 2))


def choose(parameter: str, name: str, choices: dict):
    """Return what goes with a name.

    Raises
    ------
    ValueError
        If there is no such name.
    """
    if name not in choices:
        raise ValueError(f"unknown {parameter} {name!r}: choose one of {', '.join(choices)}")
    return choices[name]
