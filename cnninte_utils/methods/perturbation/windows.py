"""Occlusion: hide one window after another and see how far the score falls."""

from collections.abc import Callable, Iterator

import keras
import numpy as np

from ... import checks
from ...networks import targets as explained
from ..card import Card

__all__ = ["CARDS", "occlusion"]


def occlusion(
    model: keras.Model | Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    targets: np.ndarray,
    *,
    size: int | None = None,
    stride: int | None = None,
    baseline: float | np.ndarray | None = None,
    output: str = "logit",
) -> np.ndarray:
    r"""Give each pixel the mean fall of the score over the windows that hide it.

    .. math:: a_{ij} = \frac{1}{|W_{ij}|} \sum_{w \in W_{ij}} \big( f_t(x) - f_t(x_{w := x'}) \big)

    with :math:`W_{ij}` the windows over the position. They begin outside the image, so that pixels at the
    border are in as many as others.

    Parameters
    ----------
    model : keras.Model, or callable
        A callable (n, height, width, channels) → (n, classes) may be any classifier.
    images : float array of shape (n, height, width, channels), in [0, 1]
    targets : int array of shape (n,), or float array of shape (n, classes)
        The class t of each image; or v, where :math:`v \cdot f` is explained.
    size : int, optional
        Of the square windows, in pixels; by default a quarter of the height.
    stride : int, optional
        From one window to the next, at most `size`; by default half of that.
    baseline : float, or array of shape (channels,), (height, width, channels) or that of the images, optional
        x', what the window is filled with; by default the network's mean colour if its first layer subtracts
        one, else black.
    output : {"logit", "probability"}
        Of a network.

    Returns
    -------
    ndarray of shape (n, height, width, 1), float32, signed

    Raises
    ------
    ValueError
        If the images, targets or baseline do not fit, or the stride is larger than the window.

    References
    ----------
    Zeiler, Fergus 2014, "Visualizing and Understanding Convolutional Networks", Section 4.2.
    """
    images = checks.images(images)
    n, height, width, _ = images.shape
    size = max(1, height // 4) if size is None else size
    stride = max(1, size // 2) if stride is None else stride
    checks.at_least(1, size=size, stride=stride)
    checks.require(stride <= size, "stride", stride, f"at most the window's size, {size}")
    outputs = explained.predictor(model, output)
    found = outputs(images)
    vectors = explained.cotangents(targets, *found.shape)
    whole = (found * vectors).sum(axis=1)
    fill = explained.baselines(model, images, baseline)
    windows = list(_windows(height, width, size, stride))
    hidden = (_hidden(images, fill, window) for window in windows)
    total, count = np.zeros((n, height, width, 1)), np.zeros((height, width, 1))
    for window, score in zip(windows, explained.scores_of(outputs, hidden, vectors), strict=True):
        total[:, *window] += (whole - score)[:, None, None, None]
        count[window] += 1
    return (total / count).astype(np.float32)


def _windows(height: int, width: int, size: int, stride: int) -> Iterator[tuple[slice, slice]]:
    for top in range(stride - size, height, stride):
        for left in range(stride - size, width, stride):
            yield slice(max(0, top), top + size), slice(max(0, left), left + size)


def _hidden(images: np.ndarray, fill: np.ndarray, window: tuple[slice, slice]) -> np.ndarray:
    copy = images.copy()
    copy[:, *window] = fill[:, *window]
    return copy


CARDS = (
    Card(
        name="Occlusion", function="perturbation.occlusion",
        question="How far does the score fall if a window is hidden?",
        access="predict", output="signed, one channel, as coarse as the window",
        passes="((h + size) / stride)² F",
        fails="Depends on the window's size and fill; misses what is there twice.",
        source="Zeiler, Fergus 2014",
    ),
)  # fmt: skip
