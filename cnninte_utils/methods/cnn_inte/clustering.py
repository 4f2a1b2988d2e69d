"""Cluster the rows of a matrix with k-means or HDBSCAN, whatever degenerate thing comes."""

from collections.abc import Callable

import numpy as np
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.neighbors import KNeighborsClassifier

from ... import checks

__all__ = ["CLUSTERERS", "cluster"]

_MAX_SAMPLE = 4_000
_MIN_SHARE = 0.01


def cluster(
    points: np.ndarray, n_clusters: int, *, method: str = "kmeans", random_state: int = 0
) -> np.ndarray:
    """Give every row of `points` the number of its cluster.

    Parameters
    ----------
    points : float array of shape (n, dimensions)
    n_clusters : int
        How many at most, for k-means; HDBSCAN finds its own number.
    method : {"kmeans", "hdbscan"}
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
    return run(np.ascontiguousarray(points), n_clusters, random_state)


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
