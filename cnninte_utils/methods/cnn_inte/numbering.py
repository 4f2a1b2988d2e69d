"""How good can a small tree on the IDs be? Renumbered, climbed and nearly optimal trees.

Everything here looks at training data only; test accuracies are for the caller to compute.
"""

import numpy as np
from sklearn.utils import check_random_state

from .meta_learners import CRITERIA, DecisionSet, MetaTree, Tree

__all__ = [
    "climb_numbering",
    "distinct_rows",
    "lookup_accuracy",
    "near_optimal_tree",
    "random_numbering",
    "rival_models",
]


def random_numbering(n_factors: int, n_ids: int, random_state=None) -> np.ndarray:
    """Return other numbers for the IDs of every factor: a random permutation in each row.

    Returns
    -------
    int array of shape (factors, ids)
        See :class:`~cnninte_utils.methods.cnn_inte.meta_learners.MetaTree`, `numbering`.
    """
    rng = check_random_state(random_state)
    return np.stack([rng.permutation(n_ids) for _ in range(n_factors)])


def distinct_rows(ids: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Merge instances with equal IDs and label: what a tree learns from them is the same, sooner.

    Returns
    -------
    ids, labels, sample_weight
        To be handed to ``fit`` and ``score`` of a tree.
    """
    rows, counts, classes = _grouped(ids, labels)
    row, code = np.nonzero(counts)
    return rows[row], classes[code], counts[row, code]


def climb_numbering(
    ids: np.ndarray, labels: np.ndarray, tree: MetaTree, *, n_steps: int = 200, random_state=None
) -> MetaTree:
    """Search the numbering under which an ordered tree has the best training accuracy.

    Hill climbing: swap the numbers of two IDs of one factor, keep the swap unless it hurts.

    Parameters
    ----------
    ids : int array of shape (n, factors)
    labels : array of shape (n,)
    tree : MetaTree
        Depth and criterion to use; it is not changed.
    n_steps : int
        Swaps tried.

    Returns
    -------
    MetaTree
        The fitted tree with its `numbering`.
    """
    rng = check_random_state(random_state)
    problem = distinct_rows(ids, labels)
    n_factors, n_ids = ids.shape[1], int(ids.max()) + 1
    numbering = np.tile(np.arange(n_ids), (n_factors, 1))
    best = _with_numbering(tree, numbering).fit(*problem)
    best_score = best.score(*problem)
    for _ in range(n_steps):
        factor, (a, b) = rng.randint(n_factors), rng.choice(n_ids, 2, replace=False)
        tried = best.numbering.copy()
        tried[factor, [a, b]] = tried[factor, [b, a]]
        candidate = _with_numbering(tree, tried).fit(*problem)
        score = candidate.score(*problem)
        if score >= best_score:
            best, best_score = candidate, score
    return best


def _with_numbering(tree: MetaTree, numbering: np.ndarray) -> MetaTree:
    return MetaTree(tree.max_depth, tree.criterion, "ordered", numbering)


def lookup_accuracy(ids: np.ndarray, labels: np.ndarray) -> float:
    """Return the training accuracy that no model on these IDs can exceed.

    That of a table which gives each combination of IDs its most frequent label.
    """
    _, counts, _ = _grouped(ids, labels)
    return float(counts.max(axis=1).sum() / len(labels))


def near_optimal_tree(
    ids: np.ndarray, labels: np.ndarray, *, max_depth: int = 5, n_rounds: int = 100, random_state=None
) -> MetaTree:
    r"""Search the nominal tree of a given depth with the best training accuracy.

    Iterated local search. *Sweep*: from the deepest level up, every node takes the question that
    classifies most of its instances correctly while all other nodes stay as they are. With
    :math:`l_x, r_x` the correct instances among those with IDs x if they went left or right, the best
    division of factor f sends each ID v to its better side,

    .. math:: \max_f \sum_v \max\Big(\sum_{x: x_f = v} l_x, \sum_{x: x_f = v} r_x\Big),

    which is exact; at the deepest level the two leaf labels are chosen jointly. Sweeps never lose
    accuracy and end when nothing changes. *Round*: change some nodes of the best tree at random,
    sweep, keep it unless it is worse.

    Because any numbering's ordered split is one of the nominal divisions, the best nominal tree bounds
    what any numbering can reach; this search gives a tree close to it, not a proof.

    Parameters
    ----------
    ids : int array of shape (n, factors)
    labels : array of shape (n,)
    max_depth : int
    n_rounds : int

    Returns
    -------
    MetaTree
        Fitted, with ``splits="nominal"``.

    References
    ----------
    Carreira-Perpiñán and Tavallali 2018, "Alternating optimization of decision trees" (the sweep).
    """
    rng = check_random_state(random_state)
    start = MetaTree(max_depth, "entropy", "nominal").fit(*distinct_rows(ids, labels))
    search = _Search(*_grouped(ids, labels)[:2], max_depth)
    best = search.sweep(search.from_tree(start.tree_))
    for _ in range(n_rounds):
        candidate = search.sweep(search.perturbed(best, rng))
        if candidate.n_correct >= best.n_correct:
            best = candidate
    start.tree_ = search.to_tree(best)
    return start


def rival_models(
    ids: np.ndarray,
    labels: np.ndarray,
    *,
    max_depth: int = 5,
    n_renumberings: int = 200,
    n_rounds: int = 60,
    random_state=None,
) -> dict[str, list]:
    """Fit what may stand beside one tree on the same IDs: other numberings, sets for numbers, rules.

    Parameters
    ----------
    ids : int array of shape (n, factors)
    labels : array of shape (n,)
    max_depth : int
        Of every tree; the decision set has as many rules as such a tree has leaves.
    n_renumberings : int
        Random numberings for each criterion, and swaps that a climb tries.
    n_rounds : int
        As for :func:`near_optimal_tree`.

    Returns
    -------
    dict
        Name → fitted models: "nearly optimal", "decision set" and, for each criterion, "renumbered, …"
        (many of them), "climbed, …" and "nominal, …".
    """
    rng = check_random_state(random_state)
    problem = distinct_rows(ids, labels)
    n_factors, n_ids = ids.shape[1], int(ids.max()) + 1
    options = {"max_depth": max_depth, "n_rounds": n_rounds, "random_state": rng}
    models = {
        "nearly optimal": [near_optimal_tree(ids, labels, **options)],
        "decision set": [DecisionSet(2**max_depth).fit(ids, labels)],
    }
    for criterion in CRITERIA:
        start = MetaTree(max_depth, criterion)
        models[f"renumbered, {criterion}"] = [
            _with_numbering(start, random_numbering(n_factors, n_ids, rng)).fit(*problem)
            for _ in range(n_renumberings)
        ]
        climbed = climb_numbering(ids, labels, start, n_steps=n_renumberings, random_state=rng)
        models[f"climbed, {criterion}"] = [climbed]
        models[f"nominal, {criterion}"] = [MetaTree(max_depth, criterion, "nominal").fit(*problem)]
    return models


def _grouped(ids, labels):
    """Return the distinct rows of `ids`, their class counts, and the classes."""
    rows, group = np.unique(ids, axis=0, return_inverse=True)
    classes, codes = np.unique(labels, return_inverse=True)
    cells = group.ravel() * len(classes) + codes
    counts = np.bincount(cells, minlength=len(rows) * len(classes))
    return rows, counts.reshape(len(rows), len(classes)), classes


class _Questions:
    """A complete tree in heap order: a factor and a division for each inner node, a class for each leaf."""

    def __init__(self, factor, goes_left, leaf_class, n_correct=-1):
        self.factor, self.goes_left, self.leaf_class = factor, goes_left, leaf_class
        self.n_correct = n_correct

    def copy(self):
        return _Questions(self.factor.copy(), self.goes_left.copy(), self.leaf_class.copy())


class _Search:
    """Sweeps over complete trees of one depth, on distinct ID rows with class counts."""

    def __init__(self, rows, counts, depth):
        self.rows, self.counts, self.depth = rows, counts, depth
        self.n_ids, self.n_factors = int(rows.max()) + 1, rows.shape[1]
        self.n_inner = 2**depth - 1

    def from_tree(self, tree: Tree) -> _Questions:
        """Complete a tree: below its early leaves every ID goes left."""
        questions = _Questions(
            np.zeros(self.n_inner, dtype=np.intp),
            np.ones((self.n_inner, self.n_ids), dtype=bool),
            np.zeros(self.n_inner + 1, dtype=np.intp),
        )
        pending = [(0, 0)]
        while pending:
            node, place = pending.pop()
            if tree.factor[node] >= 0:
                questions.factor[place] = tree.factor[node]
                questions.goes_left[place] = tree.goes_left[node]
                pending += [(tree.left[node], 2 * place + 1), (tree.right[node], 2 * place + 2)]
        return questions

    def perturbed(self, questions: _Questions, rng) -> _Questions:
        """Return a copy in which one to four nodes ask something random."""
        changed = questions.copy()
        nodes = rng.choice(self.n_inner, min(self.n_inner, rng.randint(1, 5)), replace=False)
        changed.factor[nodes] = rng.randint(self.n_factors, size=len(nodes))
        changed.goes_left[nodes] = rng.rand(len(nodes), self.n_ids) < 0.5
        return changed

    def sweep(self, questions: _Questions) -> _Questions:
        """Return the tree after sweeps from the bottom up until nothing improves."""
        current, previous = questions.copy(), -1
        self._best_bottom(current)
        while current.n_correct > previous:
            previous = current.n_correct
            for level in range(self.depth - 2, -1, -1):
                self._best_level(current, level)
            self._best_bottom(current)
        return current

    def to_tree(self, questions: _Questions) -> Tree:
        """Drop questions that do not divide anything; count the classes at every node."""
        nodes: list[list] = []

        def add(place: int, members: np.ndarray) -> int:
            counts = self.counts[members].sum(axis=0)
            index = len(nodes)
            nodes.append([-1, np.zeros(self.n_ids, dtype=bool), -1, -1, counts])
            if place >= self.n_inner or not len(members):
                return index
            factor, goes_left = questions.factor[place], questions.goes_left[place]
            is_left = goes_left[self.rows[members, factor]]
            if is_left.all() or not is_left.any():
                nodes.pop()
                return add(2 * place + (1 if is_left.all() else 2), members)
            left = add(2 * place + 1, members[is_left])
            right = add(2 * place + 2, members[~is_left])
            nodes[index][:4] = [factor, goes_left, left, right]
            return index

        add(0, np.arange(len(self.rows)))
        return Tree(*(np.array(column) for column in zip(*nodes, strict=True)))

    def _descend(self, questions, place, n_levels):
        for _ in range(n_levels):
            goes_left = questions.goes_left[place, self.rows[np.arange(len(place)), questions.factor[place]]]
            place = 2 * place + np.where(goes_left, 1, 2)
        return place

    def _tally(self, place, first, n_nodes, weights):
        """Sum `weights` by (node, factor, ID)."""
        offset = (place - first) * self.n_ids
        sums = [
            np.bincount(offset + self.rows[:, f], weights, n_nodes * self.n_ids)
            for f in range(self.n_factors)
        ]
        return np.stack([s.reshape(n_nodes, self.n_ids) for s in sums], axis=1)

    def _best_level(self, questions, level):
        first, n_nodes = 2**level - 1, 2**level
        place = self._descend(questions, np.zeros(len(self.rows), dtype=np.intp), level)
        sides = []
        for child in (1, 2):
            leaf = self._descend(questions, 2 * place + child, self.depth - level - 1)
            correct = self.counts[np.arange(len(place)), questions.leaf_class[leaf - self.n_inner]]
            sides.append(self._tally(place, first, n_nodes, correct))
        factor = np.maximum(*sides).sum(axis=2).argmax(axis=1)
        chosen = np.arange(n_nodes), factor
        questions.factor[first : first + n_nodes] = factor
        questions.goes_left[first : first + n_nodes] = sides[0][chosen] >= sides[1][chosen]

    def _best_bottom(self, questions):
        """Give every node of the deepest level its best question and pair of leaf labels."""
        first, n_nodes = 2 ** (self.depth - 1) - 1, 2 ** (self.depth - 1)
        place = self._descend(questions, np.zeros(len(self.rows), dtype=np.intp), self.depth - 1)
        counts = np.stack([self._tally(place, first, n_nodes, column) for column in self.counts.T], axis=3)
        a, b = np.triu_indices(self.counts.shape[1], k=1)
        score = np.maximum(counts[..., a], counts[..., b]).sum(axis=2).reshape(n_nodes, -1)
        best = score.argmax(axis=1)
        factor, pair = np.divmod(best, len(a))
        labels = np.stack([a[pair], b[pair]], axis=1)
        of_factor = counts[np.arange(n_nodes), factor]
        side = np.take_along_axis(of_factor, labels[:, None, :], axis=2)
        inner = slice(first, first + n_nodes)
        questions.factor[inner], questions.goes_left[inner] = factor, side[..., 0] >= side[..., 1]
        questions.leaf_class = labels.ravel()
        questions.n_correct = int(score[np.arange(n_nodes), best].sum())
