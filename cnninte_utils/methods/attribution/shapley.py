"""Shapley values of patches: exact, by KernelSHAP and by Partition, for anything that can predict."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import keras
import numpy as np
from scipy.special import comb

from ... import checks
from ...networks import targets as explained
from ..card import Card

__all__ = ["CARDS", "exact_shapley", "kernel_shap", "partition_shap", "patch_numbers"]

Model = keras.Model | Callable[[np.ndarray], np.ndarray]
_MOST_PATCHES = 16
_ROWS_AT_ONCE = 4096


def patch_numbers(height: int, width: int, patches: int | tuple[int, int]) -> np.ndarray:
    """Return the number of the patch that each pixel lies in, row by row.

    Parameters
    ----------
    height, width : int
    patches : int, or (int, int)
        Along each side, or down and across; where they do not divide the image, some are a pixel larger.

    Returns
    -------
    ndarray of shape (height, width), int64

    Raises
    ------
    ValueError
        If there are more patches than pixels along a side, or less than one.

    Examples
    --------
    >>> patch_numbers(2, 4, 2).tolist()
    [[0, 0, 1, 1], [2, 2, 3, 3]]
    """
    down, across = (patches, patches) if np.ndim(patches) == 0 else patches
    checks.at_least(1, patches=down)
    checks.at_least(1, patches=across)
    allowed = f"at most as many as pixels, {height} down and {width} across"
    checks.require(down <= height and across <= width, "patches", patches, allowed)
    rows, columns = np.arange(height) * down // height, np.arange(width) * across // width
    return rows[:, None] * across + columns


def exact_shapley(
    model: Model,
    images: np.ndarray,
    targets: np.ndarray,
    *,
    patches: int | tuple[int, int] = 3,
    baseline: float | np.ndarray | None = None,
    output: str = "logit",
) -> np.ndarray:
    r"""Give each patch its Shapley value, from every set of patches there is.

    .. math:: \phi_i = \sum_{S \not\ni i} \frac{|S|! \, (M - |S| - 1)!}{M!}
              \big( f_t(x_{S \cup i}) - f_t(x_S) \big)

    where :math:`x_S` shows the patches in S and the baseline elsewhere. The network is asked :math:`2^M`
    times for each image: the reference for what only samples.

    Parameters
    ----------
    model : keras.Model, or callable
        A callable (n, height, width, channels) → (n, classes) may be any classifier.
    images : float array of shape (n, height, width, channels), in [0, 1]
    targets : int array of shape (n,), or float array of shape (n, classes)
        The class t of each image; or v, where :math:`v \cdot f` is explained.
    patches : int, or (int, int)
        As for :func:`patch_numbers`; at most 16 in all.
    baseline : float, or array of shape (channels,), (height, width, channels) or that of the images, optional
        What a hidden patch shows; by default the network's mean colour if its first layer subtracts one, else
        black.
    output : {"logit", "probability"}
        Of a network.

    Returns
    -------
    ndarray of shape (n, height, width, 1), float32, signed
        The value of a patch in equal shares for its pixels, so that all add up to
        :math:`f_t(x) - f_t(x')`.

    Raises
    ------
    ValueError
        If the images, targets or baseline do not fit, or there are too many patches.

    References
    ----------
    Shapley 1953, "A Value for n-Person Games". Lundberg, Lee 2017, "A Unified Approach to Interpreting Model
    Predictions", eq. 4.
    """
    images = checks.images(images)
    numbers = patch_numbers(*images.shape[1:3], patches)
    m = int(numbers.max()) + 1
    checks.require(m <= _MOST_PATCHES, "patches", patches, f"at most {_MOST_PATCHES} in all, for 2^M sets")
    sets = (np.arange(2**m)[:, None] >> np.arange(m)) & 1
    size = sets.sum(axis=1)
    # a set with i counts for it, one without against it, each by how many orders lead there
    weights = np.where(sets, _orders(m, size - 1)[:, None], -_orders(m, size)[:, None])
    found = [score(sets) @ weights for score in _of_sets(model, images, targets, numbers, baseline, output)]
    return _spread(np.array(found), numbers)


def _orders(m: int, n_before: np.ndarray) -> np.ndarray:
    """Return the share of orders in which one is preceded by these very n: n! (m − n − 1)! / m!."""
    n = np.clip(n_before, 0, m - 1)
    return 1 / (m * comb(m - 1, n))


def kernel_shap(
    model: Model,
    images: np.ndarray,
    targets: np.ndarray,
    *,
    patches: int | tuple[int, int] = 7,
    n_samples: int = 500,
    baseline: float | np.ndarray | None = None,
    output: str = "logit",
    random_state: int = 0,
) -> np.ndarray:
    r"""Estimate Shapley values of patches by a weighted linear fit to sampled sets of them.

    .. math:: \min_\phi \sum_S \pi(S) \Big( f_t(x_S) - f_t(x') - \sum_{i \in S} \phi_i \Big)^2, \quad
              \pi(S) = \frac{M - 1}{\binom{M}{|S|} \, |S| \, (M - |S|)}

    under the condition that all :math:`\phi_i` add up to :math:`f_t(x) - f_t(x')`. By the library shap,
    without its selection of features; NumPy's global random state, which it draws from, is put back.

    Parameters
    ----------
    n_samples : int
        Sets of patches for each image; from :math:`2^M - 2` on the result is exact.
    random_state : int

    Others, the result and the errors as for :func:`exact_shapley`; patches may be many.

    References
    ----------
    Lundberg, Lee 2017, "A Unified Approach to Interpreting Model Predictions", Theorem 2.
    """
    import shap

    images = checks.images(images)
    checks.at_least(2, n_samples=n_samples)
    numbers = patch_numbers(*images.shape[1:3], patches)
    m = int(numbers.max()) + 1
    checks.require(m >= 2, "patches", patches, "at least two in all")
    found = []
    for score in _of_sets(model, images, targets, numbers, baseline, output):
        with _seeded(random_state):
            explainer = shap.KernelExplainer(score, np.zeros((1, m)))
            found.append(explainer.shap_values(np.ones((1, m)), nsamples=n_samples, l1_reg=0, silent=True)[0])
    return _spread(np.array(found), numbers)


def partition_shap(
    model: Model,
    images: np.ndarray,
    targets: np.ndarray,
    *,
    n_samples: int = 500,
    baseline: float | np.ndarray | None = None,
    output: str = "logit",
) -> np.ndarray:
    r"""Share the score among halves of the image, then among halves of the halves, and so on (Owen values).

    Parts are hidden with their whole half or alone, never in any mixture: fewer sets, and no chance. What is
    not split any more shares equally. By the library shap.

    Parameters
    ----------
    n_samples : int
        Times that the network is asked about each image, about; the largest parts are split first.

    Others and the errors as for :func:`exact_shapley`.

    Returns
    -------
    ndarray of shape (n, height, width, channels), float32, signed
        All add up to :math:`f_t(x) - f_t(x')`.

    References
    ----------
    Owen 1977, "Values of Games with a Priori Unions". Lundberg, Lee 2017, of whom is the library.
    """
    import shap

    images = checks.images(images)
    checks.at_least(8, n_samples=n_samples)
    outputs, vectors, fill = _asked(model, images, targets, baseline, output)
    found = []
    for image, v, hidden in zip(images, vectors, fill, strict=True):

        def score(pictures, v=v):
            pictures = np.asarray(pictures, np.float32).reshape(-1, *images.shape[1:])
            return outputs(pictures) @ v

        masker = shap.maskers.Image(np.ascontiguousarray(hidden), image.shape)
        explainer = shap.PartitionExplainer(score, masker)
        explanation = explainer(image[None], max_evals=n_samples, batch_size=500, silent=True)
        found.append(np.reshape(explanation.values, image.shape))
    return np.array(found, np.float32)


def _asked(model: Model, images: np.ndarray, targets, baseline, output: str) -> tuple:
    outputs = explained.predictor(model, output)
    n_classes = outputs(images[:1]).shape[1]
    vectors = explained.cotangents(targets, len(images), n_classes)
    return outputs, vectors, explained.baselines(model, images, baseline)


def _of_sets(model: Model, images, targets, numbers, baseline, output) -> Iterator[Callable]:
    """Yield, for each image, the function of sets (s, patches) of what is shown to scores (s,)."""
    outputs, vectors, fill = _asked(model, images, targets, baseline, output)
    for image, v, hidden in zip(images, vectors, fill, strict=True):

        def score(sets, image=image, v=v, hidden=hidden):
            parts = []
            for start in range(0, len(sets), _ROWS_AT_ONCE):
                shown = np.asarray(sets[start : start + _ROWS_AT_ONCE])[:, numbers, None] > 0.5
                parts.append(outputs(np.where(shown, image, hidden)) @ v)
            return np.concatenate(parts).astype(float)

        yield score


def _spread(values: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Share the values (n, patches) equally among the pixels of each patch."""
    return (values / np.bincount(numbers.ravel()))[:, numbers, None].astype(np.float32)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed NumPy's global random state, and put it back afterwards."""
    before = np.random.get_state()  # noqa: NPY002 (what shap draws from)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


CARDS = (
    Card(
        name="Shapley values", function="attribution.shapley.exact_shapley",
        question="What does each patch add, on average over all orders of showing them?",
        access="predict", output="signed, one channel, a value a patch", passes="2^M F",
        sums_to="f(x) - f(baseline)",
        fails="Only for a handful of patches; half-hidden images are like none in training.",
        source="Shapley 1953; Lundberg, Lee 2017",
    ),
    Card(
        name="KernelSHAP", function="attribution.shapley.kernel_shap",
        question="What does each patch add, on average over orders, estimated from a sample?",
        access="predict", output="signed, one channel, a value a patch", passes="samples F",
        sums_to="f(x) - f(baseline)",
        fails="Few samples, much noise; half-hidden images are like none in training.",
        source="Lundberg, Lee 2017",
    ),
    Card(
        name="Partition SHAP", function="attribution.shapley.partition_shap",
        question="What does each part add, halved again and again?",
        access="predict", output="signed, per channel", passes="samples F",
        sums_to="f(x) - f(baseline)",
        fails="Objects that straddle a cut are shared by where the cuts are.",
        source="Owen 1977; Lundberg, Lee 2017",
    ),
)  # fmt: skip
