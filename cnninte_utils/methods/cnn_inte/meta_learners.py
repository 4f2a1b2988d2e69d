"""Meta-learners: small models from the IDs of an instance to its class, readable as conditions.

Every meta-learner ends in *leaves*; a leaf is a sequence of conditions "the ID of this factor is one of
these", and a class. IDs are names of clusters. A tree that compares them as numbers (``"ordered"``, as
the paper's does) depends on how the clusters happen to be numbered; one that divides them into any two
sets (``"nominal"``) does not.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from ... import checks

__all__ = ["CRITERIA", "SPLITS", "Condition", "DecisionSet", "MetaTree", "Rule", "Tree"]

CRITERIA = ("gini", "entropy")
SPLITS = ("ordered", "nominal")
_MAX_IDS_FOR_ALL_SUBSETS = 12
_NODES_AT_ONCE = 64


@dataclass(frozen=True)
class Condition:
    """The ID of `factor` is one of `allowed`."""

    factor: int
    allowed: tuple[int, ...]

    @property
    def set_text(self) -> str:
        """The allowed IDs in braces, runs shortened: {0–3, 7}."""
        ids = np.array(self.allowed)
        runs = np.split(ids, np.flatnonzero(np.diff(ids) > 1) + 1)
        parts = (", ".join(map(str, run)) if len(run) < 3 else f"{run[0]}–{run[-1]}" for run in runs)
        return f"{{{', '.join(parts)}}}"

    def __str__(self) -> str:
        return f"f{self.factor} ∈ {self.set_text}"

    def holds(self, ids: np.ndarray) -> np.ndarray:
        """Return which rows of `ids` (n, factors) satisfy it."""
        return np.isin(ids[:, self.factor], self.allowed)


@dataclass(frozen=True)
class Tree:
    """A binary tree over IDs, node 0 the root, parents before children.

    Parameters
    ----------
    factor : int array of shape (nodes,)
        The factor a node asks about; -1 at a leaf.
    goes_left : bool array of shape (nodes, ids)
        Which IDs of that factor go to the left child.
    left, right : int array of shape (nodes,)
        Children; -1 at a leaf.
    counts : int array of shape (nodes, classes)
        Training instances of each class that reach the node.
    """

    factor: np.ndarray
    goes_left: np.ndarray
    left: np.ndarray
    right: np.ndarray
    counts: np.ndarray = field(repr=False)

    @property
    def classes(self) -> np.ndarray:
        """The most frequent class index at each node."""
        return self.counts.argmax(axis=1)

    @property
    def leaves(self) -> np.ndarray:
        """The nodes without children."""
        return np.flatnonzero(self.factor < 0)

    @property
    def depth(self) -> int:
        """The longest path, in conditions."""
        return max(len(self.path(leaf)) for leaf in self.leaves)

    def apply(self, ids: np.ndarray, max_depth: int | None = None) -> np.ndarray:
        """Return the leaf that each row of `ids` (n, factors) ends in, or its node at `max_depth`."""
        node = np.zeros(len(ids), dtype=np.intp)
        rows = np.arange(len(ids))
        depth = 0
        while depth != max_depth and len(rows := rows[self.factor[node[rows]] >= 0]):
            here = node[rows]
            is_left = self.goes_left[here, ids[rows, self.factor[here]]]
            node[rows] = np.where(is_left, self.left[here], self.right[here])
            depth += 1
        return node

    def path(self, leaf: int) -> tuple[Condition, ...]:
        """Return the conditions from the root to `leaf`."""
        conditions: list[Condition] = []
        node = leaf
        while node:
            parent = int(np.flatnonzero((self.left == node) | (self.right == node))[0])
            is_allowed = self.goes_left[parent] == (self.left[parent] == node)
            allowed = tuple(np.flatnonzero(is_allowed).tolist())
            conditions.append(Condition(int(self.factor[parent]), allowed))
            node = parent
        return tuple(reversed(conditions))


class MetaTree(ClassifierMixin, BaseEstimator):
    r"""A decision tree on IDs, grown greedily by the decrease in impurity.

    .. math:: \Delta = N\,I(\text{node}) - N_L\,I(\text{left}) - N_R\,I(\text{right}),
              \quad I = 1-\sum_c p_c^2 \text{ (gini)} \text{ or } -\sum_c p_c\log p_c \text{ (entropy)}

    Parameters
    ----------
    max_depth : int or None
        Conditions on a path at most; None for no limit.
    criterion : {"entropy", "gini"}
    splits : {"ordered", "nominal"}
        Whether a node asks "ID ≤ threshold" (the paper's) or "ID in a set".
    numbering : int array of shape (factors, ids), optional
        ``numbering[f, i]`` is the number under which ID i of factor f is compared, for ordered splits;
        a permutation in each row. By default an ID is its own number.

    Attributes
    ----------
    tree_ : Tree
    classes_ : ndarray
        The class labels.

    Notes
    -----
    A split that does not decrease the impurity is not made. Ties go to the lowest factor and threshold.
    With more than 12 IDs, nominal splits are the prefixes of the IDs ordered along the first principal
    component of their class profiles (Coppersmith, Hong and Hosking 1999).

    References
    ----------
    Liu, Wang, Matwin 2018, Algorithm 1 (the meta-learner).
    """

    def __init__(self, max_depth=5, criterion="entropy", splits="ordered", numbering=None):
        self.max_depth = max_depth
        self.criterion = criterion
        self.splits = splits
        self.numbering = numbering

    def fit(self, ids, labels, sample_weight=None):
        """Grow the tree on `ids` (n, factors), integers from 0, and `labels` (n,).

        `sample_weight`, whole numbers, lets one row stand for many equal ones.
        """
        checks.choice("criterion", self.criterion, CRITERIA)
        checks.choice("splits", self.splits, SPLITS)
        if self.max_depth is not None:
            checks.at_least(0, max_depth=self.max_depth)
        ids, labels = _checked_for_fit(ids, labels)
        self._check_numbering(ids)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        shape = (ids.shape[1], int(ids.max()) + 1, len(self.classes_))
        cells = ids * shape[2] + codes[:, None]
        nodes = [_Node(np.bincount(codes, sample_weight, shape[2]))]
        node_of_row = np.zeros(len(ids), dtype=np.intp)
        level, depth = np.array([0]), 0
        while len(level) and depth != self.max_depth:
            children: list[int] = []
            for part in np.array_split(level, -(-len(level) // _NODES_AT_ONCE)):
                position = np.full(len(nodes), -1)
                position[part] = np.arange(len(part))
                counts = _class_counts(cells, position[node_of_row], len(part), shape, sample_weight)
                for node, factor, goes_left, counts_left in self._best_splits(part, counts):
                    left, right = len(nodes), len(nodes) + 1
                    nodes += [_Node(counts_left), _Node(nodes[node].counts - counts_left)]
                    nodes[node] = replace(
                        nodes[node], factor=factor, goes_left=goes_left, left=left, right=right
                    )
                    children += [left, right]
            node_of_row = _descend(nodes, node_of_row, ids)
            impure = [node for node in children if (nodes[node].counts > 0).sum() > 1]
            level, depth = np.array(impure, dtype=np.intp), depth + 1
        self.tree_ = _as_tree(nodes, shape[1])
        return self

    def _check_numbering(self, ids: np.ndarray) -> None:
        """Refuse a numbering that is no permutation of the IDs for each factor."""
        if self.numbering is None:
            return
        numbering = np.asarray(self.numbering)
        n_factors, n_ids = ids.shape[1], int(ids.max()) + 1
        is_whole = numbering.ndim == 2 and len(numbering) == n_factors and numbering.shape[1] >= n_ids
        if not is_whole or (np.sort(numbering, axis=1) != np.arange(numbering.shape[1])).any():
            raise ValueError(
                f"numbering must be a permutation of at least {n_ids} IDs for each of {n_factors} factors, "
                f"got the shape {numbering.shape}"
            )

    def predict(self, ids):
        """Return the label of each row of `ids`."""
        return self.leaf_labels()[self.apply(ids)]

    def apply(self, ids):
        """Return the leaf, from 0 to ``len(paths()) - 1``, of each row of `ids`."""
        check_is_fitted(self)
        return np.searchsorted(self.tree_.leaves, self.tree_.apply(_checked(ids, self.tree_)))

    def paths(self) -> list[tuple[Condition, ...]]:
        """Return the conditions of every leaf."""
        return [self.tree_.path(leaf) for leaf in self.tree_.leaves]

    def leaf_labels(self) -> np.ndarray:
        """Return the label of every leaf."""
        check_is_fitted(self)
        return self.classes_[self.tree_.classes[self.tree_.leaves]]

    def leaf_table(self) -> pd.DataFrame:
        """Return the leaves, largest first: class, depth, training instances, the share of the class."""
        counts = self.tree_.counts[self.tree_.leaves]
        table = {
            "class": self.leaf_labels(),
            "depth": [len(path) for path in self.paths()],
            "instances": counts.sum(axis=1),
            "share of the class": counts.max(axis=1) / np.maximum(counts.sum(axis=1), 1),
        }
        return pd.DataFrame(table).sort_values("instances", ascending=False, ignore_index=True)

    def accuracies_by_depth(self, ids: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the accuracy of this tree cut at depth 1, 2, … down to `max_depth`.

        A greedy tree contains all shallower ones: each node has its most frequent class.
        """
        checks.at_least(1, max_depth=self.max_depth)
        ids = _checked(ids, self.tree_)
        nodes = [self.tree_.apply(ids, max_depth=depth) for depth in range(1, self.max_depth + 1)]
        return np.array([np.mean(self.classes_[self.tree_.classes[node]] == labels) for node in nodes])

    def _best_splits(self, level, counts):
        """Yield (node, factor, goes_left, class counts on the left) for the nodes worth splitting."""
        if counts.shape[2] < 2:
            return
        sides = self._candidate_sides(counts)
        left = np.einsum("nksi,nkic->nksc", sides, counts, optimize=True)
        total = counts.sum(axis=2)[:, :, None]
        gain = _weighted_impurity(total, self.criterion) - (
            _weighted_impurity(left, self.criterion) + _weighted_impurity(total - left, self.criterion)
        )
        n_left = left.sum(axis=3)
        gain[(n_left == 0) | (n_left == total.sum(axis=3))] = 0
        flat = gain.reshape(len(level), -1)
        best = flat.argmax(axis=1)
        factors, candidates = np.unravel_index(best, gain.shape[1:])
        for i, node in enumerate(level):
            if flat[i, best[i]] > 1e-9 * counts[i, 0].sum():
                chosen = i, factors[i], candidates[i]
                side = sides[np.minimum(i, len(sides) - 1), factors[i], candidates[i]]
                yield int(node), int(factors[i]), side.astype(bool), left[chosen]

    def _candidate_sides(self, counts):
        """Return 0/1 of shape (nodes or 1, factors, candidates, ids): which IDs go left."""
        n_factors, n_ids = counts.shape[1:3]
        if self.splits == "nominal" and n_ids <= _MAX_IDS_FOR_ALL_SUBSETS:
            return np.broadcast_to(_all_divisions(n_ids), (1, n_factors, 2 ** (n_ids - 1) - 1, n_ids))
        if self.splits == "nominal":
            rank = _profile_order(counts)
        elif self.numbering is None:
            rank = np.broadcast_to(np.arange(n_ids), (1, n_factors, n_ids))
        else:
            rank = np.asarray(self.numbering)[None, :, :n_ids]
        thresholds = np.arange(n_ids - 1)[:, None]
        return (rank[:, :, None, :] <= thresholds).astype(float)


@dataclass(frozen=True)
class _Node:
    counts: np.ndarray
    factor: int = -1
    goes_left: np.ndarray | None = None
    left: int = -1
    right: int = -1


def _as_tree(nodes: list[_Node], n_ids: int) -> Tree:
    goes_left = np.zeros((len(nodes), n_ids), dtype=bool)
    for i, node in enumerate(nodes):
        if node.goes_left is not None:
            goes_left[i] = node.goes_left
    factor, left, right = (
        np.array([getattr(n, name) for n in nodes]) for name in ("factor", "left", "right")
    )
    counts = np.rint([n.counts for n in nodes]).astype(np.int64)
    return Tree(factor, goes_left, left, right, counts)


def _descend(nodes: list[_Node], node_of_row: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Move every row of a split node to its child."""
    tree = _as_tree(nodes, int(ids.max()) + 1)
    rows = np.flatnonzero(tree.factor[node_of_row] >= 0)
    here = node_of_row[rows]
    is_left = tree.goes_left[here, ids[rows, tree.factor[here]]]
    moved = node_of_row.copy()
    moved[rows] = np.where(is_left, tree.left[here], tree.right[here])
    return moved


def _class_counts(cells, position, n_nodes, shape, weights):
    """Count instances by (node, factor, ID, class); rows whose position is -1 are left out."""
    n_factors, n_ids, n_classes = shape
    rows = np.flatnonzero(position >= 0)
    offset = position[rows] * (n_ids * n_classes)
    weights = None if weights is None else weights[rows]
    counts = [
        np.bincount(offset + cells[rows, f], weights, n_nodes * n_ids * n_classes) for f in range(n_factors)
    ]
    return np.stack([c.reshape(n_nodes, n_ids, n_classes) for c in counts], axis=1).astype(float)


def _weighted_impurity(counts, criterion):
    """Return N·I over the last axis; zero where N is zero."""
    n = counts.sum(axis=-1)
    if criterion == "gini":
        return n - (counts**2).sum(axis=-1) / np.maximum(n, 1)
    return _x_log_x(n) - _x_log_x(counts).sum(axis=-1)


def _x_log_x(x):
    return x * np.log(np.maximum(x, 1))


def _all_divisions(n_ids: int) -> np.ndarray:
    """Return every division of the IDs into two sets, once: 0/1 of shape (2^(ids-1) - 1, ids)."""
    numbers = np.arange(1, 2 ** (n_ids - 1))[:, None]
    return (numbers >> np.arange(n_ids) & 1).astype(float)


def _profile_order(counts):
    """Rank the IDs of each node and factor along the first principal component of their classes."""
    n = counts.sum(axis=3, keepdims=True)
    profiles = counts / np.maximum(n, 1)
    mean = counts.sum(axis=2, keepdims=True) / np.maximum(n.sum(axis=2, keepdims=True), 1)
    weighted = (profiles - mean) * np.sqrt(n)
    axis = np.linalg.svd(weighted, full_matrices=False)[2][:, :, :1]
    scores = ((profiles - mean) * axis).sum(axis=3)
    return scores.argsort(axis=2).argsort(axis=2)


def _checked(ids, tree: Tree) -> np.ndarray:
    ids, n_ids = np.asarray(ids), tree.goes_left.shape[1]
    if ids.ndim != 2 or not np.issubdtype(ids.dtype, np.integer) or ids.shape[1] <= tree.factor.max():
        raise ValueError(
            f"IDs must be whole numbers, (n, factors) of {tree.factor.max() + 1} factors or more, "
            f"got {ids.dtype} {ids.shape}"
        )
    if len(ids) and not 0 <= ids.min() <= ids.max() < n_ids:
        raise ValueError(f"IDs must be from 0 to {n_ids - 1}, got {ids.min()} to {ids.max()}")
    return ids


@dataclass(frozen=True)
class Rule:
    """If all `conditions` hold, the class is `label`."""

    conditions: tuple[Condition, ...]
    label: object


class DecisionSet(ClassifierMixin, BaseEstimator):
    """A set of short rules "if f₁ is 3 and f₆ is 0 then 7", in place of the tree.

    Every candidate is one or two conditions "the ID of a factor is v" with the most frequent class of
    the training instances that satisfy them. Rules are taken greedily by how many instances that no
    earlier rule covers they get right, less `penalty` times those they get wrong. A row that satisfies
    several rules takes the first; a row that satisfies none the default class, the most frequent one
    among training instances that no rule covers.

    Parameters
    ----------
    n_rules : int
        At most so many; 32 is the number of leaves of the paper's tree.
    penalty : float
        The price of a wrong instance, in right ones.

    Attributes
    ----------
    rules_ : list of Rule
    default_ : label
    classes_ : ndarray

    References
    ----------
    Lakkaraju, Bach, Leskovec 2016, "Interpretable Decision Sets". Their objective also rewards little
    overlap and short rules; here the greedy cover and the limit of two conditions do.
    """

    def __init__(self, n_rules=32, penalty=2.0):
        self.n_rules = n_rules
        self.penalty = penalty

    def fit(self, ids, labels):
        """Choose rules on `ids` (n, factors), integers from 0, and `labels` (n,)."""
        checks.at_least(0, n_rules=self.n_rules)
        checks.not_negative(penalty=self.penalty)
        ids, labels = _checked_for_fit(ids, labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        self.n_ids_ = int(ids.max()) + 1
        uncovered = np.ones(len(ids), dtype=bool)
        self.rules_: list[Rule] = []
        while len(self.rules_) < self.n_rules and uncovered.any():
            rule = self._best_rule(ids[uncovered], codes[uncovered])
            if rule is None:
                break
            self.rules_.append(rule)
            uncovered &= ~_satisfies(ids, rule.conditions)
        rest = codes[uncovered] if uncovered.any() else codes
        self.default_ = self.classes_[np.bincount(rest).argmax()]
        return self

    def predict(self, ids):
        """Return the label of each row of `ids`."""
        return self.leaf_labels()[self.apply(ids)]

    def apply(self, ids):
        """Return the first rule that each row of `ids` satisfies; ``len(rules_)`` for none."""
        check_is_fitted(self)
        ids = np.asarray(ids)
        first = np.full(len(ids), len(self.rules_))
        for number, rule in reversed(list(enumerate(self.rules_))):
            first[_satisfies(ids, rule.conditions)] = number
        return first

    def paths(self) -> list[tuple[Condition, ...]]:
        """Return the conditions of every rule, and none for the default."""
        return [*(rule.conditions for rule in self.rules_), ()]

    def leaf_labels(self) -> np.ndarray:
        """Return the label of every rule, and of the default."""
        check_is_fitted(self)
        return np.array([*(rule.label for rule in self.rules_), self.default_])

    def _best_rule(self, ids, codes) -> Rule | None:
        n_factors, n_classes = ids.shape[1], len(self.classes_)
        best_score, best = 0.0, None
        for a in range(n_factors):
            for b in range(a, n_factors):
                cells = (ids[:, a] * self.n_ids_ + ids[:, b]) * n_classes + codes
                counts = np.bincount(cells, minlength=self.n_ids_**2 * n_classes).reshape(-1, n_classes)
                right = counts.max(axis=1)
                scores = right - self.penalty * (counts.sum(axis=1) - right)
                cell = scores.argmax()
                if scores[cell] > best_score:
                    best_score, best = scores[cell], (a, b, cell, counts[cell].argmax())
        if best is None:
            return None
        a, b, cell, code = best
        items = {a: int(cell) // self.n_ids_, b: int(cell) % self.n_ids_}
        return Rule(tuple(Condition(f, (v,)) for f, v in items.items()), self.classes_[code])


def _checked_for_fit(ids, labels) -> tuple[np.ndarray, np.ndarray]:
    """Return IDs and labels as arrays, sure that they are whole numbers from 0, and one label for each."""
    ids, labels = np.asarray(ids), np.asarray(labels)
    is_table = ids.ndim == 2 and ids.size and np.issubdtype(ids.dtype, np.integer)
    if not is_table or ids.min() < 0:
        raise ValueError(f"ids must be whole numbers from 0, (n, factors), got {ids.dtype} {ids.shape}")
    if labels.shape != (len(ids),):
        raise ValueError(f"one label for each of {len(ids)} rows of IDs needed, got the shape {labels.shape}")
    if np.issubdtype(labels.dtype, np.inexact):
        checks.finite(labels=labels)
    return ids, labels


def _satisfies(ids: np.ndarray, conditions: tuple[Condition, ...]) -> np.ndarray:
    return np.logical_and.reduce([condition.holds(ids) for condition in conditions])
