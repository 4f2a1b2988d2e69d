"""Numbers about results: NumPy in, number out. Nothing here sees a model."""

from collections.abc import Sequence

import numpy as np

__all__ = ["agreement", "mean_sd", "separability", "share_separated"]


def agreement(a: np.ndarray, b: np.ndarray) -> float:
    r"""Return the share of instances on which two arrays are equal.

    .. math:: \frac1n \sum_i [a_i = b_i]

    With true labels it is the accuracy; between an explainer's and a network's predictions, the fidelity.

    Parameters
    ----------
    a, b : arrays of shape (n,)

    Returns
    -------
    float in [0, 1]

    Raises
    ------
    ValueError
        If the shapes differ or there are no instances.

    Examples
    --------
    >>> agreement(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 5]))
    0.75
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"expected two equally long, non-empty vectors, got shapes {a.shape} and {b.shape}")
    return float((a == b).mean())


def share_separated(separation_depth: np.ndarray) -> np.ndarray:
    """Return, for each instance, the share of its hypotheses that are separated at some depth.

    Parameters
    ----------
    separation_depth : int array of shape (n, classes)
        Depth from 1; 0 never; -1 the instance's own label.

    Returns
    -------
    float array of shape (n,), in [0, 1]
    """
    return (separation_depth > 0).sum(axis=1) / (separation_depth >= 0).sum(axis=1)


def separability(separation_depth: np.ndarray, label_codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Summarise over a test set how often and how deep each hypothesis is separated from each label.

    Parameters
    ----------
    separation_depth : int array of shape (n, classes)
        Depth from 1; 0 never; -1 the instance's own label.
    label_codes : int array of shape (n,)
        The class index of each instance.

    Returns
    -------
    share : float array of shape (classes, classes)
        ``[label, hypothesis]``: share of the label's instances whose path separates the hypothesis; NaN
        on the diagonal and for labels without instances.
    mean_depth : float array of shape (classes, classes)
        Mean depth where it does; NaN where it never does.
    """
    n_classes = separation_depth.shape[1]
    share = np.full((n_classes, n_classes), np.nan)
    mean_depth = share.copy()
    for label in np.unique(label_codes):
        depths = separation_depth[label_codes == label]
        is_separated = depths > 0
        share[label] = is_separated.mean(axis=0)
        counts = is_separated.sum(axis=0)
        sums = (depths * is_separated).sum(axis=0)
        mean_depth[label] = np.divide(sums, counts, out=np.full(n_classes, np.nan), where=counts > 0)
    np.fill_diagonal(share, np.nan)
    return share, mean_depth


def mean_sd(values: Sequence[float]) -> dict[str, float | int]:
    """Return mean, sample standard deviation (0 for one value) and number of values.

    Examples
    --------
    >>> mean_sd([1.0, 3.0])
    {'mean': 2.0, 'sd': 1.4142135623730951, 'n': 2}
    """
    values = np.asarray(values, dtype=float)
    sd = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return {"mean": float(values.mean()), "sd": sd, "n": len(values)}
