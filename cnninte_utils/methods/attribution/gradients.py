"""Gradients of a logit: plain, times the input, over noisy copies, along a path."""

from collections.abc import Iterable, Iterator
from itertools import islice

import keras
import numpy as np

from ... import checks
from ...networks import targets as explained
from ...networks.gradients import outputs_and_gradients
from ...networks.lookup import images_at_once
from ..card import Card

__all__ = ["CARDS", "gradient", "gradient_input", "integrated_gradients", "smoothgrad"]


def gradient(model: keras.Model, images: np.ndarray, targets: np.ndarray) -> np.ndarray:
    r"""Compute how the logit changes with each pixel.

    .. math:: a_i = \frac{\partial f_t(x)}{\partial x_i}

    Parameters
    ----------
    model : keras.Model
        Any with one input and one output; a softmax at the end is left out. It is not altered.
    images : float array of shape (n, height, width, channels), in [0, 1]
    targets : int array of shape (n,), or float array of shape (n, classes)
        The class t of each image; or v, where :math:`v \cdot f` takes the place of :math:`f_t`.

    Returns
    -------
    ndarray of shape (n, height, width, channels), float32, signed

    Raises
    ------
    ValueError
        If the images do not fit or are not in [0, 1], or the targets are no classes.

    References
    ----------
    Simonyan, Vedaldi, Zisserman 2014, "Deep Inside Convolutional Networks", Section 3 (who draw the largest
    absolute value over the channels).
    """
    return outputs_and_gradients(*explained.prepared(model, images, targets))[1]


def gradient_input(
    model: keras.Model, images: np.ndarray, targets: np.ndarray, *, baseline: float | np.ndarray | None = None
) -> np.ndarray:
    r"""Compute what each pixel would add if the network were a straight line.

    .. math:: a_i = (x_i - x'_i) \, \frac{\partial f_t(x)}{\partial x_i}

    The sum is :math:`f_t(x)` for a network of ReLUs without biases.

    Parameters
    ----------
    baseline : float, or array of shape (channels,), (height, width, channels) or that of the images, optional
        :math:`x'`, in [0, 1]; by default the network's mean colour if its first layer subtracts one, else
        black: then the product is the same before and after that layer.

    Others, and the result, as for :func:`gradient`.

    References
    ----------
    Shrikumar et al. 2016, "Not Just a Black Box", Section 1.
    """
    logits, images, cotangents = explained.prepared(model, images, targets)
    difference = images - explained.baselines(logits, images, baseline)
    return difference * outputs_and_gradients(logits, images, cotangents)[1]


def smoothgrad(
    model: keras.Model,
    images: np.ndarray,
    targets: np.ndarray,
    *,
    n_samples: int = 50,
    noise: float = 0.15,
    is_squared: bool = False,
    random_state: int = 0,
) -> np.ndarray:
    r"""Average the gradient over noisy copies of an image.

    .. math:: a = \frac1N \sum_{k=1}^{N} \nabla f_t(x + \sigma \varepsilon_k), \quad
              \varepsilon_k \sim \mathcal{N}(0, I), \quad \sigma = s \, (\max x - \min x)

    Noisy copies are not clipped. The same N draws serve every image, so that a map does not depend on what
    other images it is computed with.

    Parameters
    ----------
    n_samples : int
        N.
    noise : float
        s; the paper finds 0.10 to 0.20 good.
    is_squared : bool
        Average the gradients' squares instead (SmoothGrad²): another map, never negative.
    random_state : int

    Others, and the result, as for :func:`gradient`.

    References
    ----------
    Smilkov et al. 2017, "SmoothGrad: removing noise by adding noise", Section 3.
    """
    checks.at_least(1, n_samples=n_samples)
    checks.not_negative(noise=noise)
    logits, images, cotangents = explained.prepared(model, images, targets)
    sigma = noise * np.ptp(images, axis=(1, 2, 3), keepdims=True)
    rng = np.random.default_rng(random_state)
    draws = (rng.standard_normal(images.shape[1:], np.float32) for _ in range(n_samples))
    total = np.zeros_like(images)
    for found in _gradients_at(logits, (images + sigma * draw for draw in draws), cotangents):
        total += found**2 if is_squared else found
    return total / n_samples


