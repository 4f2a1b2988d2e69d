"""Project feature maps back to pixels: deconvnet, guided backpropagation, plain gradient (paper B)."""

from collections.abc import Callable, Sequence
from functools import partial

import keras
import numpy as np
from keras import ops

from ... import checks
from ...networks.activations import activations
from ...networks.backward import LET_THROUGH as RULES
from ...networks.gradients import compiled, vjp
from ...networks.lookup import chain, images_at_once
from ...networks.parts import LocalResponseNormalization
from ...networks.weights import randomized

__all__ = ["RULES", "SEEDS", "randomized", "reconstruct", "reconstruct_unit"]

SEEDS = ("map", "ones", "peak")


def reconstruct(
    model: keras.Model,
    image: np.ndarray,
    layer: str,
    units: Sequence[int] | None = None,
    *,
    rule: str = "deconvnet",
    seed: str = "map",
    lrn: str = "identity",
    batch_size: int = 16,
) -> np.ndarray:
    r"""Project the feature maps of a layer back to pixels, one unit at a time.

    From the layer down, each step of the network is reversed: convolutions by their transposed filters,
    max-pooling by the switches (where each maximum came from; what overlapping windows put in one place is
    added), and ReLUs by a rule, for a signal :math:`g` and the ReLU's output :math:`y` on the way up:

    .. math:: \text{deconvnet: } \max(g, 0) \quad
              \text{guided: } \max(g, 0) \, [y > 0] \quad
              \text{gradient: } g \, [y > 0]

    Parameters
    ----------
    model : keras.Model
        A chain of layers; it is not altered.
    image : float array of shape (height, width, channels), in [0, 1]
    layer : str
        Where the feature maps are.
    units : sequence of int, optional
        By default every unit of the layer.
    rule : {"deconvnet", "guided", "gradient"}
        Zeiler & Fergus's; what paper B's authors' tool computes; the plain gradient.
    seed : {"map", "ones", "peak"}
        What starts on the way down: the unit's feature map (Zeiler & Fergus), ones all over it (the gradient
        of the map's sum; paper B's tool), or the map at its strongest position only.
    lrn : {"identity", "gradient"}
        Local response normalisation is passed by, or reversed by its gradient.
    batch_size : int
        Units at a time, at most.

    Returns
    -------
    ndarray of shape (units, height, width, channels), float32
        Signed and unnormalised; all zero where the seed is.

    Raises
    ------
    ValueError
        If a name is unknown, a unit does not exist, the image does not fit, or the layers up to this one are
        not a chain.

    References
    ----------
    Zeiler, Fergus 2014, "Visualizing and Understanding Convolutional Networks", Section 2.1.
    Springenberg et al. 2015, "Striving for Simplicity", Section 3.4. Wang, Liu 2024, Section 2.
    """
    checks.at_least(1, batch_size=batch_size)
    n_units = _n_units(model, layer)
    units = checks.units(np.arange(n_units) if units is None else units, n_units)
    project = _projection(model, image[None], layer, rule, seed, lrn)
    result = np.empty((len(units), *image.shape), np.float32)
    batch_size = min(batch_size, images_at_once(model))
    for start in range(0, len(units), batch_size):
        batch = slice(start, start + batch_size)
        result[batch] = project(units[batch])
    return result


def reconstruct_unit(
    model: keras.Model,
    images: np.ndarray,
    layer: str,
    unit: int | Sequence[int],
    *,
    rule: str = "deconvnet",
    seed: str = "peak",
    lrn: str = "identity",
) -> np.ndarray:
    """Project a unit's feature maps of several images back to pixels; otherwise as :func:`reconstruct`.

    Parameters
    ----------
    images : float array of shape (n, height, width, channels), in [0, 1]
    unit : int, or sequence of n ints
        One for all images, or one for each.

    Returns
    -------
    ndarray of shape (n, height, width, channels), float32

    Raises
    ------
    ValueError
        If there are neither one unit nor one for each image; otherwise as :func:`reconstruct`.
    """
    units = checks.units(np.atleast_1d(unit), _n_units(model, layer))
    images = checks.images(images, model.input_shape[1:])
    if len(units) not in (1, len(images)):
        raise ValueError(f"one unit or one for each of {len(images)} images needed, got {len(units)}")
    units = np.broadcast_to(units, len(images))
    at_once = images_at_once(model, keeps_all=True)
    parts = [slice(start, start + at_once) for start in range(0, len(images), at_once)]
    return np.concatenate(
        [_projection(model, images[part], layer, rule, seed, lrn)(units[part]) for part in parts]
    )


