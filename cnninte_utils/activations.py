"""Layer outputs streamed in batches, and vector-Jacobian products on any Keras backend."""

import logging
from collections.abc import Callable

import keras
import numpy as np

from .layers import chosen_layers

__all__ = [
    "SUMMARIES",
    "activations",
    "compiled",
    "layer_output",
    "predict",
    "vector_jacobian_product",
    "vjp",
]

SUMMARIES = ("max", "mean")


def _is_about_something_else(record: logging.LogRecord) -> bool:
    return "triggered tf.function retracing" not in record.getMessage()


# every layer looked at is a model of its own, so TensorFlow compiles more often than it thinks wise
logging.getLogger("tensorflow").addFilter(_is_about_something_else)


def activations(
    model: keras.Model,
    layers: str | list[str],
    images: np.ndarray,
    *,
    summary: str | None = None,
    batch_size: int = 500,
) -> np.ndarray | dict[str, np.ndarray]:
    """Compute what layers put out, batch by batch.

    Parameters
    ----------
    model : keras.Model
        A functional model; it is not altered.
    layers : str or list of str
        Layer names.
    images : ndarray of shape (n, height, width, channels)
    summary : {"max", "mean"}, optional
        Of the feature maps of a convolutional layer: each unit's spatial maximum or mean, taken while
        streaming, so that the maps of all images are never in memory.
    batch_size : int

    Returns
    -------
    ndarray of shape (n, units) or (n, height, width, units), float32
        A dictionary of them by layer name if `layers` is a list.

    Raises
    ------
    ValueError
        If a layer or the summary is unknown, or the images do not fit the model.
    """
    if summary not in (None, *SUMMARIES):
        raise ValueError(f"unknown summary {summary!r}: choose one of {', '.join(SUMMARIES)} or None")
    if tuple(images.shape[1:]) != tuple(model.input_shape[1:]):
        raise ValueError(f"the model takes images of shape {model.input_shape[1:]}, got {images.shape[1:]}")
    names = [layers] if isinstance(layers, str) else list(layers)
    outputs = {name: layer_output(model, name, summary) for name in names}
    arrays = predict(keras.Model(model.inputs, outputs), images, batch_size=batch_size)
    return arrays[layers] if isinstance(layers, str) else arrays


def predict(model: keras.Model, images: np.ndarray, *, batch_size: int = 500) -> np.ndarray:
    """Compute the model's output, batch by batch.

    Returns
    -------
    ndarray of shape (n, n_classes), float32
    """
    return model.predict(images, batch_size=batch_size, verbose=0)


def vector_jacobian_product(
    model: keras.Model, images: np.ndarray, cotangents: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    r"""Compute the outputs and their gradient with respect to the images, in any Keras backend.

    .. math:: g_n = \sum_j v_{nj} \, \partial f_j(x_n) / \partial x_n

    Parameters
    ----------
    model : keras.Model
        One input, one output, run in inference mode.
    images : ndarray of shape (n, height, width, channels)
    cotangents : ndarray of the output's shape
        The vectors v.

    Returns
    -------
    outputs : ndarray
    gradients : ndarray of the images' shape
    """
    x, v = keras.ops.convert_to_tensor(images), keras.ops.convert_to_tensor(cotangents)
    outputs, gradients = vjp(lambda images: model(images, training=False), x, v)
    return keras.ops.convert_to_numpy(outputs), keras.ops.convert_to_numpy(gradients)


def vjp(function: Callable, x, v) -> tuple:
    r"""Return :math:`f(x)` and :math:`J(x)^T v`, tensors of the backend, for tensors x and v.

    Parameters
    ----------
    function : callable
        Tensor → tensor, in Keras operations.
    """
    return _on_backend({"tensorflow": _vjp_tensorflow, "jax": _vjp_jax, "torch": _vjp_torch})(function, x, v)


def compiled(function: Callable) -> Callable[[np.ndarray], np.ndarray]:
    """Return an array → array version of a tensor → tensor function.

    TensorFlow and JAX compile it, and leave out what its result does not depend on.
    """

    def tensorflow():
        import tensorflow as tf

        return tf.function(function, reduce_retracing=True)

    def jax():
        import jax

        return jax.jit(function)

    run = _on_backend({"tensorflow": tensorflow, "jax": jax, "torch": lambda: function})()
    return lambda x: keras.ops.convert_to_numpy(run(keras.ops.convert_to_tensor(x)))


def _on_backend(implementations: dict[str, Callable]) -> Callable:
    backend = keras.backend.backend()
    if backend not in implementations:
        raise NotImplementedError(f"no gradients on the backend {backend!r}: use tensorflow, jax or torch")
    return implementations[backend]


def _vjp_tensorflow(function, x, v):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = function(x)
    return outputs, tape.gradient(outputs, x, output_gradients=v)


def _vjp_jax(function, x, v):
    import jax

    outputs, pull_back = jax.vjp(function, x)
    return outputs, pull_back(v)[0]


def _vjp_torch(function, x, v):
    import torch

    x = x.detach().requires_grad_()
    outputs = function(x)
    return outputs.detach(), torch.autograd.grad(outputs, x, v)[0]


def layer_output(model: keras.Model, name: str, summary: str | None = None) -> keras.KerasTensor:
    """Return a layer's symbolic output, feature maps summarised if asked for; unknown names are refused."""
    (layer,) = chosen_layers(model, [name])
    return _summarized(layer.output, summary)


def _summarized(output: keras.KerasTensor, summary: str | None) -> keras.KerasTensor:
    """Reduce feature maps inside the graph; other outputs stay."""
    if summary is None or len(output.shape) != 4:
        return output
    layers = keras.layers
    return (
        layers.GlobalMaxPooling2D()(output) if summary == "max" else layers.GlobalAveragePooling2D()(output)
    )
