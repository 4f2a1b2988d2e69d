import numpy as np
import pytest
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.tree import DecisionTreeClassifier

from cnninte_utils import datasets
from cnninte_utils.methods.cnn_inte.estimator import CNNINTE, cluster_factors, cluster_ids
from cnninte_utils.methods.cnn_inte.meta_learners import DecisionSet, MetaTree

TOY_IDS = [[0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 2], [0, 1, 1, 1, 2, 2]]


@pytest.fixture(scope="module")
def digits():
    """Real digits, and as activations a random ReLU layer on their pixels."""
    data = datasets.load("digits")
    weights = np.random.default_rng(0).standard_normal((784, 40)).astype(np.float32)
    hidden = np.maximum(data.train.images.reshape(-1, 784) @ weights, 0)
    return data, hidden


@pytest.fixture(scope="module")
def fitted(digits):
    data, hidden = digits
    return CNNINTE(random_state=0).fit(data.train.images, data.train.labels, hidden)


def test_toy_of_the_paper():
    levels = np.array([0.1, 0.5, 0.9])
    activations = np.repeat(levels[np.array(TOY_IDS)], [2, 1, 2], axis=0).T
    activations += np.random.default_rng(0).normal(0, 0.005, activations.shape)
    factors = cluster_factors(activations, 3)
    assert adjusted_rand_score([0, 0, 1, 2, 2], factors) == 1
    ids = cluster_ids(activations, factors, 3)
    for neuron, expected in ((0, TOY_IDS[0]), (2, TOY_IDS[1]), (4, TOY_IDS[2])):
        assert adjusted_rand_score(expected, ids[:, factors[neuron]]) == 1


def test_equal_to_the_plain_script(digits):
    """The same calls of scikit-learn, written out."""
    data, hidden = digits
    inte = CNNINTE(meta_learner=MetaTree(5, "entropy"), random_state=3)
    inte.fit(data.train.images, data.train.labels, hidden)
    seeds = np.random.RandomState(3).randint(2**31 - 10_000, size=3)
    train, test = (s.images.reshape(len(s), -1) for s in (data.train, data.test))
    factor_of_unit = KMeans(8, n_init=10, random_state=seeds[0]).fit_predict(hidden.T)
    ids, test_ids = [], []
    for f in range(8):
        kmeans = KMeans(10, n_init=10, random_state=seeds[1] + f)
        ids.append(kmeans.fit_predict(np.ascontiguousarray(hidden[:, factor_of_unit == f])))
        forest = RandomForestClassifier(20, max_leaf_nodes=1_000, random_state=seeds[2] + f)
        test_ids.append(forest.fit(train, ids[-1]).predict(test))
    tree = DecisionTreeClassifier(max_depth=5, criterion="entropy", random_state=0)
    tree.fit(np.stack(ids, 1), data.train.labels)
    assert np.array_equal(inte.seeds_, seeds)
    assert np.array_equal(inte.ids_, np.stack(ids, 1))
    assert np.array_equal(inte.transform(data.test.images), np.stack(test_ids, 1))
    assert np.mean(inte.predict(data.test.images) == tree.predict(np.stack(test_ids, 1))) > 0.98


def test_it_learns_digits(digits, fitted):
    data, _ = digits
    assert fitted.score(data.test.images, data.test.labels) > 0.5
    assert fitted.ids_.shape == (1_200, 8)
    assert fitted.degenerate_ == []


def test_forests_keep_to_the_limit_of_nodes(digits):
    data, hidden = digits
    few = slice(300)
    inte = CNNINTE(2, 3, max_nodes=21, n_trees=5, random_state=0)
    inte.fit(data.train.images[few], data.train.labels[few], hidden[few])
    trees = [tree.tree_ for forest in inte.forests_ for tree in forest.estimators_]
    assert len(trees) == 10
    assert max(tree.node_count for tree in trees) <= 21


