"""LIME: hide random sets of segments, and fit a straight line to what the classifier says of the rest."""

from collections.abc import Callable
from unittest.mock import patch

import keras
import numpy as np

from ... import checks
from ...networks import targets as explained
from ..card import Card

__all__ = ["CARDS", "SEGMENTATIONS", "kernel_weights", "lime_map", "segments"]

SEGMENTATIONS = ("quickshift", "slic", "grid")


def lime_map(
    model: keras.Model | Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    targets: np.ndarray,
    *,
    segmentation: str = "quickshift",
    n_samples: int = 500,
    baseline: float | None = None,
    output: str = "probability",
    random_state: int = 0,
) -> np.ndarray:
    r"""Weigh the segments of each image by a linear model of the classifier, with the library ``lime``.

    .. math:: \min_w \sum_z \pi(z) \Big( s_t(x_z) - w_0 - \sum_k w_k z_k \Big)^2 + \lVert w \rVert^2

    over random z: segment k is shown where :math:`z_k = 1`, and hidden where it is 0. For
    :math:`\pi` see :func:`kernel_weights`.

    Parameters
    ----------
    model : keras.Model, or callable
        A callable (n, height, width, channels) → (n, classes) may be any classifier.
    images : float array of shape (n, height, width, channels), in [0, 1]
        Grey or in colours.
    targets : int array of shape (n,), or float array of shape (n, classes)
    segmentation : {"quickshift", "slic", "grid"}
        Of :func:`segments`.
    n_samples : int
        z, at least 2.
    baseline : float, optional
        What hides a segment; by default its own mean colour.
    output : {"probability", "logit"}
        s, of a network.
    random_state : int

    Returns
    -------
    ndarray of shape (n, height, width, 1), float32, signed
        The weight of the segment that a pixel is in.

    Raises
    ------
    ValueError
        If the images or targets do not fit, or an option is out of range.

    References
    ----------
    Ribeiro, Singh, Guestrin 2016, "“Why Should I Trust You?”: Explaining the Predictions of Any Classifier",
    Section 3.
    """
    from lime.lime_image import LimeImageExplainer

    images = checks.images(images)
    checks.require(images.shape[-1] in (1, 3), "images", images.shape, "one channel or three")
    checks.at_least(2, n_samples=n_samples)
    checks.choice("segmentation", segmentation, SEGMENTATIONS)
    checks.require(
        baseline is None or 0 <= baseline <= 1, "baseline", baseline, "a number in [0, 1], or None"
    )
    outputs = explained.predictor(model, output)
    vectors = explained.cotangents(targets, *outputs(images).shape)
    found = np.empty((*images.shape[:3], 1), np.float32)
    for one, image, vector in zip(found, images, vectors, strict=True):

        def ask(shown, vector=vector):
            shown = np.clip(shown[..., : images.shape[-1]], 0, 1).astype(np.float32)
            return (outputs(shown) * vector).sum(axis=1, keepdims=True)

        parts = segments(image, segmentation, random_state=random_state)
        color = np.broadcast_to(image.astype(float), (*parts.shape, 3)).copy()
        with patch("lime.lime_image.tqdm", lambda rows: rows):  # the library shows a bar for each image
            explanation = LimeImageExplainer(random_state=random_state).explain_instance(
                color, ask, labels=(0,), hide_color=baseline, num_features=parts.max() + 1,
                num_samples=n_samples, batch_size=500, segmentation_fn=lambda _, parts=parts: parts,
            )  # fmt: skip
        weights = dict(explanation.local_exp[0])
        one[..., 0] = np.array([weights[k] for k in range(parts.max() + 1)])[parts]
    return found


def segments(image: np.ndarray, segmentation: str = "quickshift", *, random_state: int = 0) -> np.ndarray:
    """Cut an image into segments, by scikit-image.

    Parameters
    ----------
    image : float array of shape (height, width, 1 or 3), in [0, 1]
    segmentation : {"quickshift", "slic", "grid"}
        Modes of colour and place, about fifty clusters of both, or eight squares along each side.
    random_state : int

    Returns
    -------
    int array of shape (height, width)
        From 0, none left out.
    """
    from skimage.segmentation import quickshift, slic

    checks.choice("segmentation", segmentation, SEGMENTATIONS)
    height, width = image.shape[:2]
    color = np.broadcast_to(image.astype(float), (height, width, 3)).copy()
    if segmentation == "grid":
        rows, columns = (np.arange(side) * min(8, side) // side for side in (height, width))
        parts = rows[:, None] * 8 + columns
    elif segmentation == "slic":
        parts = slic(color, n_segments=50, compactness=10, start_label=0)
    else:
        parts = quickshift(color, kernel_size=max(1, height / 32), max_dist=200, ratio=0.2, rng=random_state)
    return np.unique(parts, return_inverse=True)[1].reshape(height, width)


def kernel_weights(shown: np.ndarray, width: float = 0.25) -> np.ndarray:
    r"""Return how much samples weigh, by the share of segments that they show.

    .. math:: \pi = \sqrt{\exp(-d^2 / \sigma^2)}, \qquad d = 1 - \sqrt{\text{share}}

    d is the cosine distance from showing all.

    Parameters
    ----------
    shown : float array
        Shares, in [0, 1].
    width : float
        σ, the library's.

    Examples
    --------
    >>> kernel_weights(np.array([1.0, 0.25])).round(4).tolist()
    [1.0, 0.1353]
    """
    return np.sqrt(np.exp(-((1 - np.sqrt(shown)) ** 2) / width**2))


CARDS = (
    Card(
        name="LIME", function="perturbation.lime_map",
        question="Which segments speak for the class, in a linear model nearby?",
        access="predict", output="signed, one channel, constant in a segment", passes="N F",
        fails="Depends on the segments and what hides them; half of them are hidden in a sample.",
        source="Ribeiro, Singh, Guestrin 2016",
    ),
)  # fmt: skip
