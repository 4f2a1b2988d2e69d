"""Embeddings: principal components exactly, methods by what they keep apart."""

import warnings

import numpy as np
import pytest
from sklearn.decomposition import PCA

from cnninte_utils import measures
from cnninte_utils.methods.layers import embedding


def blobs(n_per_class=20, n_features=200, seed=0):
    """Three classes far apart in many dimensions, and their labels."""
    rng = np.random.default_rng(seed)
    centres = 5 * rng.standard_normal((3, n_features))
    labels = np.repeat(np.arange(3), n_per_class)
    return (centres[labels] + rng.standard_normal((len(labels), n_features))).astype(np.float32), labels


@pytest.mark.parametrize("shape", [(30, 100), (100, 30), (40, 40)])
def test_principal_components_are_scikit_learns(shape):
    features = np.random.default_rng(0).random(shape).astype(np.float32)
    found = embedding.principal_components(features, 5)
    expected = PCA(5, svd_solver="full").fit_transform(features.astype(float))
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=2e-4)


def test_there_are_never_more_components_than_instances_or_features():
    assert embedding.principal_components(np.eye(4, 9, dtype=np.float32), 50).shape == (4, 4)
    assert embedding.principal_components(np.eye(9, 4, dtype=np.float32), 50).shape == (9, 4)


def test_scaling_is_global_and_flattens():
    maps = np.array([[[2.0, 4.0]], [[6.0, 10.0]]])
    assert embedding.min_max(maps).tolist() == [[0.0, 0.25], [0.5, 1.0]]
    assert not embedding.min_max(np.full((3, 2), 7.0)).any()
    with pytest.raises(ValueError, match="finite"):
        embedding.min_max(np.array([[np.nan, 1.0]]))


@pytest.mark.parametrize("method", embedding.METHODS)
def test_classes_that_lie_apart_stay_apart(method):
    features, labels = blobs()
    points = embedding.embed(features, method, perplexity=10, max_iter=500, random_state=1)
    assert points.shape == (60, 2)
    assert measures.neighborhood_hit(points, labels) > 0.95
    assert measures.neighborhood_hit(points, np.random.default_rng(0).permutation(labels)) < 0.6


def test_same_seed_same_embedding():
    features, _ = blobs()
    one, other = (embedding.embed(features, perplexity=10, max_iter=300, random_state=4) for _ in range(2))
    assert np.array_equal(one, other)


def test_bad_requests_are_refused():
    with pytest.raises(ValueError, match="unknown method 'isomap': choose one of tsne"):
        embedding.embed(np.zeros((50, 3)), "isomap")
    with pytest.raises(ValueError, match="perplexity must be between 0 and the 30 instances, got 40"):
        embedding.embed(np.zeros((30, 3)))


@pytest.mark.parametrize(
    ("n", "message"), [(0, "n_components must be at least 1"), (5, "at most 4, the dimensions left")]
)
def test_dimensions_that_cannot_be_are_refused(n, message):
    features = np.random.default_rng(0).random((20, 4))
    with pytest.raises(ValueError, match=message):
        embedding.embed(features, "pca", n_components=n)


def test_constant_activations_have_an_embedding_by_the_autoencoder():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # PCA's, of shares of no variance
        assert np.isfinite(embedding.embed(np.ones((20, 4)), "autoencoder")).all()
