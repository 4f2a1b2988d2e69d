"""Cluster the rows of a matrix with k-means or HDBSCAN, whatever degenerate thing comes."""

from collections.abc import Callable

import numpy as np
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.metrics import pairwise_distances_argmin
from sklearn.neighbors import KNeighborsClassifier

from ... import checks

__all__ = ["CLUSTERERS", "METRICS", "centers", "cluster", "nearest"]

METRICS = ("euclidean", "cosine")

_MAX_SAMPLE = 4_000
_MIN_SHARE = 0.01


def cluster(
    points: np.ndarray,
    n_clusters: int,
    *,
    method: str = "kmeans",
    metric: str = "euclidean",
    random_state: int = 0,
) -> np.ndarray:
    """Give every row of `points` the number of its cluster.

    Parameters
    ----------
    points : float array of shape (n, dimensions)
    n_clusters : int
        How many at most, for k-means; HDBSCAN finds its own number.
    method : {"kmeans", "hdbscan"}
    metric : {"euclidean", "cosine"}
        With the second every row is scaled to length 1 first, so that only its direction counts.
    random_state : int

    Returns
    -------
    int array of shape (n,)
        Numbers from 0 without gaps. There are fewer than `n_clusters` if there are fewer distinct
        rows: then each distinct row is a cluster. Rows that HDBSCAN calls noise share the last number.

    Notes
    -----
    HDBSCAN works on at most 4,000 rows drawn at random (its time grows with the square); a cluster has
    at least 1 % of them, and five. The other rows join their nearest drawn row.
    """
    run = checks.choice("clusterer", method, CLUSTERERS)
    return run(np.ascontiguousarray(_scaled(points, metric)), n_clusters, random_state)


def centers(points: np.ndarray, numbers: np.ndarray, *, metric: str = "euclidean") -> np.ndarray:
    """Return the mean row of each cluster, (clusters, dimensions), numbered as :func:`cluster` does."""
    points = _scaled(points, metric)
    return np.stack([points[numbers == i].mean(axis=0) for i in range(numbers.max() + 1)])


def nearest(points: np.ndarray, centers: np.ndarray, *, metric: str = "euclidean") -> np.ndarray:
    """Return the number of the nearest center for every row of `points`: k-means's rule for new rows."""
    return pairwise_distances_argmin(_scaled(points, metric), centers).astype(np.int32)


def _scaled(points: np.ndarray, metric: str) -> np.ndarray:
    if checks.choice("metric", metric, METRICS) == "euclidean":
        return points
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    return points / np.where(lengths > 0, lengths, 1)


def _kmeans(points: np.ndarray, n_clusters: int, random_state: int) -> np.ndarray:
    rows = points.view(np.dtype((np.void, points.dtype.itemsize * points.shape[1]))).ravel()
    distinct, number = np.unique(rows, return_inverse=True)
    if len(distinct) <= n_clusters:
        return number.astype(np.int32)
    return KMeans(n_clusters, n_init=10, random_state=random_state).fit_predict(points)


def _hdbscan(points: np.ndarray, n_clusters: int, random_state: int) -> np.ndarray:
    rng = np.random.default_rng(random_state)
    drawn = rng.permutation(len(points))[:_MAX_SAMPLE]
    sample = points[drawn]
    smallest = max(5, round(_MIN_SHARE * len(sample)))
    found = HDBSCAN(min_cluster_size=smallest, copy=True).fit_predict(sample)
    found[found < 0] = found.max() + 1
    if len(drawn) == len(points):
        return found[np.argsort(drawn)].astype(np.int32)
    return KNeighborsClassifier(1).fit(sample, found).predict(points).astype(np.int32)


CLUSTERERS: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {"kmeans": _kmeans, "hdbscan": _hdbscan}
