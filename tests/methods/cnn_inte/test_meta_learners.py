from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.base import clone
from sklearn.tree import DecisionTreeClassifier

from cnninte_utils.methods.cnn_inte.meta_learners import CRITERIA, SPLITS, Condition, DecisionSet, MetaTree

TOY = np.array([[0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 2], [0, 1, 1, 1, 2, 2]]).T


def random_problem(seed, n=3_000, n_factors=6, n_ids=8, n_classes=5):
    """IDs that say something about the label, so that splits have no ties."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    ids = rng.integers(0, n_ids, (n, n_factors))
    told = rng.random((n, n_factors)) < rng.uniform(0.2, 0.7, n_factors)
    return np.where(told, (labels[:, None] * 3 + np.arange(n_factors)) % n_ids, ids), labels


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("depth", [1, 3, 5])
def test_ordered_tree_is_scikit_learns(criterion, depth):
    for seed in range(3):
        ids, labels = random_problem(seed)
        ours = MetaTree(depth, criterion).fit(ids, labels)
        theirs = DecisionTreeClassifier(max_depth=depth, criterion=criterion, random_state=0).fit(ids, labels)
        other = random_problem(seed + 100)[0]
        assert np.mean(ours.predict(other) == theirs.predict(other)) > 0.995
        assert abs(ours.score(ids, labels) - theirs.score(ids, labels)) < 1e-3


def test_toy_by_hand():
    tree = MetaTree(2, "entropy").fit(TOY, list("AABBBC"))
    assert [" and ".join(map(str, path)) for path in tree.paths()] == [
        "f0 ∈ {0}",
        "f0 ∈ {1, 2} and f1 ∈ {0, 1}",
        "f0 ∈ {1, 2} and f1 ∈ {2}",
    ]
    assert tree.leaf_labels().tolist() == ["A", "B", "C"]


def impurity(labels, criterion):
    p = np.unique(labels, return_counts=True)[1] / len(labels)
    return 1 - (p**2).sum() if criterion == "gini" else -(p * np.log(p)).sum()


@pytest.mark.parametrize("criterion", CRITERIA)
def test_nominal_root_is_the_best_of_all_subsets(criterion):
    ids, labels = random_problem(7, n=200, n_factors=3, n_ids=5, n_classes=3)
    costs = []
    for factor, inside in product(range(3), product([False, True], repeat=5)):
        left = np.array(inside)[ids[:, factor]]
        if 0 < left.sum() < len(ids):
            costs.append(sum(s.sum() * impurity(labels[s], criterion) for s in (left, ~left)))
    tree = MetaTree(1, criterion, "nominal").fit(ids, labels)
    leaf = tree.apply(ids)
    ours = sum((leaf == k).sum() * impurity(labels[leaf == k], criterion) for k in (0, 1))
    assert ours == pytest.approx(min(costs))


def test_numbering_is_renaming_the_ids():
    ids, labels = random_problem(3)
    rng = np.random.default_rng(0)
    numbering = np.stack([rng.permutation(8) for _ in range(6)])
    renamed = numbering[np.arange(6), ids]
    by_numbering = MetaTree(4, numbering=numbering).fit(ids, labels)
    by_renaming = MetaTree(4).fit(renamed, labels)
    assert np.array_equal(by_numbering.predict(ids), by_renaming.predict(renamed))


def test_nominal_tree_does_not_depend_on_the_numbering():
    ids, labels = random_problem(4)
    numbering = np.stack([np.random.default_rng(1).permutation(8) for _ in range(6)])
    renamed = numbering[np.arange(6), ids]
    a, b = (MetaTree(3, splits="nominal").fit(x, labels) for x in (ids, renamed))
    assert np.array_equal(a.predict(ids), b.predict(renamed))


def test_with_many_ids_two_classes_are_divided_optimally():
    """For two classes the prefixes of the sorted profiles contain the best division (Breiman et al. 1984)."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 20, (4_000, 1))
    labels = rng.random(4_000) < np.linspace(0, 1, 20)[rng.permutation(20)][ids[:, 0]]
    tree = MetaTree(1, splits="nominal").fit(ids, labels)
    share = np.bincount(ids[:, 0], labels) / np.bincount(ids[:, 0])
    inside = np.isin(np.arange(20), tree.paths()[0][0].allowed)
    low, high = (inside, ~inside) if share[inside].mean() < share[~inside].mean() else (~inside, inside)
    assert share[low].max() < share[high].min()


