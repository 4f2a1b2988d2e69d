"""Layers that AlexNet needs and Keras lacks, and how layers of a model are found."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

__all__ = ["GroupedConv2D", "LocalResponseNormalization", "chosen_layers", "has_activation"]


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


def chosen_layers(model: keras.Model, names: Sequence[str] | None = None) -> list[keras.Layer]:
    """Return the layers of these names, by default every convolution (in two dimensions, not transposed).

    Raises
    ------
    ValueError
        If a layer is unknown, or by default if there is a model among the layers, whose convolutions would be
        passed over.
    """
    if names is None:
        nested = [layer.name for layer in model.layers if isinstance(layer, keras.Model)]
        if nested:
            raise ValueError(f"{model.name} holds another model, {nested[0]}: build it of single layers")
        return [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    layers = {layer.name: layer for layer in model.layers}
    unknown = [name for name in names if name not in layers]
    if unknown:
        raise ValueError(f"no layer {unknown[0]!r} in {model.name}: it has {', '.join(layers)}")
    return [layers[name] for name in names]


def has_activation(layer: keras.Layer) -> bool:
    """Tell whether a layer with an activation has another one than the identity."""
    return layer.activation is not keras.activations.linear