def _projection(model, images, layer, rule, seed, lrn) -> Callable[[np.ndarray], np.ndarray]:
    """Return the way down as a function of units: all of them in one image, or one for each image."""
    checks.choice("rule", rule, RULES)
    checks.choice("seed", seed, SEEDS)
    checks.choice("lrn", lrn, ("identity", "gradient"))
    layers = chain(model, layer)
    images = checks.images(images, model.input_shape[1:])
    outputs = activations(model, [step.name for step in layers], images)
    inputs = [images, *(outputs[step.name] for step in layers[:-1])]
    steps = [_step(step, x, outputs[step.name], rule, lrn) for step, x in zip(layers, inputs, strict=True)]

    def descend(signal):
        for step in reversed(steps):
            signal = step(signal)
        return signal

    project = compiled(descend, holds_arrays=True)
    return lambda units: project(_seeds(outputs[layer], units, seed))


def _n_units(model: keras.Model, layer: str) -> int:
    return chain(model, layer)[-1].output.shape[-1]


def _step(layer: keras.Layer, x: np.ndarray, y: np.ndarray, rule: str, lrn: str) -> Callable:
    """Return the way down through one layer: signal at its output → signal at its input."""
    if getattr(layer, "data_format", None) == "channels_first":
        raise ValueError(f"cannot reverse {layer.name}: its channels come first, they are to come last")
    if rule != "gradient" and _may_hide_a_relu(layer):
        raise ValueError(
            f"cannot reverse {layer.name} by {rule}: its activation is none of Keras's functions"
        )
    if _is_other_rectifier(layer):
        if rule != "gradient":
            raise ValueError(
                f"cannot reverse {layer.name} by {rule}: it is not a plain ReLU, which that rule is for"
            )
        return _gradient(layer, ops.convert_to_tensor(x))
    is_on = ops.convert_to_tensor((y > 0).astype(np.float32))
    linear = _linear(layer, ops.convert_to_tensor(x), lrn)
    if isinstance(layer, keras.layers.ReLU) or _activation(layer) == "relu":
        return lambda signal: linear(RULES[rule](signal, is_on))
    return linear


def _may_hide_a_relu(layer: keras.Layer) -> bool:
    """Tell whether what a layer does has no name: a lambda, another layer's work, one's own function."""
    is_own = getattr(layer, "activation", None) is not None and _activation(layer) is None
    return is_own or isinstance(layer, keras.layers.Wrapper | keras.layers.Lambda | keras.Model)


def _is_other_rectifier(layer: keras.Layer) -> bool:
    """Tell whether a layer cuts off or scales otherwise than at and below zero."""
    if isinstance(layer, keras.layers.ReLU):
        return (layer.max_value, layer.negative_slope, layer.threshold) != (None, 0, 0)
    kinds = (keras.layers.LeakyReLU, keras.layers.PReLU, keras.layers.ELU)
    return isinstance(layer, kinds) or _activation(layer) in ("leaky_relu", "relu6", "elu")


def _gradient(function: Callable, x) -> Callable:
    return lambda signal: vjp(function, ops.broadcast_to(x, (len(signal), *x.shape[1:])), signal)[1]


def _linear(layer: keras.Layer, x, lrn: str) -> Callable:
    """Return the way down through what a layer does besides its ReLU."""
    has_relu = _activation(layer) == "relu"
    if isinstance(layer, keras.layers.ReLU) or (has_relu and type(layer) is keras.layers.Activation):
        return lambda signal: signal
    if isinstance(layer, LocalResponseNormalization) and lrn == "identity":
        return lambda signal: signal
    function = layer
    if _activation(layer) in ("relu", "linear"):
        if isinstance(layer, keras.layers.Conv2D) and _has_square_stride(layer):
            options = {"stride": layer.strides[0], "padding": layer.padding, "size": x.shape[1:3]}
            return lambda signal: transposed_convolution(signal, layer.kernel, **options)
        if isinstance(layer, keras.layers.Conv2D):
            function = partial(_convolve, layer)
        elif isinstance(layer, keras.layers.Dense):
            function = partial(_multiply, layer)
        elif has_relu:
            raise ValueError(f"cannot reverse {layer.name}, a {type(layer).__name__} with a ReLU inside")
    return _gradient(function, x)


