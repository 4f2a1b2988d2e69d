from itertools import product

import numpy as np
import pytest

from cnninte_utils.methods.cnn_inte.meta_learners import MetaTree
from cnninte_utils.methods.cnn_inte.numbering import (
    climb_numbering,
    distinct_rows,
    lookup_accuracy,
    near_optimal_tree,
    random_numbering,
    rival_models,
)


def problem(seed, n=300, n_factors=3, n_ids=4, n_classes=3):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, n_ids, (n, n_factors))
    table = rng.integers(0, n_classes, (n_ids,) * n_factors)
    labels = np.where(rng.random(n) < 0.8, table[tuple(ids.T)], rng.integers(0, n_classes, n))
    return ids, labels


def best_of_depth(ids, labels, depth):
    """Most correct training instances of any nominal tree, by trying all of them."""
    correct = np.bincount(labels).max() if len(labels) else 0
    if depth == 0 or not len(labels):
        return correct
    for factor in range(ids.shape[1]):
        values = np.unique(ids[:, factor])
        for inside in product([False, True], repeat=len(values) - 1):
            left = np.isin(ids[:, factor], values[1:][list(inside)])
            parts = (best_of_depth(ids[side], labels[side], depth - 1) for side in (left, ~left))
            correct = max(correct, sum(parts))
    return correct


@pytest.mark.parametrize("seed", range(4))
def test_search_finds_the_optimum_of_small_problems(seed):
    ids, labels = problem(seed)
    tree = near_optimal_tree(ids, labels, max_depth=2, n_rounds=300, random_state=0)
    assert tree.tree_.depth <= 2
    assert round(tree.score(ids, labels) * len(ids)) == best_of_depth(ids, labels, 2)


def test_search_solves_exclusive_or_where_greed_sees_nothing():
    ids = np.array(list(product([0, 1], repeat=3)) * 10)
    labels = ids[:, 0] ^ ids[:, 1]
    assert MetaTree(2, splits="nominal").fit(ids, labels).score(ids, labels) == 0.5
    assert near_optimal_tree(ids, labels, max_depth=2, n_rounds=50, random_state=0).score(ids, labels) == 1


def test_order_of_what_is_possible():
    ids, labels = problem(9, n=2_000, n_factors=4, n_ids=6)
    start = MetaTree(3, "gini")
    greedy = start.fit(ids, labels).score(ids, labels)
    climbed = climb_numbering(ids, labels, start, n_steps=60, random_state=0)
    near = near_optimal_tree(ids, labels, max_depth=3, n_rounds=60, random_state=0)
    assert greedy <= climbed.score(ids, labels) <= lookup_accuracy(ids, labels)
    assert climbed.score(ids, labels) <= near.score(ids, labels) <= lookup_accuracy(ids, labels)
    assert sorted(climbed.numbering[0]) == list(range(6))


def test_fitted_tree_counts_its_own_training_instances():
    ids, labels = problem(2)
    tree = near_optimal_tree(ids, labels, max_depth=3, n_rounds=20, random_state=1)
    leaf = tree.tree_.apply(ids)
    for node in tree.tree_.leaves:
        assert tree.tree_.counts[node].tolist() == np.bincount(labels[leaf == node], minlength=3).tolist()


def test_lookup_accuracy_by_hand():
    ids = np.array([[0], [0], [0], [1], [1]])
    assert lookup_accuracy(ids, np.array(list("AABCB"))) == 3 / 5


def test_random_numbering_is_permutations():
    numbering = random_numbering(5, 7, 0)
    assert np.array_equal(np.sort(numbering, axis=1), np.tile(np.arange(7), (5, 1)))
    assert not np.array_equal(numbering[0], numbering[1])


@pytest.mark.parametrize("splits", ["ordered", "nominal"])
def test_merged_rows_give_the_same_tree(splits):
    ids, labels = problem(3, n=900)
    merged = distinct_rows(ids, labels)
    assert merged[2].sum() == 900
    assert len(merged[0]) < 200
    a, b = MetaTree(4, splits=splits).fit(ids, labels), MetaTree(4, splits=splits).fit(*merged)
    assert np.array_equal(a.tree_.counts, b.tree_.counts)
    assert a.score(ids, labels) == pytest.approx(b.score(*merged))


def test_rivals_are_many_numberings_and_one_of_each_other_kind():
    ids, labels = problem(3)
    models = rival_models(ids, labels, max_depth=2, n_renumberings=7, n_rounds=3, random_state=0)
    assert {name: len(fitted) for name, fitted in models.items()} == {
        "nearly optimal": 1, "decision set": 1,
        "renumbered, gini": 7, "climbed, gini": 1, "nominal, gini": 1,
        "renumbered, entropy": 7, "climbed, entropy": 1, "nominal, entropy": 1,
    }  # fmt: skip
    training = {name: [model.score(ids, labels) for model in fitted] for name, fitted in models.items()}
    best = training.pop("nearly optimal")[0]
    assert all(
        best >= score for name, scores in training.items() if name != "decision set" for score in scores
    )
    assert {tree.criterion for tree in models["renumbered, gini"]} == {"gini"}
    assert len({tree.numbering.tobytes() for tree in models["renumbered, entropy"]}) > 1
