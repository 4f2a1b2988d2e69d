"""What networks are made of: layers that Keras lacks, how they begin, their convolutions, how they end."""

import keras
import numpy as np
from keras import ops

from .. import checks

__all__ = [
    "BEFORE_NORM",
    "HEADS",
    "GroupedConv2D",
    "LocalResponseNormalization",
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


@keras.saving.register_keras_serializable("cnninte_utils")
class LocalResponseNormalization(keras.layers.Layer):
    r"""Divide each value by the energy of its neighbours across channels.

    .. math:: y_c = x_c \, (k + \alpha \sum_{|c' - c| \le r} x_{c'}^2)^{-\beta}

    Parameters
    ----------
    radius : int
    alpha, beta, bias : float
        Of the formula, with k the bias; the defaults are those of the Caffe AlexNet.

    References
    ----------
    Krizhevsky, Sutskever, Hinton 2012, "ImageNet Classification with Deep Convolutional Neural
    Networks", Section 3.3.
    """

    def __init__(self, radius=2, alpha=2e-5, beta=0.75, bias=1.0, **options):
        super().__init__(**options)
        self.radius, self.alpha, self.beta, self.bias = radius, alpha, beta, bias

    def call(self, inputs):
        """Return the normalised values, of the same shape."""
        x = ops.cast(inputs, "float32")  # squares of more than 255 are too large for float16
        if keras.backend.backend() == "tensorflow":  # its own kernel takes a third of the time
            import tensorflow as tf

            kernel = tf.nn.local_response_normalization
            return ops.cast(kernel(x, self.radius, self.bias, self.alpha, self.beta), inputs.dtype)
        channel = np.arange(inputs.shape[-1])
        is_neighbour = np.abs(channel[:, None] - channel) <= self.radius
        energy = ops.matmul(ops.square(x), is_neighbour.astype("float32"))
        return ops.cast(x * (self.bias + self.alpha * energy) ** -self.beta, inputs.dtype)

    def get_config(self):
        """Return what makes the layer again."""
        own = {"radius": self.radius, "alpha": self.alpha, "beta": self.beta, "bias": self.bias}
        return super().get_config() | own


@keras.saving.register_keras_serializable("cnninte_utils")
class GroupedConv2D(keras.layers.Conv2D):
    """A grouped convolution as one convolution for each group.

    The same numbers as ``Conv2D(groups=...)``, which on a CPU TensorFlow can only compile, several times
    slower.
    """

    def build(self, input_shape):
        """Check that channels come last, and build the kernel."""
        if self.data_format != "channels_last":
            raise ValueError(f"{self.name} takes channels last, got data_format={self.data_format!r}")
        super().build(input_shape)

    def convolution_op(self, inputs, kernel):
        """Convolve each group of input channels with its own filters."""
        steps = {"strides": list(self.strides), "dilation_rate": self.dilation_rate}
        outputs = [
            ops.conv(part, filters, padding=self.padding, **steps)
            for part, filters in zip(
                ops.split(inputs, self.groups, axis=-1), ops.split(kernel, self.groups, axis=-1), strict=True
            )
        ]
        return ops.concatenate(outputs, axis=-1)


def image_input(input_size: int, mean, std) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Return the input and, if `mean` and `std` are given, the layer that standardises it by them.

    Raises
    ------
    ValueError
        If only one of the two is given, or they are not those of three channels in [0, 1].
    """
    checks.at_least(1, input_size=input_size)
    if (mean is None) != (std is None):
        raise ValueError(f"mean and std go together, got {mean} and {std}")
    image = keras.Input((input_size, input_size, 3), name="image")
    if mean is None:
        return image, image
    checks.finite(mean=mean, std=std)
    if not (len(mean) == len(std) == 3 and min(mean) >= 0 and max(mean) <= 1 and min(std) > 0):
        raise ValueError(f"mean must be three numbers in [0, 1], std three above 0, got {mean} and {std}")
    variance = [value**2 for value in std]
    dtype = keras.config.dtype_policy().variable_dtype  # also where the layers after it compute in bfloat16
    options = {"mean": list(mean), "variance": variance, "name": "standardize", "dtype": dtype}
    return image, keras.layers.Normalization(**options)(image)


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
    """Put one of the heads (see :func:`cnninte_utils.networks.builders.alexnet`) on feature maps.

    Raises
    ------
    ValueError
        If there is no such head.
    """
    layers = keras.layers
    checks.choice("head", head, HEADS)
    checks.at_least(1, n_classes=n_classes)
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
    return layers.Softmax(name="softmax", dtype=keras.config.dtype_policy().variable_dtype)(x)


def scaled(count: int, width: float) -> int:
    """Return that fraction of a published count, even, so that two groups divide it."""
    if not 0 < width <= 16:
        raise ValueError(f"width must be a positive fraction of the published one, got {width}")
    return max(2, 2 * round(count * width / 2))