def integrated_gradients(
    model: keras.Model,
    images: np.ndarray,
    targets: np.ndarray,
    *,
    steps: int = 50,
    baseline: float | np.ndarray | None = None,
) -> np.ndarray:
    r"""Add up the gradient on the straight way from a baseline to the image.

    .. math:: a_i = (x_i - x'_i) \int_0^1 \frac{\partial f_t(x' + \alpha (x - x'))}{\partial x_i} \, d\alpha

    The sum of all is :math:`f_t(x) - f_t(x')`, but for the error of taking M midpoints,
    :math:`\alpha_k = (k - \tfrac12) / M`, for the integral.

    Parameters
    ----------
    steps : int
        M.
    baseline : float, or array of shape (channels,), (height, width, channels) or that of the images, optional
        :math:`x'`, in [0, 1]; by default the network's mean colour if its first layer subtracts one, else
        black.

    Others, and the result, as for :func:`gradient`.

    References
    ----------
    Sundararajan, Taly, Yan 2017, "Axiomatic Attribution for Deep Networks", Sections 3 and 5.
    """
    checks.at_least(1, steps=steps)
    logits, images, cotangents = explained.prepared(model, images, targets)
    start = explained.baselines(logits, images, baseline)
    shares = (np.arange(steps, dtype=np.float32) + 0.5) / steps
    total = np.zeros_like(images)
    for found in _gradients_at(logits, (start + share * (images - start) for share in shares), cotangents):
        total += found
    return (images - start) * (total / steps)


def _gradients_at(
    logits: keras.Model, points: Iterable[np.ndarray], cotangents: np.ndarray
) -> Iterator[np.ndarray]:
    """Yield the gradient at each of the points, arrays of as many images; several at once if they are few."""
    points, n = iter(points), len(cotangents)
    at_once = max(1, images_at_once(logits, keeps_all=True, n_bytes=2**28) // n)
    while some := list(islice(points, at_once)):
        _, found = outputs_and_gradients(logits, np.concatenate(some), np.tile(cotangents, (len(some), 1)))
        yield from found.reshape(len(some), n, *found.shape[1:])


CARDS = (
    Card(
        name="Gradient", function="attribution.gradient",
        question="Which pixels would change the score most, if changed a little?",
        access="gradient", output="signed, per channel", passes="1 F + 1 B", reduction="absolute",
        fails="A saturated network has small gradients everywhere; it says what would matter, not what did.",
        source="Simonyan, Vedaldi, Zisserman 2014",
    ),
    Card(
        name="Gradient × input", function="attribution.gradient_input",
        question="What does each pixel add, if the network is taken for a straight line?",
        access="gradient", output="signed, per channel", passes="1 F + 1 B",
        fails="Adds up to the score only without biases; what is as dark as the baseline gets nothing.",
        source="Shrikumar et al. 2016",
    ),
    Card(
        name="SmoothGrad", function="attribution.smoothgrad",
        question="Which pixels would change the score most, on average near this image?",
        access="gradient", output="signed, per channel", passes="N F + N B", reduction="absolute",
        fails="The noise is chosen by eye; with much of it the network sees images of another kind.",
        source="Smilkov et al. 2017",
    ),
    Card(
        name="Integrated gradients", function="attribution.integrated_gradients",
        question="What does each pixel add on the way from a baseline to the image?",
        access="gradient", output="signed, per channel", passes="M F + M B", sums_to="f(x) - f(baseline)",
        fails="Another baseline, another answer; the images on the way are like none in training.",
        source="Sundararajan, Taly, Yan 2017",
    ),
)  # fmt: skip
