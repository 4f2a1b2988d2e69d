"""Find an image that a layer cannot tell from a given one: what the layer still knows of the picture."""

import keras
import numpy as np
from keras import ops

from ... import checks
from ...networks.activations import layer_output
from ...networks.gradients import compiled, vjp

__all__ = ["invert"]

_POWER = 6
_FIRST_MOMENT, _SECOND_MOMENT = 0.9, 0.999  # Adam's


def invert(
    model: keras.Model,
    layer: str,
    images: np.ndarray,
    *,
    steps: int = 300,
    step_size: float = 0.05,
    bound: float = 0.01,
    smoothness: float = 0.1,
    random_state: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    r"""Look for the smoothest images with the same features as the given ones.

    .. math:: \min_x \; \frac{\lVert \Phi(x) - \Phi(x_0) \rVert^2}{\lVert \Phi(x_0) \rVert^2}
              + \lambda_\alpha \operatorname{mean} |2 x - 1|^6
              + \lambda_V \operatorname{mean}_{ij} \big( (x_{i+1,j} - x_{ij})^2
                                                        + (x_{i,j+1} - x_{ij})^2 \big)

    with :math:`\Phi` what the layer puts out; differences over the border are left out. Adam goes down from
    grey noise, in steps that shrink to nothing, and stays in [0, 1].

    Parameters
    ----------
    model : keras.Model
        It is not altered.
    layer : str
    images : float array of shape (n, height, width, channels), in [0, 1]
        :math:`x_0`, at least two pixels high and wide.
    steps : int
    step_size : float
        Of the first steps, in pixel values.
    bound : float
        :math:`\lambda_\alpha`: against values near black and white.
    smoothness : float
        :math:`\lambda_V`.
    random_state : int
        Of the noise, the same for all images.

    Returns
    -------
    found : ndarray of shape (n, height, width, channels), float32 in [0, 1]
    errors : ndarray of shape (n,), float32, not negative
        The first term at the end: 0 if the layer cannot tell the two images apart.

    Raises
    ------
    ValueError
        If the layer is unknown or puts out nothing but zeros for an image, or the images do not fit.

    References
    ----------
    Mahendran, Vedaldi 2015, "Understanding Deep Image Representations by Inverting Them", Section 2 (whose
    weights of the terms are set for each layer; here they are the same for all).
    """
    checks.at_least(1, steps=steps)
    checks.not_negative(step_size=step_size, bound=bound, smoothness=smoothness)
    images = checks.images(images, model.input_shape[1:])
    features = keras.Model(model.inputs, layer_output(model, layer), name=model.name)
    wanted = np.asarray(features.predict(images, verbose=0))
    lengths = (wanted**2).reshape(len(images), -1).sum(axis=1)
    if not lengths.all():
        raise ValueError(f"{layer} puts out nothing but zeros for image {int(lengths.argmin())}")

    def misses(x, wanted):
        difference = ops.reshape(features(x, training=False) - wanted, (len(images), -1))
        return ops.sum(difference**2, axis=1) / lengths

    def objective(x, wanted):
        inside = ops.mean((2 * x - 1) ** _POWER, axis=(1, 2, 3))
        return misses(x, wanted) + bound * inside + smoothness * _roughness(x)

    def slope(x, wanted):
        return vjp(lambda x: objective(x, wanted), x, ops.ones(len(images)))[1]

    start = 0.5 + 0.05 * np.random.default_rng(random_state).standard_normal(images.shape[1:])
    first = np.broadcast_to(start, images.shape).astype(np.float32)
    found = _descended(compiled(slope), first, wanted, steps, step_size)
    return found, ops.convert_to_numpy(misses(ops.convert_to_tensor(found), wanted))


def _roughness(x):
    """Return the mean over the pixels of the squared differences to the pixel below and to the right."""
    n_values = x.shape[1] * x.shape[2] * x.shape[3]
    down = ops.sum((x[:, 1:] - x[:, :-1]) ** 2, axis=(1, 2, 3))
    right = ops.sum((x[:, :, 1:] - x[:, :, :-1]) ** 2, axis=(1, 2, 3))
    return (down + right) / n_values


def _descended(slope, x: np.ndarray, wanted: np.ndarray, steps: int, step_size: float) -> np.ndarray:
    """Go down by Adam, in steps that shrink along half a cosine."""
    mean, square = np.zeros_like(x), np.zeros_like(x)
    for step in range(steps):
        gradient = slope(x, wanted)
        mean = _FIRST_MOMENT * mean + (1 - _FIRST_MOMENT) * gradient
        square = _SECOND_MOMENT * square + (1 - _SECOND_MOMENT) * gradient**2
        direction = mean / (1 - _FIRST_MOMENT ** (step + 1))
        scale = np.sqrt(square / (1 - _SECOND_MOMENT ** (step + 1))) + 1e-8
        size = step_size * (1 + np.cos(np.pi * step / steps)) / 2
        x = np.clip(x - size * direction / scale, 0, 1).astype(np.float32)
    return x
