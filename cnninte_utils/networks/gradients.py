"""Gradients of networks on any Keras backend: the only lines that name one."""

from collections.abc import Callable

import keras
import numpy as np

from .. import checks
from .lookup import images_at_once

__all__ = ["compiled", "vector_jacobian_product", "vjp"]


def vector_jacobian_product(
    model: keras.Model, images: np.ndarray, cotangents: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    r"""Compute the outputs and their gradient with respect to the images, in any Keras backend.

    .. math:: g_n = \sum_j v_{nj} \, \partial f_j(x_n) / \partial x_n

    Parameters
    ----------
    model : keras.Model
        One input, one output, run in inference mode.
    images : float array of shape (n, height, width, channels), in [0, 1]
    cotangents : ndarray of the output's shape
        The vectors v.

    Returns
    -------
    outputs : ndarray
    gradients : ndarray of the images' shape

    Raises
    ------
    ValueError
        If the images do not fit the model or are not in [0, 1], or there is not one cotangent for each.
    """
    images = checks.images(images, model.input_shape[1:])
    if len(cotangents) != len(images):
        raise ValueError(
            f"there must be one cotangent for each image, got {len(cotangents)} for {len(images)}"
        )
    at_once = images_at_once(model, keeps_all=True)
    parts = []
    for start in range(0, len(images), at_once):
        some = slice(start, start + at_once)
        x, v = keras.ops.convert_to_tensor(images[some]), keras.ops.convert_to_tensor(cotangents[some])
        parts.append(map(keras.ops.convert_to_numpy, vjp(lambda x: model(x, training=False), x, v)))
    outputs, gradients = zip(*parts, strict=True)
    return np.concatenate(outputs), np.concatenate(gradients)


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