problems = st.tuples(st.integers(1, 40), st.integers(1, 4), st.integers(1, 5)).flatmap(
    lambda shape: st.tuples(
        arrays(np.int64, shape[:2], elements=st.integers(0, shape[2] - 1)),
        arrays(np.int64, shape[0], elements=st.integers(0, 2)),
    )
)


@settings(max_examples=60)
@given(problems, st.sampled_from([*SPLITS, "set"]), st.sampled_from([0, 1, 3, None]))
def test_every_row_satisfies_its_own_path_and_no_other_leaf_of_a_tree(problem, kind, depth):
    ids, labels = problem
    learner = DecisionSet(n_rules=4) if kind == "set" else MetaTree(depth, splits=kind)
    learner.fit(ids, labels)
    leaf, paths = learner.apply(ids), learner.paths()
    holds = np.stack(
        [np.all([c.holds(ids) for c in p] or [np.ones(len(ids), bool)], axis=0) for p in paths], 1
    )
    assert holds[np.arange(len(ids)), leaf].all()
    if kind == "set":
        assert np.array_equal(leaf, holds.argmax(axis=1))
    else:
        assert (holds.sum(axis=1) == 1).all()
        assert depth is None or learner.tree_.depth <= depth
    assert np.array_equal(learner.predict(ids), learner.leaf_labels()[leaf])


def test_unlimited_tree_separates_what_can_be_separated():
    ids, labels = random_problem(5, n=500)
    rows, first = np.unique(ids, axis=0, return_index=True)
    tree = MetaTree(None).fit(rows, labels[first])
    assert tree.score(rows, labels[first]) == 1


def test_decision_set_by_hand():
    ids = np.array([[0, 0], [0, 1], [0, 0], [1, 0], [1, 1], [1, 1], [2, 0], [2, 1]])
    labels = np.array(list("AAABCCDE"))
    rules = DecisionSet(n_rules=2, penalty=1).fit(ids, labels)
    assert [(str(r.conditions[0]), r.label) for r in rules.rules_] == [
        ("f0 ∈ {0}", "A"),
        ("f0 ∈ {1}", "C"),
    ] or [(" and ".join(map(str, r.conditions)), r.label) for r in rules.rules_] == [
        ("f0 ∈ {0}", "A"),
        ("f0 ∈ {1} and f1 ∈ {1}", "C"),
    ]
    assert rules.default_ in "BDE"
    assert rules.paths()[-1] == ()


def test_decision_set_prefers_sure_rules_if_errors_are_dear():
    ids, labels = random_problem(6)
    cheap, dear = (DecisionSet(8, penalty=p).fit(ids, labels) for p in (0.5, 20))
    precision = [
        np.mean([np.mean(labels[m.apply(ids) == i] == r.label) for i, r in enumerate(m.rules_)])
        for m in (cheap, dear)
    ]
    assert precision[1] > precision[0]


def test_condition_text_shortens_runs():
    assert str(Condition(3, (0, 1, 2, 5, 7, 8))) == "f3 ∈ {0–2, 5, 7, 8}"


