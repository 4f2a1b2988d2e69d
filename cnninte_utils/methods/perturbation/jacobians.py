"""All logits and the gradients of all of them: what a way to a boundary is found with."""

import keras
import numpy as np

from ...networks.gradients import outputs_and_gradients

__all__ = ["jacobians", "whole_targets"]


def jacobians(logits: keras.Model, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute a network's outputs for images, and the gradient of each.

    Parameters
    ----------
    logits : keras.Model
    images : float array of shape (n, height, width, channels)
        Of any values.

    Returns
    -------
    outputs : ndarray of shape (n, classes)
    gradients : ndarray of shape (n, classes, height, width, channels), float32
    """
    n_classes = logits.output_shape[1]
    gradients = np.empty((len(images), n_classes, *images.shape[1:]), np.float32)
    for one in range(n_classes):
        vectors = np.broadcast_to(np.eye(n_classes, dtype=np.float32)[one], (len(images), n_classes))
        values, gradients[:, one] = outputs_and_gradients(logits, images, vectors)
    return values, gradients


def whole_targets(targets: np.ndarray, what: str) -> None:
    """Refuse targets that are combinations of logits where a class is meant.

    Raises
    ------
    ValueError
        If they are no whole numbers.
    """
    if not np.issubdtype(np.asarray(targets).dtype, np.integer):
        raise ValueError(f"targets must be whole numbers, the classes to {what}")
