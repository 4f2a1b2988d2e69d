"""What a path of conditions rules out: for one instance, or for all of a test set at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import pandas as pd

from ...measures import cloud_overlap
from .meta_learners import Condition

__all__ = [
    "Explanation",
    "Explanations",
    "overlap_depths",
    "path_overlaps",
    "remaining_counts",
    "separation_depths",
]


@dataclass(frozen=True)
class Explanation:
    """Why one instance got its prediction: the conditions on its path and what each leaves over.

    Parameters
    ----------
    ids : tuple of int
        The instance's ID for each factor.
    label, prediction
        Its true class (or the class to be explained) and the predicted one.
    classes : tuple
        All classes.
    conditions : tuple of Condition
        One for each depth.
    remaining : int array of shape (depths + 1, classes)
        Training instances of each class that satisfy the first d conditions; row 0 is all of them.
    separation : dict
        Hypothesis (every class but `label`) → depth at which it is separated, or None.
    """

    ids: tuple[int, ...]
    label: object
    prediction: object
    classes: tuple
    conditions: tuple[Condition, ...]
    remaining: np.ndarray = field(repr=False)
    separation: dict

    @property
    def is_correct(self) -> bool:
        """Whether the prediction is the label."""
        return self.prediction == self.label

    def left(self, depth: int, label) -> int:
        """Return how many training instances of class `label` satisfy the first `depth` conditions."""
        return int(self.remaining[depth, self.classes.index(label)])

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each depth and hypothesis.

        Columns: depth, factor, condition, hypothesis, label_left, hypothesis_left, is_separated.
        """
        rows = [
            {
                "depth": depth,
                "factor": condition.factor,
                "condition": str(condition),
                "hypothesis": hypothesis,
                "label_left": self.left(depth, self.label),
                "hypothesis_left": self.left(depth, hypothesis),
                "is_separated": at is not None and at <= depth,
            }
            for depth, condition in enumerate(self.conditions, start=1)
            for hypothesis, at in self.separation.items()
        ]
        return pd.DataFrame(rows)

    def to_text(self) -> str:
        """Return the explanation as one English paragraph."""
        how = "correctly" if self.is_correct else "wrongly"
        opening = f"The instance, of class {self.label}, is {how} classified as {self.prediction}. "
        if not self.conditions:
            return opening + "No rule applies to it, so it gets the default class, and nothing is ruled out."
        n_start, n_end = self.left(0, self.label), self.left(len(self.conditions), self.label)
        path = ", then ".join(
            f"its ID of factor {c.factor} ({self.ids[c.factor]}) is in {c.set_text}" for c in self.conditions
        )
        opening += (
            f"On its path {path}. Of {n_start:,} training instances of class {self.label}, {n_end:,} "
            "satisfy all of these conditions. "
        )
        return opening + " ".join(filter(None, [self._separated_text(), self._open_text()]))

    def _separated_text(self) -> str:
        by_depth: dict[int, list[str]] = {}
        for hypothesis, depth in self.separation.items():
            if depth is not None:
                by_depth.setdefault(depth, []).append(str(hypothesis))
        if not by_depth:
            return "No other class is ruled out."
        parts = (f"{_join(names)} at depth {depth}" for depth, names in sorted(by_depth.items()))
        return f"Ruled out: {'; '.join(parts)}."

    def _open_text(self) -> str:
        end = len(self.conditions)
        still = [f"{h} ({self.left(end, h):,} left)" for h, depth in self.separation.items() if depth is None]
        return f"Never ruled out: {_join(still)}." if still else ""

    def __str__(self) -> str:
        header = f"label {self.label}, predicted {self.prediction}; IDs {list(self.ids)}"
        columns = {c: [f"{n:,}" for n in self.remaining[:, i]] for i, c in enumerate(self.classes)}
        table = pd.DataFrame(columns, index=["all training instances", *map(str, self.conditions)])
        marks = ["label" if c == self.label else _depth_text(self.separation[c]) for c in self.classes]
        table.loc["separated"] = marks
        return f"{header}\n{table.to_string()}"


@dataclass(frozen=True)
class Explanations:
    """Explanations of many instances, as arrays; ``explanations[i]`` is the one of instance i.

    Parameters
    ----------
    ids : int array of shape (n, factors)
    labels, predictions : arrays of shape (n,)
    leaf : int array of shape (n,)
        Which path each instance takes.
    separation_depth : int array of shape (n, classes)
        Depth at which each class is separated from the instance's label; 0 never, -1 the label itself.
    classes : ndarray of shape (classes,)
    paths : list of tuple of Condition
        The conditions of every leaf.
    remaining : int array of shape (leaves, depths + 1, classes)
        See :func:`remaining_counts`.
    """

    ids: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    predictions: np.ndarray = field(repr=False)
    leaf: np.ndarray = field(repr=False)
    separation_depth: np.ndarray = field(repr=False)
    classes: np.ndarray
    paths: list[tuple[Condition, ...]] = field(repr=False)
    remaining: np.ndarray = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[Explanation]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, i: int) -> Explanation:
        classes, depths = tuple(self.classes.tolist()), self.separation_depth[i].tolist()
        conditions = self.paths[self.leaf[i]]
        return Explanation(
            ids=tuple(self.ids[i].tolist()),
            label=self.labels[i].item(),
            prediction=self.predictions[i].item(),
            classes=classes,
            conditions=conditions,
            remaining=self.remaining[self.leaf[i], : len(conditions) + 1],
            separation={c: d or None for c, d in zip(classes, depths, strict=True) if d >= 0},
        )

    @property
    def is_correct(self) -> np.ndarray:
        """Whether each prediction is the label."""
        return self.predictions == self.labels


