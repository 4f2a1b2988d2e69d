"""Gradients of networks on any Keras backend: the only lines that name one."""

from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from .. import checks
from .lookup import images_at_once

__all__ = [
    "compiled",
    "in_batches",
    "outputs_and_gradients",
    "pull_back",
    "vector_jacobian_product",
    "vjp",
]


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
        If the images do not fit the model or are not in [0, 1], or the cotangents do not fit the outputs.
    """
    images = checks.images(images, model.input_shape[1:])
    expected = (len(images), *model.output_shape[1:])
    if np.shape(cotangents) != expected:
        raise ValueError(f"cotangents must have the outputs' shape {expected}, got {np.shape(cotangents)}")
    return outputs_and_gradients(model, images, cotangents)


def outputs_and_gradients(
    model: keras.Model, images: np.ndarray, cotangents: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Do what :func:`vector_jacobian_product` does, for images of any values, such as noisy ones."""
    return in_batches(lambda x, v: vjp(lambda x: model(x, training=False), x, v), model, images, cotangents)


def in_batches(function: Callable, model: keras.Model, *arrays: np.ndarray, copies: int = 1):
    """Compute a function of images and what goes with each, so many at once as a gradient has memory for.

    Parameters
    ----------
    function : callable
        Tensors → tensor, or → tuple of tensors; one row for each image.
    model : keras.Model
        Whose layers' outputs are kept meanwhile.
    *arrays : ndarrays of shape (n, ...)
    copies : int
        How many times over they are kept.

    Returns
    -------
    ndarray of shape (n, ...), or tuple of them
    """
    at_once = max(1, images_at_once(model, keeps_all=True) // copies)
    parts = []
    for start in range(0, len(arrays[0]), at_once):
        found = function(*(ops.convert_to_tensor(array[start : start + at_once]) for array in arrays))
        parts.append(keras.tree.map_structure(ops.convert_to_numpy, found))
    return keras.tree.map_structure(lambda *rows: np.concatenate(rows), *parts)


def vjp(function: Callable, x, v) -> tuple:
    r"""Return :math:`f(x)` and :math:`J(x)^T v`, tensors of the backend, for tensors x and v.

    Parameters
    ----------
    function : callable
        Tensor → tensor, in Keras operations.
    """
    outputs, pull = pull_back(function, x)
    return outputs, pull(v)


def pull_back(function: Callable, x) -> tuple:
    r"""Return :math:`f(x)` and the function :math:`v \mapsto J(x)^T v`, for a tensor x of the backend."""
    backends = {"tensorflow": _pull_tensorflow, "jax": _pull_jax, "torch": _pull_torch}
    return _on_backend(backends)(function, x)


def compiled(function: Callable, *, holds_arrays: bool = False) -> Callable[..., np.ndarray]:
    """Return a version for arrays of a function of tensors, one or several, that returns one.

    TensorFlow and JAX compile it, and leave out what its result does not depend on. If it holds arrays, such
    as the maps of a layer, JAX does not: XLA would compute with them while it compiles, for many minutes.
    """

    def tensorflow():
        import tensorflow as tf

        return tf.function(function, reduce_retracing=True)

    def jax():
        import jax

        return function if holds_arrays else jax.jit(function)

    run = _on_backend({"tensorflow": tensorflow, "jax": jax, "torch": lambda: function})()
    return lambda *arrays: ops.convert_to_numpy(run(*map(ops.convert_to_tensor, arrays)))


def _on_backend(implementations: dict[str, Callable]) -> Callable:
    backend = keras.backend.backend()
    if backend not in implementations:
        raise NotImplementedError(f"no gradients on the backend {backend!r}: use tensorflow, jax or torch")
    return implementations[backend]


def _pull_tensorflow(function, x):
    import tensorflow as tf

    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        outputs = function(x)
    return outputs, lambda v: tape.gradient(outputs, x, output_gradients=v)


def _pull_jax(function, x):
    import jax

    outputs, pull = jax.vjp(function, x)
    return outputs, lambda v: pull(v)[0]


def _pull_torch(function, x):
    import torch

    x = x.detach().requires_grad_()
    outputs = function(x)
    return outputs.detach(), lambda v: torch.autograd.grad(outputs, x, v, retain_graph=True)[0]
