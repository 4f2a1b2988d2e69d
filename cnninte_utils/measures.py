"""Numbers about results: NumPy in, number out. Nothing here sees a model."""

import warnings
from collections.abc import Sequence

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import ConstantInputWarning, bootstrap, spearmanr

from . import checks

__all__ = [
    "agreement",
    "bootstrap_interval",
    "cloud_overlap",
    "continuity",
    "mean_sd",
    "neighborhood_hit",
    "neighborhood_hits",
    "rank_correlations",
    "separability",
    "share_separated",
    "trustworthiness",
]

_ROWS_AT_A_TIME = 500


def agreement(a: np.ndarray, b: np.ndarray) -> float:
    r"""Return the share of instances on which two arrays are equal.

    .. math:: \frac1n \sum_i [a_i = b_i]

    With true labels it is the accuracy; between an explainer's and a network's predictions, the fidelity.

    Parameters
    ----------
    a, b : arrays of shape (n,)

    Returns
    -------
    float in [0, 1]

    Raises
    ------
    ValueError
        If the shapes differ or there are no instances.

    Examples
    --------
    >>> agreement(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 5]))
    0.75
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"expected two equally long, non-empty vectors, got shapes {a.shape} and {b.shape}")
    return float((a == b).mean())


def share_separated(separation_depth: np.ndarray) -> np.ndarray:
    """Return, for each instance, the share of its hypotheses that are separated at some depth.

    Parameters
    ----------
    separation_depth : int array of shape (n, classes)
        Depth from 1; 0 never; -1 the instance's own label.

    Returns
    -------
    float array of shape (n,), in [0, 1]
    """
    return (separation_depth > 0).sum(axis=1) / (separation_depth >= 0).sum(axis=1)


def separability(separation_depth: np.ndarray, label_codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Summarise over a test set how often and how deep each hypothesis is separated from each label.

    Parameters
    ----------
    separation_depth : int array of shape (n, classes)
        Depth from 1; 0 never; -1 the instance's own label.
    label_codes : int array of shape (n,)
        The class index of each instance.

    Returns
    -------
    share : float array of shape (classes, classes)
        ``[label, hypothesis]``: share of the label's instances whose path separates the hypothesis; NaN
        on the diagonal and for labels without instances.
    mean_depth : float array of shape (classes, classes)
        Mean depth where it does; NaN where it never does.
    """
    n_classes = separation_depth.shape[1]
    share = np.full((n_classes, n_classes), np.nan)
    mean_depth = share.copy()
    for label in np.unique(label_codes):
        depths = separation_depth[label_codes == label]
        is_separated = depths > 0
        share[label] = is_separated.mean(axis=0)
        counts = is_separated.sum(axis=0)
        sums = (depths * is_separated).sum(axis=0)
        mean_depth[label] = np.divide(sums, counts, out=np.full(n_classes, np.nan), where=counts > 0)
    np.fill_diagonal(share, np.nan)
    return share, mean_depth


def cloud_overlap(one: np.ndarray, other: np.ndarray) -> float:
    r"""Return how far two clouds of points overlap: the balanced error of a straight cut between them.

    .. math:: \min_t \tfrac12 \Big(\frac{|\{x \in 1: w \cdot x \le t\}|}{n_1}
              + \frac{|\{x \in 2: w \cdot x > t\}|}{n_2}\Big), \quad
              w = (S + 0.1 \, \bar s \, I)^{-1} (m_1 - m_2)

    with :math:`m` the clouds' means, S their pooled covariance and :math:`\bar s` its mean variance: the cut
    is at right angles to Fisher's direction, and best placed along it.

    Parameters
    ----------
    one, other : float arrays of shape (n, dimensions)

    Returns
    -------
    float in [0, ½]
        0 for clouds that lie apart, or if one has no point; nearly ½ where they are mixed. Few points in many
        dimensions nearly always lie apart.
    """
    if not (len(one) and len(other)):
        return 0.0
    checks.finite(one=one, other=other)
    means = [cloud.mean(axis=0) for cloud in (one, other)]
    within = np.concatenate([cloud - mean for cloud, mean in zip((one, other), means, strict=True)])
    scatter = within.T @ within / len(within)
    ridge = 0.1 * max(np.trace(scatter) / len(scatter), 1e-12)
    direction = np.linalg.solve(scatter + ridge * np.eye(len(scatter)), means[0] - means[1])
    heights = np.concatenate([one @ direction, other @ direction])
    order = heights.argsort()
    is_one = np.concatenate([[0], order < len(one)]).cumsum()
    # with a cut above the k lowest points: what of `one` lies under it is wrong, and what of `other` above it
    errors = is_one / len(one) + 1 - (np.arange(len(is_one)) - is_one) / len(other)
    is_between = np.concatenate([[True], np.diff(heights[order]) > 0, [True]])
    return float(errors[is_between].min()) / 2


