"""Find the image that excites a unit most: activation maximisation (paper B, eq. 1)."""

from collections.abc import Sequence

import keras
import numpy as np
from scipy.ndimage import gaussian_filter

from ... import checks
from ...networks.activations import layer_output
from ...networks.gradients import vector_jacobian_product

__all__ = ["maximize"]


def maximize(
    model: keras.Model,
    layer: str,
    units: Sequence[int],
    *,
    steps: int = 100,
    step_size: float = 0.02,
    decay: float = 0.01,
    max_shift: int = 2,
    blur: float = 0.0,
    random_state: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    r"""Climb from grey noise towards an image that a unit responds to, for several units at once.

    .. math:: x^* = \arg\max_x \; a_u(x) - \lambda \lVert x - \tfrac12 \rVert^2

    with :math:`a_u` the mean of the unit's feature map. Steps go along the gradient divided by its root
    mean square; the image is shifted at random before each, which keeps single pixels from running away, and
    the gradient may be blurred, which keeps the finest patterns from taking over.

    Parameters
    ----------
    model : keras.Model
        Of images in [0, 1]; it is not altered.
    layer : str
    units : sequence of int
    steps : int
    step_size : float
        Root mean square of what a step adds to the pixels.
    decay : float
        Share of the distance to grey that is lost in each step: the penalty.
    max_shift : int
        Pixels.
    blur : float
        Standard deviation, in pixels, of the Gaussian by which each gradient is smoothed; 0 for none.
    random_state : int

    Returns
    -------
    images : ndarray of shape (units, height, width, channels), float32 in [0, 1]
    activations : ndarray of shape (steps, units)
        The objective before each step, without the penalty.

    Raises
    ------
    ValueError
        If the layer or a unit does not exist.

    References
    ----------
    Erhan et al. 2009, "Visualizing Higher-Layer Features of a Deep Network". Wang, Liu 2024, eq. 1. The
    regularisation: Yosinski et al. 2015, "Understanding Neural Networks Through Deep Visualization".
    """
    objective = keras.Model(model.inputs, layer_output(model, layer, "mean"))
    n_units = objective.output_shape[-1]
    units = checks.units(units, n_units)
    cotangents = np.eye(n_units, dtype=np.float32)[units]
    rng = np.random.default_rng(random_state)
    shape = (len(units), *model.input_shape[1:])
    images = (0.5 + 0.05 * rng.standard_normal(shape)).astype(np.float32)
    reached = np.empty((steps, len(units)), np.float32)
    for step in range(steps):
        shift = tuple(rng.integers(-max_shift, max_shift + 1, 2))
        outputs, gradients = vector_jacobian_product(objective, np.roll(images, shift, (1, 2)), cotangents)
        reached[step] = outputs[np.arange(len(units)), units]
        gradients = np.roll(gradients, tuple(-s for s in shift), (1, 2))
        if blur:
            gradients = gaussian_filter(gradients, blur, axes=(1, 2))
        size = np.sqrt((gradients**2).mean(axis=(1, 2, 3), keepdims=True))
        images += step_size * gradients / np.where(size > 0, size, 1)
        images = np.clip(images - decay * (images - 0.5), 0, 1)
    return images, reached
