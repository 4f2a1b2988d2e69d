"""DeepFool: the way to the nearest boundary of a class, and how short it is."""

import keras
import numpy as np

from ... import checks
from ...networks import targets as explained
from ...networks.gradients import outputs_and_gradients
from ..card import Card

__all__ = ["CARDS", "deepfool"]


def deepfool(
    model: keras.Model,
    images: np.ndarray,
    targets: np.ndarray,
    *,
    steps: int = 50,
    overshoot: float = 0.02,
) -> np.ndarray:
    r"""Find a small change that takes each image out of its class.

    Where the logits are taken for straight lines, the nearest boundary, with a class k, is

    .. math:: r = \frac{|f_k - f_t|}{\lVert w_k \rVert^2} \, w_k, \quad w_k = \nabla f_k - \nabla f_t, \quad
              k = \arg\min_j \frac{|f_j - f_t|}{\lVert w_j \rVert}

    away; steps there are added up until another class is the largest.

    Parameters
    ----------
    model : keras.Model
        A softmax at its end is left out.
    images : float array of shape (n, height, width, channels), in [0, 1]
    targets : int array of shape (n,)
        The classes to leave; an image that is in another one gets no change.
    steps : int
        At most.
    overshoot : float
        By which share of the way the boundary is crossed.

    Returns
    -------
    ndarray of shape (n, height, width, channels), float32, signed
        What to add; the sum may leave [0, 1].

    Raises
    ------
    ValueError
        If the images do not fit, or the targets are no classes.

    References
    ----------
    Moosavi-Dezfooli, Fawzi, Frossard 2016, "DeepFool: a simple and accurate method to fool deep neural
    networks", Section 3. Of the question: Szegedy et al. 2014, "Intriguing properties of neural networks".
    """
    checks.at_least(1, steps=steps)
    checks.not_negative(overshoot=overshoot)
    if not np.issubdtype(np.asarray(targets).dtype, np.integer):
        raise ValueError("targets must be whole numbers, the classes to leave")
    logits, images, vectors = explained.prepared(model, images, targets)
    own = vectors.argmax(axis=1)
    change, left = np.zeros_like(images), np.arange(len(images))
    for _ in range(steps):
        values, gradients = _jacobians(logits, images[left] + (1 + overshoot) * change[left])
        is_in = values.argmax(axis=1) == own[left]
        left, values, gradients = left[is_in], values[is_in], gradients[is_in]
        if not len(left):
            break
        change[left] += _to_nearest_boundary(values, gradients, own[left])
    return (1 + overshoot) * change


def _jacobians(logits: keras.Model, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits (n, classes) and their gradients (n, classes, height, width, channels)."""
    n_classes = logits.output_shape[1]
    gradients = np.empty((len(images), n_classes, *images.shape[1:]), np.float32)
    for one in range(n_classes):
        vectors = np.broadcast_to(np.eye(n_classes, dtype=np.float32)[one], (len(images), n_classes))
        values, gradients[:, one] = outputs_and_gradients(logits, images, vectors)
    return values, gradients


def _to_nearest_boundary(values: np.ndarray, gradients: np.ndarray, own: np.ndarray) -> np.ndarray:
    rows = np.arange(len(own))
    gaps = np.abs(values - values[rows, own][:, None])
    ways = gradients - gradients[rows, own][:, None]
    squares = (ways.astype(float) ** 2).sum(axis=(2, 3, 4))
    distances = np.divide(gaps, np.sqrt(squares), out=np.full(gaps.shape, np.inf), where=squares > 0)
    distances[rows, own] = np.inf
    nearest = distances.argmin(axis=1)
    lengths = np.divide(gaps, squares, out=np.zeros(gaps.shape), where=squares > 0)[rows, nearest]
    # the boundary itself belongs to either class: a hair beyond it
    return ((1 + 1e-4) * lengths[:, None, None, None] * ways[rows, nearest]).astype(np.float32)


CARDS = (
    Card(
        name="DeepFool", function="perturbation.deepfool",
        question="What is the smallest change that takes the image out of its class?",
        access="gradient", output="signed, per channel: what to add", passes="about 5 (F + B) a class",
        reduction="absolute",
        fails="Says how near the boundary is, not where the object is.",
        source="Moosavi-Dezfooli, Fawzi, Frossard 2016",
    ),
)  # fmt: skip