def mean_sd(values: Sequence[float]) -> dict[str, float | int]:
    """Return mean, sample standard deviation (0 for one value) and number of values.

    Examples
    --------
    >>> mean_sd([1.0, 3.0])
    {'mean': 2.0, 'sd': 1.4142135623730951, 'n': 2}
    """
    values = np.asarray(values, dtype=float)
    sd = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return {"mean": float(values.mean()), "sd": sd, "n": len(values)}


def neighborhood_hit(
    points: np.ndarray, labels: np.ndarray, n_neighbors: int = 5, *, metric: str = "euclidean"
) -> float:
    r"""Return the mean share of a point's nearest neighbours that have its label.

    .. math:: NH = \frac1n \sum_i \frac{|\{j \in N_k(i) : l_j = l_i\}|}{k}

    Parameters as for :func:`neighborhood_hits`.

    Returns
    -------
    float in [0, 1]
        1 for classes that lie apart; about the share of the class where labels do not matter.

    References
    ----------
    Paulovich et al. 2008; Wang, Liu 2024, Section 3.

    Examples
    --------
    >>> neighborhood_hit(np.array([[0.0], [1.0], [5.0], [6.5]]), np.array([0, 0, 1, 1]), 1)
    1.0
    """
    return float(neighborhood_hits(points, labels, n_neighbors, metric=metric).mean())


def neighborhood_hits(
    points: np.ndarray, labels: np.ndarray, n_neighbors: int = 5, *, metric: str = "euclidean"
) -> np.ndarray:
    """Return, for each point, the share of its nearest neighbours that have its label.

    A point is not its own neighbour, even if others lie on it. Where points tie for the last places, each
    of them counts by the chance of getting one.

    Parameters
    ----------
    points : float array of shape (n, dimensions)
        Or the distances (n, n), if the metric is "precomputed".
    labels : array of shape (n,)
    n_neighbors : int
        From 1 to n - 1.
    metric : {"euclidean", "precomputed"}

    Returns
    -------
    float array of shape (n,), in [0, 1]
    """
    points, labels = np.asarray(points), np.asarray(labels)
    n = len(points)
    if labels.shape != (n,):
        raise ValueError(f"{n} points but labels of shape {labels.shape}")
    if not 1 <= n_neighbors < n:
        raise ValueError(f"n_neighbors must be from 1 to {n - 1} for {n} points, got {n_neighbors}")
    checks.choice("metric", metric, ("euclidean", "precomputed"))
    if metric == "precomputed" and points.shape != (n, n):
        raise ValueError(f"precomputed distances must be ({n}, {n}), got {points.shape}")
    hits = np.empty(n)
    for start in range(0, n, _ROWS_AT_A_TIME):
        rows = np.arange(start, min(n, start + _ROWS_AT_A_TIME))
        distances = points[rows].astype(float) if metric == "precomputed" else cdist(points[rows], points)
        distances[np.arange(len(rows)), rows] = np.inf
        hits[rows] = _hits(distances, labels[rows, None] == labels, n_neighbors)
    return hits


def _hits(distances: np.ndarray, is_same: np.ndarray, k: int) -> np.ndarray:
    farthest = np.partition(distances, k - 1, axis=1)[:, k - 1 : k]
    is_closer, is_tied = distances < farthest, distances == farthest
    places = k - is_closer.sum(axis=1)
    share = (is_tied & is_same).sum(axis=1) / is_tied.sum(axis=1)
    return ((is_closer & is_same).sum(axis=1) + places * share) / k


def trustworthiness(features: np.ndarray, embedded: np.ndarray, n_neighbors: int = 5) -> float:
    """Return how far neighbours in the embedding were neighbours before, in [0, 1] (scikit-learn's)."""
    from sklearn.manifold import trustworthiness as measure

    return float(measure(features, embedded, n_neighbors=n_neighbors))


def continuity(features: np.ndarray, embedded: np.ndarray, n_neighbors: int = 5) -> float:
    """Return how far neighbours before are neighbours in the embedding, in [0, 1].

    Trustworthiness with the two spaces exchanged (Venna, Kaski 2001).
    """
    return trustworthiness(embedded, features, n_neighbors)


def bootstrap_interval(
    values: np.ndarray, *, level: float = 0.95, n_resamples: int = 2_000, random_state: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean of values (n,)."""
    checks.within(0, 1, level=level)
    found = bootstrap(
        (np.asarray(values, dtype=float),), np.mean,
        confidence_level=level, n_resamples=n_resamples, method="percentile", rng=random_state, batch=100,
    )  # fmt: skip
    low, high = found.confidence_interval
    return float(low), float(high)


def rank_correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return Spearman's rank correlation of each row of a with the same row of b.

    Parameters
    ----------
    a, b : arrays of shape (n, ...)
        Rows are flattened.

    Returns
    -------
    float array of shape (n,), in [-1, 1]
        NaN where a row is constant.
    """
    if a.shape != b.shape:
        raise ValueError(f"expected arrays of one shape, got {a.shape} and {b.shape}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        return np.array([spearmanr(x.ravel(), y.ravel()).statistic for x, y in zip(a, b, strict=True)])
