"""The way out of a class, and how short it is: DeepFool, and the minimum that L-BFGS finds."""

import keras
import numpy as np
from keras import ops
from scipy.optimize import minimize

from ... import checks
from ...networks import targets as explained
from ...networks.activations import predict
from ...networks.gradients import compiled, pull_back
from ..card import Card
from .jacobians import jacobians, whole_targets

__all__ = ["CARDS", "deepfool", "minimal_perturbation"]


def deepfool(
    model: keras.Model,
    images: np.ndarray,
    targets: np.ndarray,
    *,
    steps: int = 50,
    overshoot: float = 0.02,
) -> np.ndarray:
    r"""Find a small change that takes each image out of its class.

    Where the logits are taken for straight lines, the nearest boundary, with a class k, is

    .. math:: r = \frac{|f_k - f_t|}{\lVert w_k \rVert^2} \, w_k, \quad w_k = \nabla f_k - \nabla f_t, \quad
              k = \arg\min_j \frac{|f_j - f_t|}{\lVert w_j \rVert}

    away; steps there are added up until another class is the largest.

    Parameters
    ----------
    model : keras.Model
        A softmax at its end is left out.
    images : float array of shape (n, height, width, channels), in [0, 1]
    targets : int array of shape (n,)
        The classes to leave; an image that is in another one gets no change.
    steps : int
        At most.
    overshoot : float
        By which share of the way the boundary is crossed.

    Returns
    -------
    ndarray of shape (n, height, width, channels), float32, signed
        What to add; the sum may leave [0, 1].

    Raises
    ------
    ValueError
        If the images do not fit, or the targets are no classes.

    References
    ----------
    Moosavi-Dezfooli, Fawzi, Frossard 2016, "DeepFool: a simple and accurate method to fool deep neural
    networks", Section 3. Of the question: Szegedy et al. 2014, "Intriguing properties of neural networks".
    """
    checks.at_least(1, steps=steps)
    checks.not_negative(overshoot=overshoot)
    whole_targets(targets, "leave")
    logits, images, vectors = explained.prepared(model, images, targets)
    own = vectors.argmax(axis=1)
    change, left = np.zeros_like(images), np.arange(len(images))
    for _ in range(steps):
        values, gradients = jacobians(logits, images[left] + (1 + overshoot) * change[left])
        is_in = values.argmax(axis=1) == own[left]
        left, values, gradients = left[is_in], values[is_in], gradients[is_in]
        if not len(left):
            break
        change[left] += _to_nearest_boundary(values, gradients, own[left])
    return (1 + overshoot) * change


def _to_nearest_boundary(values: np.ndarray, gradients: np.ndarray, own: np.ndarray) -> np.ndarray:
    rows = np.arange(len(own))
    gaps = np.abs(values - values[rows, own][:, None])
    ways = gradients - gradients[rows, own][:, None]
    squares = (ways.astype(float) ** 2).sum(axis=(2, 3, 4))
    distances = np.divide(gaps, np.sqrt(squares), out=np.full(gaps.shape, np.inf), where=squares > 0)
    distances[rows, own] = np.inf
    nearest = distances.argmin(axis=1)
    lengths = np.divide(gaps, squares, out=np.zeros(gaps.shape), where=squares > 0)[rows, nearest]
    # the boundary itself belongs to either class: a hair beyond it
    return ((1 + 1e-4) * lengths[:, None, None, None] * ways[rows, nearest]).astype(np.float32)