def test_errors_and_cloning():
    with pytest.raises(ValueError, match="unknown criterion 'mse': choose one of gini, entropy"):
        MetaTree(criterion="mse").fit(TOY, list("AABBBC"))
    with pytest.raises(ValueError, match="unknown splits 'sets': choose one of ordered, nominal"):
        MetaTree(splits="sets").fit(TOY, list("AABBBC"))
    with pytest.raises(ValueError, match="IDs must be from 0 to 2, got 0 to 3"):
        MetaTree().fit(TOY, list("AABBBC")).predict(TOY + 1 * (TOY == 2))
    assert clone(MetaTree(3, "gini")).get_params() == MetaTree(3, "gini").get_params()


@pytest.mark.parametrize("splits", SPLITS)
def test_a_grown_tree_contains_all_shallower_ones(splits):
    ids, labels = random_problem(8)
    grown = MetaTree(6, splits=splits).fit(ids, labels)
    for depth in range(7):
        cut = grown.tree_.classes[grown.tree_.apply(ids, max_depth=depth)]
        assert np.array_equal(cut, MetaTree(depth, splits=splits).fit(ids, labels).predict(ids))


def test_leaf_table_counts_what_ends_where():
    ids = np.array([[0], [0], [0], [1], [1], [2]])
    table = MetaTree(2).fit(ids, np.array(list("aaabbc"))).leaf_table()
    assert table["class"].tolist() == ["a", "b", "c"]
    assert table["instances"].tolist() == [3, 2, 1]
    assert table["depth"].tolist() == [1, 2, 2]
    assert table["share of the class"].tolist() == [1, 1, 1]


def test_a_cut_tree_is_the_shallower_tree():
    rng = np.random.default_rng(0)
    ids, labels = rng.integers(0, 5, (400, 3)), rng.integers(0, 4, 400)
    other_ids, other_labels = rng.integers(0, 5, (100, 3)), rng.integers(0, 4, 100)
    cut = MetaTree(4).fit(ids, labels).accuracies_by_depth(other_ids, other_labels)
    shallow = [MetaTree(depth).fit(ids, labels).score(other_ids, other_labels) for depth in range(1, 5)]
    assert np.allclose(cut, shallow)


@pytest.mark.parametrize(
    ("learner", "message"),
    [
        (MetaTree(-1), "max_depth must be at least 0, got -1"),
        (MetaTree(1.5), "max_depth must be at least 0, got 1.5"),
        (MetaTree("x"), "max_depth must be at least 0, got 'x'"),
        (
            MetaTree(numbering=[[0]]),
            r"a permutation of at least 3 IDs for each of 3 factors, got the shape \(1, 1\)",
        ),
        (MetaTree(numbering=[[0, 0, 2]] * 3), "numbering must be a permutation"),
        (DecisionSet(n_rules=-1), "n_rules must be at least 0, got -1"),
        (DecisionSet(penalty=np.nan), "penalty must be finite and not negative, got nan"),
    ],
)
def test_options_that_cannot_be_are_refused(learner, message):
    with pytest.raises(ValueError, match=message):
        learner.fit(TOY, list("AABBBC"))


@pytest.mark.parametrize("learner", [MetaTree(2), DecisionSet()])
@pytest.mark.parametrize(
    ("ids", "labels", "message"),
    [
        (TOY.astype(float), list("AABBBC"), r"ids must be whole numbers from 0, \(n, factors\), got float64"),
        (-TOY, list("AABBBC"), "ids must be whole numbers from 0"),
        (TOY[:0], [], "ids must be whole numbers from 0"),
        (TOY, list("AAB"), "one label for each of 6 rows"),
        (TOY, [0, 1, np.nan, 1, 0, 1], "labels must be finite"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(learner, ids, labels, message):
    with pytest.raises(ValueError, match=message):
        clone(learner).fit(ids, labels)


def test_ids_of_too_few_factors_are_refused():
    tree = MetaTree(2, "entropy").fit(TOY, list("AABBBC"))
    for wrong in (TOY[:, :1], TOY[0], TOY / 2):
        with pytest.raises(
            ValueError, match=r"IDs must be whole numbers, \(n, factors\) of 2 factors or more"
        ):
            tree.predict(wrong)
