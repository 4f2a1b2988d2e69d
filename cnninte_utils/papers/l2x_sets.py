"""The four made-up classifiers on which L2X was shown, whose reasons are known."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy.special import expit

from .. import checks
from ..methods.attribution import selectors

__all__ = ["N_NUMBERS", "SETS", "MadeUp", "Trial", "median_ranks", "rows", "try_out"]

N_NUMBERS = 10
_SCALE = 8


@dataclass(frozen=True)
class MadeUp:
    r"""A classifier of ten numbers that says yes with probability :math:`\sigma(g(x))`.

    Parameters
    ----------
    name : str
    formula : str
        g, in LaTeX.
    score : callable
        Numbers (n, 10) → g (n,).
    reasons : callable
        Numbers (n, 10) → bool (n, 10): which of them g heeds, for each row.
    n_reasons : int
        How many.
    """

    name: str
    formula: str
    score: Callable[[np.ndarray], np.ndarray] = field(repr=False)
    reasons: Callable[[np.ndarray], np.ndarray] = field(repr=False)
    n_reasons: int

    def answers(self, images: np.ndarray) -> np.ndarray:
        """Return the probabilities (n, 2) of no and yes for :func:`rows`."""
        yes = expit(self.score(_numbers(images)))
        return np.stack([1 - yes, yes], axis=1)

    def is_reason(self, images: np.ndarray) -> np.ndarray:
        """Return which numbers are heeded, bool (n, 10), for :func:`rows`."""
        return self.reasons(_numbers(images))

    @property
    def best_rank(self) -> float:
        """The median rank of the reasons if they come first: half of how many there are, and a half."""
        return (self.n_reasons + 1) / 2


def rows(n: int, seed: int) -> np.ndarray:
    """Draw ten numbers n times, as images of one line, for methods that take pixels from 0 to 1.

    A number x is the pixel x / 8 + ½, cut at 0 and 1; the mean, 0, is ½. The first nine are normal, the last
    lies about 3 or -3 with equal chances, for the classifier that switches on it.

    Returns
    -------
    ndarray of shape (n, 1, 10, 1), float32
    """
    checks.at_least(1, n=n)
    rng = np.random.default_rng(seed)
    numbers = rng.standard_normal((n, N_NUMBERS))
    numbers[:, 9] += rng.choice([-3, 3], n)
    return np.clip(numbers / _SCALE + 0.5, 0, 1).astype(np.float32).reshape(n, 1, N_NUMBERS, 1)


def median_ranks(scores: np.ndarray, is_reason: np.ndarray) -> np.ndarray:
    """Return the median rank of the true reasons among all numbers, for each row.

    Parameters
    ----------
    scores : float array of shape (n, numbers)
    is_reason : bool array of shape (n, numbers)

    Returns
    -------
    ndarray of shape (n,)
        1 is first.

    Examples
    --------
    >>> median_ranks(np.array([[0.3, 0.9, 0.1]]), np.array([[True, True, False]])).tolist()
    [1.5]
    """
    ranks = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1) + 1
    return np.array([np.median(own[true]) for own, true in zip(ranks, is_reason, strict=True)])


@dataclass(frozen=True, eq=False)
class Trial:
    """What L2X found of a made-up classifier's reasons, on fresh rows.

    Parameters
    ----------
    rank : float
        Mean over rows of the median rank of the true reasons.
    selected, reasons : ndarrays of shape (10,)
        The share of rows in which a number is selected, and in which it is a reason.
    found : float
        The share of the reasons that are selected.
    """

    rank: float
    selected: np.ndarray
    reasons: np.ndarray
    found: float


def try_out(made_up: MadeUp, n: int, seed: int = 0, *, epochs: int = 10, n_fresh: int = 2000) -> Trial:
    """Fit L2X to a made-up classifier on `n` rows, and look at what it selects on others.

    Dense networks at the authors' temperature of 0.1; as many numbers are selected as there are reasons.
    """
    fitted = selectors.fit(
        made_up.answers, rows(n, seed), n_selected=made_up.n_reasons, patches=(1, N_NUMBERS), baseline=0.5,
        network="dense", temperature=0.1, epochs=epochs, batch_size=500, random_state=seed,
    )  # fmt: skip
    fresh = rows(n_fresh, seed + 1)
    selected, reasons = fitted.selected(fresh), made_up.is_reason(fresh)
    rank = median_ranks(fitted.scores(fresh), reasons).mean()
    found = (selected & reasons).sum() / reasons.sum()
    return Trial(float(rank), selected.mean(axis=0), reasons.mean(axis=0), float(found))


def _numbers(images: np.ndarray) -> np.ndarray:
    return _SCALE * (np.asarray(images, float).reshape(len(images), N_NUMBERS) - 0.5)


def _always(first: int, last: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that names the numbers from the first to before the last, whatever the row."""
    return lambda x: np.tile((np.arange(N_NUMBERS) >= first) & (np.arange(N_NUMBERS) < last), (len(x), 1))


def _orange(x: np.ndarray) -> np.ndarray:
    return (x[:, :4] ** 2).sum(axis=1) - 4


def _additive(x: np.ndarray) -> np.ndarray:
    return -100 * np.sin(0.2 * x[:, 0]) + np.abs(x[:, 1]) + x[:, 2] + np.exp(-x[:, 3]) - 2.4


def _switch(x: np.ndarray) -> np.ndarray:
    return np.where(x[:, 9] > 0, _orange(x), _additive(x[:, 4:]))


def _switched(x: np.ndarray) -> np.ndarray:
    found = np.where(x[:, 9:] > 0, _always(0, 4)(x), _always(4, 8)(x))
    found[:, 9] = True
    return found


SETS = {
    "xor": MadeUp("XOR", "x_1 x_2", lambda x: x[:, 0] * x[:, 1], _always(0, 2), 2),
    "orange_skin": MadeUp("orange skin", r"\sum_{i=1}^4 x_i^2 - 4", _orange, _always(0, 4), 4),
    "additive": MadeUp(
        "additive", r"-100 \sin(x_1 / 5) + |x_2| + x_3 + e^{-x_4} - 2.4", _additive, _always(0, 4), 4
    ),
    "switch": MadeUp(
        "switch", r"\text{orange skin of } x_1 \dots x_4 \text{ if } x_{10} > 0, "
        r"\text{ else additive of } x_5 \dots x_8", _switch, _switched, 5,
    ),
}  # fmt: skip
"""As in Chen, Song, Wainwright, Jordan 2018, "Learning to Explain", Section 4.1; the additive one as in the
authors' code, where the argument of the sine is smaller than in the text."""