def minimal_perturbation(
    model: keras.Model,
    images: np.ndarray,
    targets: np.ndarray,
    *,
    toward: np.ndarray | None = None,
    searches: int = 12,
    iterations: int = 30,
) -> np.ndarray:
    r"""Find the smallest change that takes each image into another class and leaves it an image.

    .. math:: \min_r \; c \, \lVert r \rVert^2 - \log p_l(x + r), \qquad x + r \in [0, 1]

    by L-BFGS-B, with the largest c at which x + r is in class l: it is sought by halving an interval of
    :math:`\log c`.

    Parameters
    ----------
    model : keras.Model
        It is asked for probabilities: of outputs without a softmax, their softmax.
    images : float array of shape (n, height, width, channels), in [0, 1]
    targets : int array of shape (n,)
        The classes to leave; an image that is in another one gets no change.
    toward : int array of shape (n,), optional
        l; by default the class with the second largest logit.
    searches : int
        Values of c that are tried.
    iterations : int
        Of L-BFGS-B, at most, for each.

    Returns
    -------
    ndarray of shape (n, height, width, channels), float32, signed
        What to add; zero where none was found.

    Raises
    ------
    ValueError
        If the images do not fit, or the targets are no classes.

    References
    ----------
    Szegedy et al. 2014, "Intriguing properties of neural networks", Section 4.1. (They weigh the length, not
    its square.)
    """
    checks.at_least(1, searches=searches, iterations=iterations)
    whole_targets(targets, "leave")
    logits, images, vectors = explained.prepared(model, images, targets)
    own, values = vectors.argmax(axis=1), predict(logits, images)
    toward = np.where(vectors > 0, -np.inf, values).argmax(axis=1) if toward is None else toward
    whole_targets(toward, "reach")
    aims = explained.cotangents(toward, *values.shape)

    def loss_and_slope(x, aim):
        def loss(x):
            return -ops.sum(aim * ops.log_softmax(logits(x, training=False)), axis=1)

        found, pull = pull_back(loss, x)
        return ops.concatenate([found, ops.reshape(pull(ops.ones_like(found)), (-1,))])

    ask, change = compiled(loss_and_slope), np.zeros_like(images)
    for i in np.flatnonzero(values.argmax(axis=1) == own):
        change[i] = _shortest(ask, logits, images[i], aims[i], searches, iterations)
    return change


def _shortest(ask, logits, image: np.ndarray, aim: np.ndarray, searches: int, iterations: int) -> np.ndarray:
    bounds = list(zip(-image.ravel().astype(float), 1 - image.ravel().astype(float), strict=True))

    def shifted(r):
        return np.clip(image + r.reshape(image.shape), 0, 1).astype(np.float32)[None]

    def objective(r, c):
        found = ask(shifted(r), aim[None]).astype(float)
        return c * (r @ r) + found[0], 2 * c * r + found[1:]

    low, high, best = -5.0, 5.0, np.zeros(image.size)  # of the logarithm of c
    for log_c in (low, *[None] * (searches - 1)):
        log_c = (low + high) / 2 if log_c is None else log_c
        r = minimize(
            objective, np.zeros(image.size), (np.exp(log_c),), method="L-BFGS-B", jac=True, bounds=bounds,
            options={"maxiter": iterations},
        ).x  # fmt: skip
        is_there = predict(logits, shifted(r))[0].argmax() == aim.argmax()
        if is_there and (not best.any() or r @ r < best @ best):
            best = r
        low, high = (log_c, high) if is_there else (low, log_c)
    return best.reshape(image.shape).astype(np.float32)


CARDS = (
    Card(
        name="DeepFool", function="perturbation.deepfool",
        question="What is the smallest change that takes the image out of its class?",
        access="gradient", output="signed, per channel: what to add", passes="about 5 (F + B) a class",
        reduction="absolute",
        fails="Says how near the boundary is, not where the object is.",
        source="Moosavi-Dezfooli, Fawzi, Frossard 2016",
    ),
    Card(
        name="Minimal perturbation", function="perturbation.minimal_perturbation",
        question="What is the smallest change that takes the image into another class?",
        access="gradient", output="signed, per channel: what to add", passes="about 200 (F + B)",
        reduction="absolute",
        fails="Says how near the boundary is, not where the object is.",
        source="Szegedy et al. 2014",
    ),
)  # fmt: skip