def remaining_counts(
    paths: list[tuple[Condition, ...]], ids: np.ndarray, codes: np.ndarray, n_classes: int
) -> np.ndarray:
    """Count the training instances left after each condition of each path.

    Parameters
    ----------
    paths : list of tuple of Condition
        One for each leaf.
    ids : int array of shape (n, factors)
        Of the training instances.
    codes : int array of shape (n,)
        Their class, as an index below `n_classes`.

    Returns
    -------
    int array of shape (leaves, longest path + 1, classes)
        ``[l, d, c]``: instances of class c that satisfy the first d conditions of path l; after the end
        of a shorter path its last row is repeated.
    """
    rows_after: dict[tuple[Condition, ...], np.ndarray] = {(): np.arange(len(ids))}
    longest = max(map(len, paths))
    remaining = np.empty((len(paths), longest + 1, n_classes), dtype=np.int64)
    for leaf, path in enumerate(paths):
        for depth in range(longest + 1):
            prefix = path[:depth]
            if prefix not in rows_after:
                rows = rows_after[prefix[:-1]]
                rows_after[prefix] = rows[prefix[-1].holds(ids[rows])]
            remaining[leaf, depth] = np.bincount(codes[rows_after[prefix]], minlength=n_classes)
    return remaining


def separation_depths(
    remaining: np.ndarray, leaf: np.ndarray, label_codes: np.ndarray, *, tolerance: float = 0.0
) -> np.ndarray:
    """Find the depth at which every class is separated from each instance's label.

    A hypothesis is separated at the first depth where none of its training instances is left (or at most
    the share `tolerance` of them) while some of the label's are: the paper's green frame.

    Parameters
    ----------
    remaining : int array of shape (leaves, depths + 1, classes)
        See :func:`remaining_counts`.
    leaf, label_codes : int arrays of shape (n,)
    tolerance : float in [0, 1)

    Returns
    -------
    int array of shape (n, classes)
        The depth, from 1; 0 for never; -1 for the label itself.

    References
    ----------
    Liu, Wang, Matwin 2018, Section IV, Figs 7-9.
    """
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance must be from 0 to below 1, got {tolerance}")
    is_gone = remaining[:, 1:] <= tolerance * remaining[:, :1]
    depths = np.zeros((remaining.shape[0], remaining.shape[2], remaining.shape[2]), dtype=np.int16)
    for depth in range(is_gone.shape[1], 0, -1):
        label_is_left = remaining[:, depth] > 0
        depths[label_is_left[:, :, None] & is_gone[:, depth - 1][:, None, :]] = depth
    own = np.arange(remaining.shape[2])
    depths[:, own, own] = -1
    return depths[leaf, label_codes]


def path_overlaps(
    paths: list[tuple[Condition, ...]],
    ids: np.ndarray,
    codes: np.ndarray,
    points: Sequence[np.ndarray],
    n_classes: int,
) -> np.ndarray:
    """Measure, after each condition of each path, how far the clouds of every two classes overlap.

    The clouds are those of the paper's panels: the training instances that satisfy the conditions so far, in
    the space of the factor that the last of them asks about.

    Parameters
    ----------
    paths, ids, codes, n_classes
        As for :func:`remaining_counts`.
    points : sequence of float arrays of shape (n, dimensions)
        For each factor the training instances in its space: the plane that is drawn, or all its neurons.

    Returns
    -------
    float array of shape (leaves, longest path, classes, classes)
        :func:`~cnninte_utils.measures.cloud_overlap`, 0 to 1; after the end of a shorter path its last values
        are repeated.
    """
    known: dict[tuple[Condition, ...], np.ndarray] = {(): np.full((n_classes, n_classes), 0.5)}
    longest = max(map(len, paths))
    overlaps = np.empty((len(paths), longest, n_classes, n_classes))
    for leaf, path in enumerate(paths):
        for depth in range(1, longest + 1):
            prefix = path[:depth]
            if prefix not in known:
                holds = np.logical_and.reduce([condition.holds(ids) for condition in prefix])
                known[prefix] = _class_overlaps(points[prefix[-1].factor][holds], codes[holds], n_classes)
            overlaps[leaf, depth - 1] = known[prefix]
    return overlaps


def _class_overlaps(points: np.ndarray, codes: np.ndarray, n_classes: int) -> np.ndarray:
    clouds = [points[codes == code] for code in range(n_classes)]
    overlaps = np.zeros((n_classes, n_classes))
    for a, b in combinations(range(n_classes), 2):
        overlaps[a, b] = overlaps[b, a] = cloud_overlap(clouds[a], clouds[b])
    return overlaps


def overlap_depths(
    overlaps: np.ndarray, leaf: np.ndarray, label_codes: np.ndarray, *, largest: float = 0.05
) -> np.ndarray:
    """Find the depth at which the clouds of each class and of each instance's label lie apart.

    Parameters
    ----------
    overlaps : float array of shape (leaves, depths, classes, classes)
        See :func:`path_overlaps`.
    leaf, label_codes : int arrays of shape (n,)
    largest : float
        Overlap up to which clouds count as apart.

    Returns
    -------
    int array of shape (n, classes)
        The first such depth, from 1; 0 for never; -1 for the label itself.

    References
    ----------
    Liu, Wang, Matwin 2018, Section IV-B and the conclusion: a hypothesis is open while it overlaps.
    """
    is_apart = (overlaps <= largest).transpose(0, 2, 3, 1)
    depths = np.where(is_apart.any(axis=-1), is_apart.argmax(axis=-1) + 1, 0)
    own = np.arange(overlaps.shape[-1])
    depths[:, own, own] = -1
    return depths[leaf, label_codes]


def _join(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _depth_text(depth: int | None) -> str:
    return "never" if depth is None else f"depth {depth}"
