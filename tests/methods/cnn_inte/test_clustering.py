import numpy as np
import pytest
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

from cnninte_utils.methods.cnn_inte.clustering import CLUSTERERS, cluster


@pytest.mark.parametrize("method", CLUSTERERS)
def test_well_separated_groups_are_found(method):
    points, groups = make_blobs(300, centers=[[0, 0], [9, 0], [0, 9]], cluster_std=0.3, random_state=0)
    found = cluster(points, 3, method=method)
    assert adjusted_rand_score(groups, found) == 1
    assert sorted(set(found)) == [0, 1, 2]


@pytest.mark.parametrize("n_distinct", [1, 2, 4])
def test_fewer_distinct_rows_than_clusters(n_distinct):
    points = np.repeat(np.arange(n_distinct, dtype=float)[:, None], 5, axis=0)
    found = cluster(points, 4)
    assert found.max() + 1 == n_distinct
    assert all(len(set(found[i : i + 5])) == 1 for i in range(0, len(found), 5))


def test_noise_gets_a_number_of_its_own():
    points, _ = make_blobs(200, centers=[[0, 0], [50, 0]], cluster_std=0.2, random_state=0)
    outliers = np.array([[25.0, 400.0], [-300.0, 60.0], [700.0, -90.0]])
    found = cluster(np.vstack([points, outliers]), 0, method="hdbscan")
    assert set(found[-3:]) == {found.max()}
    assert found.max() not in found[:100]


def test_more_rows_than_hdbscan_is_given():
    points, groups = make_blobs(9_000, centers=[[0, 0], [30, 0], [0, 30]], cluster_std=0.5, random_state=0)
    found = cluster(points, 0, method="hdbscan")
    agree = adjusted_rand_score(groups, found)
    assert len(found) == 9_000
    assert agree > 0.9


def test_unknown_clusterer_is_refused():
    with pytest.raises(ValueError, match="'dbscan': choose one of kmeans, hdbscan"):
        cluster(np.zeros((3, 1)), 2, method="dbscan")
