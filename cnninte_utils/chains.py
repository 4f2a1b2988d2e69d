"""Networks that are chains of layers, and what one position of a feature map looks at."""

from dataclasses import dataclass
from itertools import pairwise

import keras

from .layers import chosen_layers

__all__ = ["ReceptiveField", "chain", "receptive_field"]


def chain(model: keras.Model, layer: str) -> list[keras.Layer]:
    """Return the layers after the input, up to `layer`, each of which feeds the next.

    Raises
    ------
    ValueError
        If there is no such layer, or one of them has other inputs.
    """
    (last,) = chosen_layers(model, [layer])
    layers = model.layers[: model.layers.index(last) + 1]
    for before, after in pairwise(layers):
        if after.input is not before.output:
            raise ValueError(
                f"{model.name} is not a chain up to {layer}: {after.name} does not follow {before.name}"
            )
    return layers[1:]


@dataclass(frozen=True)
class ReceptiveField:
    """What the positions of a feature map look at along one axis of the image, in pixels.

    Parameters
    ----------
    size : int
        Of the field of one position.
    stride : int
        From one position's field to the next one's.
    offset : float
        Centre of the first position's field; the first pixel's centre is 0.
    """

    size: int
    stride: int
    offset: float


def receptive_field(model: keras.Model, layer: str) -> ReceptiveField:
    """Return the receptive field of a layer's units along the rows (and columns) of square images.

    Raises
    ------
    ValueError
        If the model is not a chain up to the layer, or a layer on the way is not a convolution, pooling, zero
        padding or a function of single positions.
    """
    size, stride, offset = 1, 1, 0.0
    for step in chain(model, layer):
        window, step_stride, before = _window(step)
        offset += stride * ((window - 1) / 2 - before)
        size += stride * (window - 1)
        stride *= step_stride
    return ReceptiveField(size, stride, offset)


def _window(layer: keras.Layer) -> tuple[int, int, int]:
    """Return how many rows one output row looks at, from how many to the next, and padding before them."""
    before, after = layer.input.shape[1:3], layer.output.shape[1:3]
    kernel = getattr(layer, "kernel_size", getattr(layer, "pool_size", None))
    is_unknown = None in before or isinstance(layer, keras.layers.Conv2DTranspose)
    if isinstance(layer, keras.layers.ZeroPadding2D):
        return 1, 1, layer.padding[0][0]
    if is_unknown or (not kernel and before != after):
        raise ValueError(
            f"what one position sees through {layer.name}, a {type(layer).__name__}, is not known"
        )
    if not kernel:
        return 1, 1, 0
    window = 1 + (kernel[0] - 1) * getattr(layer, "dilation_rate", (1,))[0]
    stride = layer.strides[0]
    missing = (after[0] - 1) * stride + window - before[0] if layer.padding == "same" else 0
    return window, stride, max(missing, 0) // 2
