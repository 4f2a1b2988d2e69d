"""Maximally invariant perturbation: how far each pixel may move before the class can change."""

import keras
import numpy as np
from scipy.optimize import linprog

from ... import checks
from ...networks import targets as explained
from ..card import Card
from .jacobians import jacobians, whole_targets

__all__ = ["CARDS", "box", "invariant_perturbation"]


def invariant_perturbation(
    model: keras.Model, images: np.ndarray, targets: np.ndarray, *, largest: float = 0.1, **options
) -> np.ndarray:
    r"""Score each pixel by how much of its freedom is lost if the class is to stay.

    .. math:: a_i = 2 \delta - \frac{1}{C} \sum_c (u_{ic} + v_{ic})

    with the box :math:`-v \le r \le u` of :func:`box`: 0 where a pixel may do what it likes.

    Parameters
    ----------
    model, images, targets, largest, **options
        As for :func:`box`; `largest` is δ.

    Returns
    -------
    ndarray of shape (n, height, width, 1), float32 in [0, 2 δ]

    Raises
    ------
    ValueError
        As :func:`box`.

    References
    ----------
    Hara, Ikeno, Soma, Maehara 2018, "Maximally Invariant Data Perturbation as Explanation".
    """
    down, up = box(model, images, targets, largest=largest, **options)
    return (2 * largest - (up + down).mean(axis=-1, keepdims=True)).clip(min=0).astype(np.float32)


def box(
    model: keras.Model,
    images: np.ndarray,
    targets: np.ndarray,
    *,
    largest: float = 0.1,
    noise: float = 0.05,
    n_draws: int = 10,
    cells: int = 8,
    random_state: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    r"""Find the largest box of changes in which the class stays, where logits are taken for straight lines.

    .. math:: \max_{0 \le u, v \le \delta} \sum (u + v) \quad \text{with} \quad
              u \cdot h_{kj}^- + v \cdot h_{kj}^+ \le \max(0, \; z_{kj} - h_{kj} \cdot \varepsilon_k)

    for every other class j and every draw k of noise, where :math:`z_{kj} = f_t - f_j` at
    :math:`x + \varepsilon_k`, :math:`h_{kj}` is its gradient there, and :math:`h^+` and :math:`h^-` are the
    sizes of its positive and negative parts. The first draw is no noise. A linear program, by HiGHS.

    Parameters
    ----------
    model : keras.Model
        A softmax at its end is left out.
    images : float array of shape (n, height, width, channels), in [0, 1]
    targets : int array of shape (n,)
        The classes t that are to stay.
    largest : float
        δ, above 0.
    noise : float
        ε is uniform between plus and minus this.
    n_draws : int
        Of noise; 0 for the image alone.
    cells : int
        Along each side: the pixels of a cell share u and v, channel by channel.
    random_state : int

    Returns
    -------
    down, up : ndarrays of shape (n, height, width, channels), float32 in [0, δ]
        v and u. The box may leave [0, 1].

    Raises
    ------
    ValueError
        If the images do not fit, the targets are no classes, or an option is out of range.
    """
    checks.require(0 < largest < np.inf, "largest", largest, "a number above 0")
    checks.not_negative(noise=noise)
    checks.at_least(0, n_draws=n_draws)
    checks.at_least(1, cells=cells)
    whole_targets(targets, "keep")
    logits, images, vectors = explained.prepared(model, images, targets)
    height, width, n_channels = images.shape[1:]
    rows, columns = (np.arange(side) * min(cells, side) // side for side in (height, width))
    cell = np.ravel(rows[:, None] * min(cells, width) + columns)
    rng = np.random.default_rng(random_state)
    draws = rng.uniform(-noise, noise, (n_draws, height, width, n_channels)).astype(np.float32)
    draws = np.concatenate([np.zeros_like(draws[:1], shape=(1, *images.shape[1:])), draws])
    found = np.empty((2, *images.shape), np.float32)
    for i, (image, vector) in enumerate(zip(images, vectors, strict=True)):
        slopes, gaps = _constraints(logits, image + draws, draws, int(vector.argmax()))
        sizes = _solved(slopes, gaps, cell, largest)
        found[:, i] = sizes[:, cell].reshape(2, height, width, n_channels)
    return found[0], found[1]


def _constraints(logits, around: np.ndarray, draws: np.ndarray, own: int) -> tuple[np.ndarray, np.ndarray]:
    """Return h (constraints, pixels, channels), and what may be spent in each."""
    values, gradients = jacobians(logits, around)
    others = np.arange(values.shape[1]) != own
    slopes = (gradients[:, own, None] - gradients[:, others]).astype(float)
    moved = (slopes * draws[:, None]).sum(axis=(2, 3, 4))
    gaps = (values[:, own, None] - values[:, others]) - moved
    return slopes.reshape(-1, draws[0, ..., 0].size, draws.shape[-1]), np.maximum(0, gaps.ravel())


def _solved(slopes: np.ndarray, gaps: np.ndarray, cell: np.ndarray, largest: float) -> np.ndarray:
    """Return v and u of each cell and channel: (2, cells, channels)."""
    n_cells, n_channels = cell.max() + 1, slopes.shape[-1]
    member = (cell[:, None] == np.arange(n_cells)).astype(float)
    spent = [
        np.einsum("kpc,pm->kmc", np.maximum(0, part), member).reshape(len(gaps), -1)
        for part in (slopes, -slopes)
    ]
    worth = np.tile(np.repeat(member.sum(axis=0), n_channels), 2)
    answer = linprog(-worth, np.hstack(spent), gaps, bounds=(0, largest), method="highs")
    if answer.x is None:
        raise RuntimeError(f"the linear program has no solution: {answer.message}")
    return answer.x.clip(0, largest).reshape(2, n_cells, n_channels)


CARDS = (
    Card(
        name="Maximally invariant perturbation", function="perturbation.invariant_perturbation",
        question="Which pixels may not move, if the class is to stay?",
        access="gradient", output="from 0 to 2 δ, one channel, in cells", passes="11 (F + B) a class",
        is_signed=False,
        fails="Holds where the network is nearly a straight line; nearly all or nothing for each cell.",
        source="Hara, Ikeno, Soma, Maehara 2018",
    ),
)  # fmt: skip
