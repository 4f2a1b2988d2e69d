"""Whether a map points at the object: numbers from maps and masks, and what costs nothing to compare with."""

import numpy as np
from scipy.ndimage import gaussian_filter, sobel
from scipy.stats import rankdata

from ... import checks

__all__ = ["centered", "discs", "edges", "heat", "mass", "own_share", "pixel_auc", "pointing"]

_REDUCTIONS = {
    "positive": lambda maps: np.maximum(maps.sum(axis=-1), 0),
    "absolute": lambda maps: np.abs(maps).max(axis=-1),
    "sum": lambda maps: maps.sum(axis=-1),
}


def heat(maps: np.ndarray, reduction: str = "positive") -> np.ndarray:
    r"""Make one map of an attribution's channels.

    .. math:: \text{positive: } \max\Big(0, \sum_c a_c\Big) \quad \text{absolute: } \max_c |a_c| \quad
              \text{sum: } \sum_c a_c

    The choice moves numbers of localisation more than many a method does: say which, in each table.

    Parameters
    ----------
    maps : float array of shape (n, height, width, channels)
    reduction : {"positive", "absolute", "sum"}
        For signed attributions; for gradients, as Simonyan et al. 2014; keeping the sign.

    Returns
    -------
    ndarray of shape (n, height, width)

    Examples
    --------
    >>> heat(np.array([[[[1.0, -3.0]]]]), "absolute").item()
    3.0
    """
    maps = np.asarray(maps)
    if maps.ndim != 4:
        raise ValueError(f"maps must be (n, height, width, channels), got {maps.shape}")
    return checks.choice("reduction", reduction, _REDUCTIONS)(maps)


def pointing(heats: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return whether the hottest pixel lies in the mask: 1 or 0, or the share of those that tie.

    The share of the mask's area is what chance gives.

    Parameters
    ----------
    heats : float array of shape (n, height, width)
    masks : bool array of shape (n, height, width)

    Returns
    -------
    ndarray of shape (n,), in [0, 1]

    References
    ----------
    Zhang et al. 2018, "Top-Down Neural Attention by Excitation Backprop", Section 4.2.
    """
    heats, masks = _rows(heats, masks)
    is_hottest = heats == heats.max(axis=1, keepdims=True)
    return (is_hottest & masks).sum(axis=1) / is_hottest.sum(axis=1)


def mass(heats: np.ndarray, masks: np.ndarray) -> np.ndarray:
    r"""Return the share of the positive heat that lies in the mask.

    .. math:: \frac{\sum_{p \in \text{mask}} \max(h_p, 0)}{\sum_p \max(h_p, 0)}

    Parameters and result as for :func:`pointing`; a map without positive heat has its area's share.
    """
    heats, masks = _rows(heats, masks)
    positive = np.maximum(heats, 0).astype(float)
    total = positive.sum(axis=1)
    positive[total == 0] = 1
    return (positive * masks).sum(axis=1) / positive.sum(axis=1)


def pixel_auc(heats: np.ndarray, masks: np.ndarray) -> np.ndarray:
    r"""Return the chance that a pixel of the mask is hotter than one outside (the area under the ROC curve).

    .. math:: \frac{\sum_{p \in \text{mask}} \operatorname{rank}(h_p) - m (m + 1) / 2}{m (n - m)}

    Parameters as for :func:`pointing`; chance is ½.

    Returns
    -------
    ndarray of shape (n,), in [0, 1]

    Raises
    ------
    ValueError
        If a mask is empty or covers all.
    """
    heats, masks = _rows(heats, masks)
    inside = masks.sum(axis=1)
    outside = masks.shape[1] - inside
    if not (inside.all() and outside.all()):
        raise ValueError("each mask must have pixels inside and outside")
    ranks = rankdata(heats, axis=1)
    return ((ranks * masks).sum(axis=1) - inside * (inside + 1) / 2) / (inside * outside)


def own_share(heats: np.ndarray, own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return, of the positive heat in two objects, the share in that whose class is explained.

    With both classes explained in turn, the two shares less 1 are 0 for a map that does not heed the class.

    Parameters
    ----------
    heats : float array of shape (n, height, width)
    own, other : bool arrays of shape (n, height, width)

    Returns
    -------
    ndarray of shape (n,), in [0, 1]
        ½ where neither has any.
    """
    positive, own = _rows(np.maximum(heats, 0).astype(float), own)
    _, other = _rows(heats, other)
    one, two = (positive * own).sum(axis=1), (positive * other).sum(axis=1)
    return np.divide(one, one + two, out=np.full(len(one), 0.5), where=one + two > 0)


def centered(n: int, size: tuple[int, int], spread: float = 0.25) -> np.ndarray:
    """Return a Gaussian in the middle, n times: what a map must beat where objects stand in the middle.

    Parameters
    ----------
    spread : float
        σ, as a share of height and width.

    Returns
    -------
    ndarray of shape (n, height, width)
    """
    checks.at_least(1, n=n)
    checks.within(0, np.inf, spread=spread)
    rows, columns = (np.exp(-(((np.arange(s) - (s - 1) / 2) / (spread * s)) ** 2) / 2) for s in size)
    return np.broadcast_to(np.outer(rows, columns), (n, *size)).copy()


def discs(areas: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return masks of so many pixels each, those nearest to the middle: what a mask must beat.

    Parameters
    ----------
    areas : int array of shape (n,)
        From 0 to all pixels.
    size : (height, width)

    Returns
    -------
    ndarray of shape (n, height, width), bool
    """
    rows, columns = (np.arange(s) - (s - 1) / 2 for s in size)
    distance = np.add.outer(rows**2, columns**2)
    order = distance.argsort(axis=None, kind="stable").argsort().reshape(size)
    return order < np.asarray(areas)[:, None, None]


def edges(images: np.ndarray) -> np.ndarray:
    """Return the strength of the images' edges (Sobel): what a map must beat that is about the network.

    Parameters
    ----------
    images : float array of shape (n, height, width, channels)

    Returns
    -------
    ndarray of shape (n, height, width)
    """
    gray = gaussian_filter(np.asarray(images, float).mean(axis=-1), 0.5, axes=(1, 2))
    return np.hypot(sobel(gray, axis=1), sobel(gray, axis=2))


def _rows(heats: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    heats, masks = np.asarray(heats), np.asarray(masks)
    if not np.issubdtype(heats.dtype, np.number):
        raise ValueError(f"heats must be numbers, got {heats.dtype}")
    if heats.shape != masks.shape or heats.ndim != 3 or masks.dtype != bool:
        raise ValueError(
            f"expected heats and bool masks of one shape (n, height, width), got {heats.shape} and "
            f"{masks.dtype} {masks.shape}"
        )
    return heats.reshape(len(heats), -1), masks.reshape(len(masks), -1)