def test_parameters_clone_and_fits_repeat(digits):
    data, hidden = digits
    few = slice(300)
    inte = CNNINTE(3, 4, meta_learner=MetaTree(2), n_trees=3, random_state=5)
    copy = clone(inte).set_params(meta_learner__max_depth=4)
    assert inte.get_params()["meta_learner__max_depth"] == 2
    assert copy.get_params()["n_ids"] == 4
    a, b = (clone(inte).fit(data.train.images[few], data.train.labels[few], hidden[few]) for _ in range(2))
    assert np.array_equal(a.predict(data.test.images), b.predict(data.test.images))


def test_one_explanation_is_the_same_as_all(digits, fitted):
    data, _ = digits
    everything = fitted.explain_all(data.test.images, data.test.labels)
    for i in (0, 7, 101):
        one = fitted.explain(data.test.images[i], data.test.labels[i])
        assert str(one) == str(everything[i])
        assert one.prediction == fitted.predict(data.test.images[i : i + 1])[0]
    assert len(list(everything)) == 397


def test_without_labels_the_prediction_is_explained(digits, fitted):
    data, _ = digits
    explained = fitted.explain_all(data.test.images[:20])
    assert np.array_equal(explained.labels, fitted.predict(data.test.images[:20]))
    assert explained.is_correct.all()


def test_counts_start_with_the_training_set_and_end_in_the_leaf(digits, fitted):
    data, _ = digits
    explanation = fitted.explain(data.test.images[0])
    assert explanation.remaining[0].tolist() == np.bincount(data.train.labels).tolist()
    leaf = fitted.meta_learner_.apply(np.array([explanation.ids]))
    same = fitted.meta_learner_.apply(fitted.ids_) == leaf
    assert explanation.remaining[-1].tolist() == np.bincount(data.train.labels[same], minlength=10).tolist()


def test_decision_set_explains_too(digits, fitted):
    data, _ = digits
    other = clone(fitted).fit(data.train.images, data.train.labels, digits[1])
    other.set_params(meta_learner=DecisionSet(16)).fit_meta_learner()
    explained = other.explain_all(data.test.images, data.test.labels)
    assert max(len(path) for path in explained.paths) == 2
    default = np.flatnonzero(explained.leaf == 16)
    assert "No rule applies" in explained[default[0]].to_text()


@pytest.mark.parametrize("summary", ["max", "mean"])
def test_feature_maps_are_summarised(digits, summary):
    data, _ = digits
    few = slice(200)
    maps = np.random.default_rng(0).random((200, 3, 3, 12))
    options = {"n_factors": 3, "n_ids": 4, "n_trees": 2, "random_state": 0}
    args = data.train.images[few], data.train.labels[few]
    from_maps = CNNINTE(summary=summary, **options).fit(*args, maps)
    from_units = CNNINTE(**options).fit(*args, getattr(maps, summary)(axis=(1, 2)))
    assert np.array_equal(from_maps.ids_, from_units.ids_)


def test_hdbscan_needs_no_number_of_clusters(digits):
    data, hidden = digits
    inte = CNNINTE(clusterer="hdbscan", n_trees=3, random_state=0)
    inte.fit(data.train.images, data.train.labels, hidden)
    assert inte.transform(data.test.images).shape == (397, inte.factor_of_unit_.max() + 1)


def test_degenerate_factors_are_handled_and_reported(digits):
    data, _ = digits
    few = slice(100)
    silent = np.zeros((100, 6))
    silent[:, 5] = np.arange(100) % 3
    with pytest.warns(UserWarning, match="IDs instead of 5"):
        inte = CNNINTE(4, 5, n_trees=2, random_state=0).fit(
            data.train.images[few], data.train.labels[few], silent
        )
    assert inte.ids_.max(axis=0).tolist() in ([0, 2], [2, 0])
    assert inte.degenerate_[0].startswith("2 factors instead of 4")
    assert len(inte.degenerate_) == 3
    assert inte.predict(data.test.images).shape == (397,)