def _has_square_stride(layer: keras.layers.Conv2D) -> bool:
    """Tell whether the fast way down serves a convolution: a stride and a kernel alike along both axes."""
    is_square = len(set(layer.strides)) == len(set(layer.kernel_size)) == 1
    return is_square and layer.strides[0] > 1 and layer.groups == 1 and set(layer.dilation_rate) == {1}


def _convolve(layer: keras.layers.Conv2D, x):
    return layer.convolution_op(x, layer.kernel)


def _multiply(layer: keras.layers.Dense, x):
    return ops.matmul(x, layer.kernel)


def _activation(layer: keras.Layer) -> str | None:
    """Return the name of a layer's activation; None if it has none, or one that only has a known name."""
    function = getattr(layer, "activation", None)
    name = getattr(function, "__name__", "")
    return name if name and getattr(keras.activations, name, None) is function else None


def transposed_convolution(signal, kernel, *, stride: int, padding: str, size: tuple[int, int]):
    """Take a signal from a strided convolution's output to its input.

    As one convolution without a stride, to `stride`² times the channels, which are then laid out in space
    (sub-pixel convolution, Shi et al. 2016); several times as fast as the general gradient on a CPU.

    Parameters
    ----------
    signal : tensor of shape (n, height, width, filters)
    kernel : tensor of shape (k, k, channels, filters)
    padding : {"same", "valid"}
    size : (height, width)
        Of the input.

    Returns
    -------
    tensor of shape (n, *size, channels)
    """
    k, _, n_channels, n_filters = kernel.shape
    n_blocks = -(-k // stride)
    missing = n_blocks * stride - k
    blocks = ops.pad(kernel, [(0, missing), (0, missing), (0, 0), (0, 0)])
    blocks = ops.reshape(blocks, (n_blocks, stride, n_blocks, stride, n_channels, n_filters))
    filters = ops.flip(ops.transpose(blocks, (0, 2, 5, 1, 3, 4)), axis=(0, 1))
    filters = ops.reshape(filters, (n_blocks, n_blocks, n_filters, -1))
    around = (n_blocks - 1, n_blocks - 1)
    cells = ops.conv(ops.pad(signal, [(0, 0), around, around, (0, 0)]), filters, padding="valid")
    _, height, width, _ = cells.shape
    cells = ops.reshape(cells, (-1, height, width, stride, stride, n_channels))
    pixels = ops.transpose(cells, (0, 1, 3, 2, 4, 5))
    pixels = ops.reshape(pixels, (-1, height * stride, width * stride, n_channels))
    return _placed(pixels, signal.shape[1:3], k, stride, padding, size)


def _placed(pixels, signal_size, k: int, stride: int, padding: str, size: tuple[int, int]):
    """Cut what the padding had added, and fill with zeros what no filter had reached."""
    for axis, (n_out, n_in) in enumerate(zip(signal_size, size, strict=True), start=1):
        before = max(0, (n_out - 1) * stride + k - n_in) // 2 if padding == "same" else 0
        margins = [(0, 0)] * 4
        margins[axis] = (0, max(0, before + n_in - pixels.shape[axis]))
        pixels = ops.take(ops.pad(pixels, margins), range(before, before + n_in), axis=axis)
    return pixels


def _seeds(top: np.ndarray, units: np.ndarray, seed: str) -> np.ndarray:
    """Return one start (units, *shape of the layer's output) for each unit, in its image or the only one."""
    instance = np.arange(len(units)) if len(top) > 1 else np.zeros(len(units), dtype=int)
    maps = top[instance, ..., units]
    if seed == "ones":
        maps = np.ones_like(maps)
    elif seed == "peak":
        maps = np.where(maps == maps.max(axis=tuple(range(1, maps.ndim)), keepdims=True), maps, 0)
    starts = np.zeros((len(units), *top.shape[1:]), top.dtype)
    starts[np.arange(len(units)), ..., units] = maps
    return starts
