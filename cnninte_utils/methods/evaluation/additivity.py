"""Whether what a map gives to parts adds up to what hiding the parts does."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from ... import checks
from ...networks import targets as explained

__all__ = ["Additivity", "additivity"]

Model = keras.Model | Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Additivity:
    """How a map's sums go with the network's falls.

    Parameters
    ----------
    correlation : ndarray of shape (n,)
        Pearson's, of each image over the sets: whether larger sums go with larger falls. NaN where either
        side never changes.
    fit : ndarray of shape (n,), at most 1
        1 less the squared error over the variance of the falls: whether sums *are* the falls. 0 is as good as
        always saying the mean fall, below 0 is worse.
    """

    correlation: np.ndarray
    fit: np.ndarray


def additivity(
    model: Model,
    images: np.ndarray,
    targets: np.ndarray,
    maps: np.ndarray,
    *,
    patches: int = 8,
    n_hidden: tuple[int, int] = (1, 6),
    n_sets: int = 100,
    baseline: float | np.ndarray | None = None,
    output: str = "logit",
    random_state: int = 0,
) -> Additivity:
    r"""Hide random sets of patches, and compare the falls with what the map has there.

    .. math:: \sum_{i \in S} a_i \quad \text{against} \quad f_t(x) - f_t(x_{S := x'})

    With few patches hidden this asks near the image, with many far from it.

    Parameters
    ----------
    model : keras.Model, or callable
        A callable (n, height, width, channels) → (n, classes) may be any classifier.
    images : float array of shape (n, height, width, channels), in [0, 1]
    targets : int array of shape (n,), or float array of shape (n, classes)
    maps : float array of shape (n, height, width, channels or 1)
        Signed attributions.
    patches : int
        Along each side.
    n_hidden : (int, int)
        The fewest and the most patches in a set; how many is drawn.
    n_sets : int
        The same for all images.
    baseline : float, or array of shape (channels,), (height, width, channels) or that of the images, optional
        x', what hidden patches show; by default the network's mean colour if its first layer subtracts one,
        else black.
    output : {"logit", "probability"}
    random_state : int

    Returns
    -------
    Additivity

    Raises
    ------
    ValueError
        If the images, targets, maps or baseline do not fit, or there are not so many patches.
    """
    images = checks.images(images)
    sums = np.asarray(maps, float).sum(axis=-1)
    if sums.shape != images.shape[:3]:
        raise ValueError(f"expected one map for each image, {images.shape[:3]}, got {sums.shape}")
    checks.finite(maps=sums)
    numbers, sets = _drawn_sets(images.shape[1:3], patches, n_hidden, n_sets, random_state)
    fill = explained.baselines(model, images, baseline)
    outputs = explained.predictor(model, output)
    whole = outputs(images)
    vectors = explained.cotangents(targets, *whole.shape)
    variants = (np.where(hidden[numbers][..., None], fill, images) for hidden in sets)
    left = np.stack(list(explained.scores_of(outputs, variants, vectors)), axis=1)
    falls = (whole * vectors).sum(axis=1, keepdims=True) - left.astype(float)
    in_patch = np.stack([np.bincount(numbers.ravel(), s.ravel(), minlength=patches**2) for s in sums])
    return _compared(in_patch @ sets.T, falls)


def _drawn_sets(size, patches: int, n_hidden: tuple[int, int], n_sets: int, seed: int) -> tuple:
    """Return the patch of each pixel, and which patches are in which set."""
    fewest, most = n_hidden
    checks.at_least(1, patches=patches, n_hidden=fewest)
    checks.at_least(2, n_sets=n_sets)
    allowed = f"two numbers in order, at most the {patches**2} patches"
    checks.require(fewest <= most <= patches**2, "n_hidden", n_hidden, allowed)
    rows, columns = (np.arange(side) * patches // side for side in size)
    rng = np.random.default_rng(seed)
    sets = np.zeros((n_sets, patches**2), bool)
    for row in sets:
        row[rng.choice(patches**2, rng.integers(fewest, most + 1), replace=False)] = True
    return rows[:, None] * patches + columns, sets


def _compared(told: np.ndarray, falls: np.ndarray) -> Additivity:
    """Compare sums (n, sets) with falls (n, sets)."""
    errors = ((told - falls) ** 2).sum(axis=1)
    told, falls = (x - x.mean(axis=1, keepdims=True) for x in (told, falls))
    own, scale = (falls**2).sum(axis=1), np.sqrt((told**2).sum(axis=1) * (falls**2).sum(axis=1))
    nothing = np.full(len(told), np.nan)
    correlation = np.divide((told * falls).sum(axis=1), scale, out=nothing.copy(), where=scale > 0)
    return Additivity(correlation, 1 - np.divide(errors, own, out=nothing, where=own > 0))