def test_bad_input_is_refused(digits, fitted):
    data, hidden = digits
    images, labels = data.train.images, data.train.labels
    with pytest.raises(ValueError, match="equally many, got 1200, 1200 and 1199"):
        CNNINTE().fit(images, labels, hidden[1:])
    with pytest.raises(ValueError, match=r"must be \(n, units\)"):
        CNNINTE().fit(images, labels, hidden[:, :, None])
    with pytest.raises(ValueError, match="must be finite"):
        CNNINTE().fit(images, labels, np.where(hidden > 1, np.nan, hidden))
    with pytest.raises(ValueError, match="unknown summary 'median': choose one of max, mean"):
        CNNINTE(summary="median").fit(images, labels, np.zeros((1_200, 2, 2, 3)))
    with pytest.raises(ValueError, match=r"one label for each of 3 images needed, got the shape \(1,\)"):
        fitted.explain_all(data.test.images[:3], [4])
    for tolerance in (-1, 1.0, 2.0):
        with pytest.raises(ValueError, match="tolerance must be from 0 to below 1"):
            fitted.explain_all(data.test.images[:3], tolerance=tolerance)
    with pytest.raises(ValueError, match=r"labels \[11\] were not in the training set"):
        fitted.explain(data.test.images[0], 11)


def test_assign_gives_k_means_own_ids(digits, fitted):
    _, hidden = digits
    assert np.mean(fitted.assign(hidden) == fitted.ids_) > 0.99
    new = hidden[:50] + 1e-6
    by_hand = []
    for f in range(8):
        own = fitted.factor_of_unit_ == f
        kmeans = KMeans(10, n_init=10, random_state=fitted.seeds_[1] + f)
        by_hand.append(kmeans.fit(np.ascontiguousarray(hidden[:, own])).predict(new[:, own]))
    assert np.mean(fitted.assign(new) == np.stack(by_hand, axis=1)) > 0.99


def test_metrics_change_factors_and_ids(digits):
    data, hidden = digits
    images, labels = data.train.images[:200], data.train.labels[:200]
    cosine = CNNINTE(3, 4, unit_metric="cosine", instance_metric="cosine", n_trees=2, random_state=0)
    cosine.fit(images, labels, hidden[:200])
    factors = cluster_factors(hidden[:200], 3, metric="cosine", random_state=cosine.seeds_[0])
    assert np.array_equal(cosine.factor_of_unit_, factors)
    assert np.mean(cosine.assign(hidden[:200] * 7) == cosine.ids_) > 0.99


def test_labels_that_are_no_numbers_and_ids_of_other_factors_are_refused(digits, fitted):
    data, hidden = digits
    labels = data.train.labels.astype(float)
    labels[3] = np.nan
    with pytest.raises(ValueError, match="labels must be finite, got NaN"):
        CNNINTE().fit(data.train.images, labels, hidden)
    n_factors = fitted.ids_.shape[1]
    for wrong in (
        np.zeros((2, n_factors + 2), int),
        np.zeros((2, n_factors - 1), int),
        np.zeros(n_factors, int),
    ):
        with pytest.raises(ValueError, match=rf"ids must be \(n, {n_factors}\), one for each factor"):
            fitted.explain_ids(wrong)
    with pytest.raises(NotFittedError):
        CNNINTE().predict(data.test.images)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_factors": 0}, "n_factors must be at least 1"),
        ({"n_ids": None}, "n_ids must be at least 1"),
        ({"n_trees": 1.5}, "n_trees must be at least 1"),
        ({"max_nodes": -5}, "max_nodes must be at least 1"),
    ],
)
def test_counts_that_cannot_be_are_refused_by_name(digits, options, message):
    data, hidden = digits
    with pytest.raises(ValueError, match=message):
        CNNINTE(**options).fit(data.train.images, data.train.labels, hidden)


def test_labels_that_are_none_and_what_is_not_fitted_are_refused(digits):
    data, hidden = digits
    for wrong in (None, [None] * len(hidden)):
        with pytest.raises(ValueError, match=r"labels must be \(n,\), numbers or words, got object"):
            CNNINTE().fit(data.train.images, wrong, hidden)
    for unfitted in (CNNINTE().fit_meta_learner, MetaTree().leaf_labels, DecisionSet().leaf_labels):
        with pytest.raises(NotFittedError):
            unfitted()
