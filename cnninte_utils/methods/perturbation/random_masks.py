"""RISE: hide random parts, and average the masks by the scores that are left."""

from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from ... import checks
from ...networks import targets as explained
from ..card import Card

__all__ = ["CARDS", "masks", "rise"]


def rise(
    model: keras.Model | Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    targets: np.ndarray,
    *,
    n_masks: int = 500,
    cells: int = 7,
    share: float = 0.5,
    baseline: float | np.ndarray | None = 0.0,
    output: str = "probability",
    random_state: int = 0,
) -> np.ndarray:
    r"""Average random masks, each by the score of what it leaves to be seen.

    .. math:: a = \frac{1}{N p} \sum_{k=1}^{N} s_t\big(x \odot m_k + x' \odot (1 - m_k)\big) \, m_k

    Parameters
    ----------
    model : keras.Model, or callable
        A callable (n, height, width, channels) → (n, classes) may be any classifier.
    images : float array of shape (n, height, width, channels), in [0, 1]
    targets : int array of shape (n,), or float array of shape (n, classes)
    n_masks : int
        N. The same masks serve all images.
    cells, share, random_state
        Of :func:`masks`; the share is p.
    baseline : float, or array of shape (channels,), (height, width, channels) or that of the images, optional
        x', behind the mask: black in the paper; None for the network's mean colour.
    output : {"probability", "logit"}
        s: the paper weighs by probabilities.

    Returns
    -------
    ndarray of shape (n, height, width, 1), float32
        Not negative, of probabilities.

    Raises
    ------
    ValueError
        If the images, targets or baseline do not fit, or an option is out of range.

    References
    ----------
    Petsiuk, Das, Saenko 2018, "RISE: Randomized Input Sampling for Explanation of Black-box Models",
    Section 3.
    """
    images = checks.images(images)
    behind = explained.baselines(model, images, baseline)
    drawn = masks(n_masks, images.shape[1:3], cells=cells, share=share, random_state=random_state)
    outputs = explained.predictor(model, output)
    vectors = explained.cotangents(targets, *outputs(images).shape)
    masked = (behind + mask * (images - behind) for mask in drawn)
    total = np.zeros((*images.shape[:3], 1))
    for mask, score in zip(drawn, explained.scores_of(outputs, masked, vectors), strict=True):
        total += score[:, None, None, None] * mask
    return (total / (n_masks * share)).astype(np.float32)


def masks(
    n: int, size: tuple[int, int], *, cells: int = 7, share: float = 0.5, random_state: int = 0
) -> np.ndarray:
    """Draw smooth masks: a coarse grid of zeros and ones, enlarged bilinearly, at a random shift.

    Parameters
    ----------
    n : int
    size : (height, width)
    cells : int
        Of the grid, along each side.
    share : float
        Probability of a one, between 0 and 1.
    random_state : int

    Returns
    -------
    ndarray of shape (n, height, width, 1), float32 in [0, 1]
    """
    checks.at_least(1, n_masks=n, cells=cells)
    checks.require(0 < share < 1, "share", share, "a number between 0 and 1")
    rng = np.random.default_rng(random_state)
    height, width = size
    steps = [-(-side // cells) for side in size]
    grids = (rng.random((n, cells, cells, 1)) < share).astype(np.float32)
    size = (height + steps[0], width + steps[1])
    larger = ops.image.resize(grids, size, interpolation="bilinear", data_format="channels_last")
    corners = np.stack([rng.integers(0, step + 1, n) for step in steps], axis=1)
    cut = zip(ops.convert_to_numpy(larger), corners, strict=True)
    return np.stack([one[top : top + height, left : left + width] for one, (top, left) in cut])


CARDS = (
    Card(
        name="RISE", function="perturbation.rise",
        question="Which parts are seen when the score is high?",
        access="predict", output="not negative, one channel, smooth", passes="N F", is_signed=False,
        fails="Noisy with few masks; small objects are as likely hidden as seen.",
        source="Petsiuk, Das, Saenko 2018",
    ),
)  # fmt: skip
