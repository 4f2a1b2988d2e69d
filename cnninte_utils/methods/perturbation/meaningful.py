"""Meaningful perturbation: the smallest smooth part whose blurring takes the score away."""

import keras
import numpy as np
from keras import ops
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from ... import checks
from ...networks import targets as explained
from ...networks.gradients import compiled, pull_back
from ...networks.lookup import images_at_once
from ..card import Card

__all__ = ["CARDS", "meaningful_perturbation"]

_PUBLISHED = 224
"""Height of the images that the paper's widths, in pixels, are for."""


def meaningful_perturbation(
    model: keras.Model,
    images: np.ndarray,
    targets: np.ndarray,
    *,
    steps: int = 300,
    cells: int | None = None,
    area: float = 1e-4,
    roughness: float = 1e-2,
    power: float = 3.0,
    step_size: float = 0.1,
    random_state: int = 0,
) -> np.ndarray:
    r"""Find a mask, small and smooth, that takes the class away when what it covers is blurred.

    .. math:: \min_{m \in [0, 1]} \; p_t\big(x \odot M + \tilde x \odot (1 - M)\big)
              + \lambda_1 \sum (1 - m) + \lambda_2 \sum |\nabla m|^\beta

    with M the coarse grid m enlarged and blurred, and :math:`\tilde x` the blurred image; by Adam, from the
    smallest disc in the middle that takes 99 % of what blurring all of the image takes. In each step the
    image is shifted a little at random, so that the mask does not exploit single pixels.

    Parameters
    ----------
    model : keras.Model
        It is asked for probabilities: of outputs without a softmax, their softmax.
    images : float array of shape (n, height, width, channels), in [0, 1]
    targets : int array of shape (n,), or float array of shape (n, classes)
    steps : int
    cells : int, optional
        Of the grid m along each side; by default an eighth of the height, at least 4.
    area, roughness, power : float
        λ1 (for 28 × 28 cells; it grows as there are fewer), λ2 and β.
    step_size : float
        Of Adam.
    random_state : int

    Returns
    -------
    ndarray of shape (n, height, width, 1), float32 in [0, 1]
        1 − M: 1 where the image is deleted.

    Raises
    ------
    ValueError
        If the images or targets do not fit, or an option is out of range.

    References
    ----------
    Fong, Vedaldi 2017, "Interpretable Explanations of Black Boxes by Meaningful Perturbation", Section 4.
    """
    checks.at_least(1, steps=steps)
    checks.not_negative(area=area, roughness=roughness, step_size=step_size)
    checks.require(power >= 1, "power", power, "a number of at least 1")
    logits, images, vectors = explained.prepared(model, images, targets)
    height, width = images.shape[1:3]
    cells = max(4, round(height / 8)) if cells is None else cells
    checks.at_least(2, cells=cells)
    spread = 5 * height / _PUBLISHED
    rows, columns = (_enlarging(cells, side, spread) for side in (height, width))
    blurred = gaussian_filter(images, 2 * spread, axes=(1, 2), mode="nearest")
    start = _discs(logits, images, blurred, vectors, rows, columns, cells)
    slope = _slope(logits, area * 784 / cells**2, roughness, power)
    at_once = images_at_once(logits, keeps_all=True)
    found = np.empty((*images.shape[:3], 1), np.float32)
    for first in range(0, len(images), at_once):
        some = slice(first, first + at_once)
        rng = np.random.default_rng(random_state)
        shifts = rng.integers(0, 1 + round(4 * height / _PUBLISHED), (steps, 2))
        m = _descended(
            start[some], shifts, step_size, slope, images[some], blurred[some], rows, columns, vectors[some]
        )
        found[some] = 1 - np.einsum("is,nstc,jt->nijc", rows, m, columns)
    return np.clip(found, 0, 1)


def _enlarging(cells: int, size: int, spread: float) -> np.ndarray:
    """Return the matrix (size, cells) that enlarges bilinearly and then blurs."""
    places = np.clip((np.arange(size) + 0.5) * cells / size - 0.5, 0, cells - 1)
    enlarged = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(cells)))
    return gaussian_filter1d(enlarged, spread, axis=0, mode="nearest").astype(np.float32)


def _discs(logits, images, blurred, vectors, rows, columns, cells: int) -> np.ndarray:
    """Return for each image the grid m with the smallest hole that takes 99 % of the fall."""
    distance = np.hypot(*(np.indices((cells, cells)) - (cells - 1) / 2))
    radii = (*np.arange(0.5, 0.75 * cells, 0.5), cells)
    grids = [(distance > radius).astype(np.float32)[..., None] for radius in radii]
    seen = [np.einsum("is,stc,jt->ijc", rows, grid, columns) for grid in grids]
    variants = [images, *(np.clip(blurred + mask * (images - blurred), 0, 1) for mask in seen), blurred]
    outputs = explained.predictor(logits, "probability")
    whole, *left, least = explained.scores_of(outputs, (np.clip(x, 0, 1) for x in variants), vectors)
    is_enough = (whole - np.array(left)) >= 0.99 * (whole - least)
    return np.stack(grids)[is_enough.argmax(axis=0)]


def _slope(logits: keras.Model, area: float, roughness: float, power: float):
    """Return the gradient of the objective with respect to the masks, compiled."""

    def slope(m, images, blurred, rows, columns, vectors):
        def objective(m):
            mask = ops.einsum("is,nstc,jt->nijc", rows, m, columns)
            seen = blurred + mask * (images - blurred)
            score = ops.sum(vectors * ops.softmax(logits(seen, training=False)), axis=1)
            rough = sum(
                ops.sum(ops.abs(difference) ** power, axis=(1, 2, 3))
                for difference in (m[:, 1:] - m[:, :-1], m[:, :, 1:] - m[:, :, :-1])
            )
            return score + area * ops.sum(1 - m, axis=(1, 2, 3)) + roughness * rough

        values, pull = pull_back(objective, m)
        return pull(ops.ones_like(values))

    return compiled(slope)


def _descended(m, shifts, step_size: float, slope, images, blurred, rows, columns, vectors) -> np.ndarray:
    """Adam, with the masks kept in [0, 1]."""
    mean, square = np.zeros_like(m), np.zeros_like(m)
    for step, (down, right) in enumerate(shifts, start=1):
        shifted = [np.roll(x, (down, right), (1, 2)) for x in (images, blurred)]
        gradient = slope(m, *shifted, np.roll(rows, down, 0), np.roll(columns, right, 0), vectors)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        unbiased = mean / (1 - 0.9**step), np.sqrt(square / (1 - 0.999**step))
        m = np.clip(m - step_size * unbiased[0] / (unbiased[1] + 1e-8), 0, 1).astype(np.float32)
    return m


CARDS = (
    Card(
        name="Meaningful perturbation", function="perturbation.meaningful_perturbation",
        question="Which small, smooth part must be blurred for the class to go?",
        access="gradient", output="from 0 to 1, one channel, smooth", passes="300 F + 300 B",
        is_signed=False,
        fails="Four constants that are chosen by eye; a mask may fool the network, not hide the object.",
        source="Fong, Vedaldi 2017",
    ),
)  # fmt: skip
