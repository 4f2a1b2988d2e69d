"""Find layers in a network: by name, by what they put out, in a row, and by what they see."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import keras

from .. import checks

__all__ = [
    "ReceptiveField",
    "chain",
    "chosen_layers",
    "feature_layers",
    "has_activation",
    "images_at_once",
    "receptive_field",
    "refuse_unbuilt",
]


_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)


def chosen_layers(model: keras.Model, names: Sequence[str] | None = None) -> list[keras.Layer]:
    """Return the layers of these names, by default every convolution (in two dimensions, not transposed).

    Raises
    ------
    ValueError
        If a layer is unknown, or by default if there is a model among the layers, whose convolutions would be
        passed over.
    """
    refuse_unbuilt(model)
    if names is None:
        _refuse_models(model, model.layers)
        return [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    return checks.layers(model, names)


def _refuse_models(model: keras.Model, layers: Sequence[keras.Layer]) -> None:
    nested = [layer.name for layer in layers if isinstance(layer, keras.Model)]
    if nested:
        raise ValueError(f"{model.name} holds another model, {nested[0]}: build it of single layers")


def refuse_unbuilt(model: keras.Model) -> None:
    """Refuse what is no model, or one whose layers have no outputs that can be asked for.

    Raises
    ------
    TypeError
        If it is no model.
    ValueError
        With the model's name and what to do.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"expected a keras.Model, got {type(model).__name__}")
    is_sequential = isinstance(model, keras.Sequential)
    if not is_sequential and not hasattr(model, "inputs"):
        raise ValueError(
            f"{model.name} is a class of its own: build it of layers, keras.Model(inputs, outputs)"
        )
    if is_sequential and not model.built:
        raise ValueError(f"{model.name} knows no image's shape yet: begin it with a keras.Input")


def has_activation(layer: keras.Layer) -> bool:
    """Tell whether a layer with an activation has another one than the identity."""
    return layer.activation is not keras.activations.linear


def feature_layers(model: keras.Model) -> list[str]:
    """Return, for each convolution in order, the layer that puts out its rectified feature maps.

    That is the convolution itself if it has an activation, otherwise the ReLU that it leads to through
    nothing but normalisation and layers that leave values or shapes as they are; or the convolution itself
    if there is none, as before the sum that ends a residual block.

    Parameters
    ----------
    model : keras.Model
        Any functional model.

    Returns
    -------
    list of str
        Layer names, one for each convolution: conv1 ... conv5, or relu_conv1 ... relu_conv5 for an AlexNet
        with batch normalisation.
    """
    refuse_unbuilt(model)
    network = model
    if isinstance(model, keras.Sequential):  # which does not tell what takes what
        network = keras.Model(model.inputs, model.outputs)
    return [_feature_layer(network, layer).name for layer in model.layers if isinstance(layer, _CONVOLUTIONS)]


def _feature_layer(model: keras.Model, convolution: keras.Layer) -> keras.Layer:
    if has_activation(convolution):
        return convolution
    layer = _only_taker(model, convolution)
    while layer is not None and not _is_rectifier(layer) and _passes(layer):
        layer = _only_taker(model, layer)
    return layer if _is_rectifier(layer) else convolution


def _only_taker(model: keras.Model, layer: keras.Layer) -> keras.Operation | None:
    """Return what takes the output of a layer, or None if that is nothing or several."""
    takers = [op for op in model.operations if any(x is layer.output for x in keras.tree.flatten(op.input))]
    return takers[0] if len(takers) == 1 else None


def _is_rectifier(layer) -> bool:
    is_activation = isinstance(layer, keras.layers.Activation) and has_activation(layer)
    return is_activation or isinstance(layer, keras.layers.ReLU)


def _passes(layer) -> bool:
    """Tell whether a layer takes one tensor and puts out one of its shape, with no weights but a norm's."""
    if not isinstance(layer, keras.Layer) or isinstance(layer.input, list):
        return False
    has_weights = layer.weights and not isinstance(layer, keras.layers.BatchNormalization)
    return not has_weights and layer.input.shape == layer.output.shape


def chain(model: keras.Model, layer: str) -> list[keras.Layer]:
    """Return the layers after the input, up to `layer`, each of which feeds the next.

    Raises
    ------
    ValueError
        If there is no such layer, one of them has other inputs or is a model, or the model is not built.
    """
    (last,) = chosen_layers(model, [layer])
    layers = model.layers[: model.layers.index(last) + 1]
    _refuse_models(model, layers)
    for before, after in pairwise(layers):
        if after.input is not before.output:
            raise ValueError(
                f"{model.name} is not a chain up to {layer}: {after.name} does not follow {before.name}"
            )
    return layers[1:] if isinstance(layers[0], keras.layers.InputLayer) else layers  # of a Sequential


def images_at_once(model: keras.Model, *, keeps_all: bool = False, n_bytes: int = 2**30) -> int:
    """Return how many images go through a network, at least one, when its largest tensors may take 1 GB.

    Parameters
    ----------
    keeps_all : bool
        Whether the outputs of all layers stay in memory, as for a gradient; otherwise the two largest count,
        what goes into a layer and what comes out.
    n_bytes : int
    """
    refuse_unbuilt(model)
    sizes = sorted(_output_bytes(model))
    return max(1, n_bytes // max(1, sum(sizes if keeps_all else sizes[-2:])))


def _output_bytes(model: keras.Model) -> list[int]:
    """Return the bytes of float32 that each layer puts out for one image, those of nested models too."""
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += _output_bytes(layer)
        else:
            shapes = (x.shape[1:] for x in keras.tree.flatten(layer.output))
            found.append(sum(4 * math.prod(size or 1 for size in shape) for shape in shapes))
    return found


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
