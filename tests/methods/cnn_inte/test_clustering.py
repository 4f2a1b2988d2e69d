import numpy as np
import pytest
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

from cnninte_utils.methods.cnn_inte.clustering import CLUSTERERS, centers, cluster, nearest


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


def test_cosine_sees_directions_only():
    along = np.array([[1.0, 0.0], [100.0, 0.0], [0.0, 1.0], [0.0, 100.0]])
    assert adjusted_rand_score([0, 0, 1, 1], cluster(along, 2, metric="cosine")) == 1
    assert adjusted_rand_score([0, 0, 1, 1], cluster(along, 2)) < 1


def test_cosine_leaves_silent_rows_in_one_place():
    found = cluster(np.array([[0.0, 0.0], [0.0, 0.0], [2.0, 0.0], [5.0, 0.0]]), 2, metric="cosine")
    assert found[0] == found[1] != found[2] == found[3]


def test_centers_are_means_and_new_rows_join_the_nearest():
    points, numbers = np.array([[0.0, 0], [2, 0], [10, 4]]), np.array([0, 0, 1])
    means = centers(points, numbers)
    assert means.tolist() == [[1, 0], [10, 4]]
    assert nearest(np.array([[5.0, 0], [7, 3], [-9, 0]]), means).tolist() == [0, 1, 0]
    directions = centers(np.array([[3.0, 0], [0, 5]]), np.array([0, 1]), metric="cosine")
    assert directions.tolist() == [[1, 0], [0, 1]]
    assert nearest(np.array([[0.1, 0.0], [1, 9]]), directions, metric="cosine").tolist() == [0, 1]


def test_k_means_puts_its_own_points_to_the_nearest_center():
    points = np.random.default_rng(0).normal(size=(300, 3))
    found = cluster(points, 5)
    assert np.mean(nearest(points, centers(points, found)) == found) > 0.98


def test_unknown_metric_is_refused():
    with pytest.raises(ValueError, match="unknown metric 'manhattan'"):
        cluster(np.zeros((3, 1)), 2, metric="manhattan")
