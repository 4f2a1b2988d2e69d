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
        If the model is not a chain up to the layer.
    """
    size, stride, offset = 1, 1, 0.0
    for step in chain(model, layer):
        kernel, step_stride = _window(step)
        before = _padding_before(step, kernel, step_stride)
        offset += stride * ((kernel - 1) / 2 - before)
        size += stride * (kernel - 1)
        stride *= step_stride
    return ReceptiveField(size, stride, offset)


def _window(layer: keras.Layer) -> tuple[int, int]:
    kernel = getattr(layer, "kernel_size", getattr(layer, "pool_size", (1,)))
    return kernel[0], getattr(layer, "strides", (1,))[0]


def _padding_before(layer: keras.Layer, kernel: int, stride: int) -> int:
    if getattr(layer, "padding", "valid") != "same":
        return 0
    n_in = layer.input.shape[1]
    n_out = -(-n_in // stride)
    return max((n_out - 1) * stride + kernel - n_in, 0) // 2
