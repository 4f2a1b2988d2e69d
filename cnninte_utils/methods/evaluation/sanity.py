"""Whether a map is about the network: what is left of it when weights are shuffled, layer after layer."""

from collections.abc import Callable, Sequence

import keras
import numpy as np

from ... import checks, measures
from ...networks.weights import randomized

__all__ = ["DIRECTIONS", "between_images", "cascade", "cascade_order"]

DIRECTIONS = ("top_down", "bottom_up", "single")


def cascade_order(model: keras.Model, direction: str = "top_down") -> list[tuple[str, ...]]:
    """Return which layers are shuffled in each step.

    Parameters
    ----------
    model : keras.Model
    direction : {"top_down", "bottom_up", "single"}
        From the logits down to all layers; from the first layer up to all, since what is shuffled last, the
        first layers, hold most of where things are (Binder et al. 2022); or each layer by itself.

    Returns
    -------
    list of tuple of str
        Layers with a kernel; beginning with none.
    """
    checks.choice("direction", direction, DIRECTIONS)
    names = [layer.name for layer in model.layers if hasattr(layer, "kernel")]
    if direction == "single":
        return [(), *((name,) for name in names)]
    names = names[::-1] if direction == "top_down" else names
    return [tuple(names[:n]) for n in range(len(names) + 1)]


def cascade(
    explain: Callable[[keras.Model, np.ndarray, np.ndarray], np.ndarray],
    model: keras.Model,
    images: np.ndarray,
    targets: np.ndarray,
    *,
    order: Sequence[tuple[str, ...]] | None = None,
    is_absolute: bool = True,
    n_shuffles: int = 1,
    random_state: int = 0,
) -> dict[tuple[str, ...], np.ndarray]:
    """Compare the maps of networks whose weights are shuffled more and more with those of the network itself.

    Parameters
    ----------
    explain : callable
        (model, images, targets) → maps (n, height, width, channels).
    model : keras.Model
        It is not altered.
    images, targets
        Of the explanations.
    order : sequence of tuples of str, optional
        Of :func:`cascade_order`, by default from the top down.
    is_absolute : bool
        Whether the sums over channels are compared without their sign.
    n_shuffles : int
        How often each step is shuffled anew; similarities are means.
    random_state : int
        Of the first shuffling; the others have the numbers after it.

    Returns
    -------
    dict of tuple of str to ndarray of shape (n,)
        By the layers that are shuffled: Spearman's rank correlation of each image's maps; NaN where one of
        them is constant. :func:`between_images` says which similarity means nothing.

    References
    ----------
    Adebayo et al. 2018, "Sanity Checks for Saliency Maps", Section 3. Binder et al. 2022, "Shortcomings of
    Top-Down Randomization-Based Sanity Checks".
    """
    checks.at_least(1, n_shuffles=n_shuffles)
    order = cascade_order(model) if order is None else order

    def seen(network: keras.Model) -> np.ndarray:
        sums = np.asarray(explain(network, images, targets)).sum(axis=-1)
        return np.abs(sums) if is_absolute else sums

    own = seen(model)
    states = range(random_state, random_state + n_shuffles)
    found = {}
    for names in order:
        others = (seen(randomized(model, names, state)) for state in states) if names else [own]
        found[tuple(names)] = np.mean([measures.rank_correlations(own, maps) for maps in others], axis=0)
    return found


def between_images(maps: np.ndarray, *, is_absolute: bool = True) -> float:
    """Return how alike the maps of different images are: Spearman's mean over each and the next.

    Parameters
    ----------
    maps : float array of shape (n, height, width, channels)
        Of at least two images.
    is_absolute : bool

    Raises
    ------
    ValueError
        If there is one image only.
    """
    if len(maps) < 2:
        raise ValueError(f"expected the maps of at least two images, got {len(maps)}")
    sums = np.asarray(maps).sum(axis=-1)
    sums = np.abs(sums) if is_absolute else sums
    return float(np.nanmean(measures.rank_correlations(sums, np.roll(sums, 1, axis=0))))
