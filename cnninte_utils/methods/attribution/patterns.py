"""PatternNet and PatternAttribution: back along what the data put into a unit, not along its weights."""

from collections.abc import Mapping
from functools import partial

import keras
import numpy as np
from keras import ops

from ... import checks
from ...networks import backward
from ...networks import targets as explained
from ...networks.gradients import in_batches, pull_back
from ...networks.lookup import images_at_once
from ..card import Card

__all__ = ["CARDS", "MEANS", "fit", "pattern_attribution", "pattern_net"]

MEANS = ("all", "positive")


def fit(
    model: keras.Model, images: np.ndarray, *, mean: str = "all", guard: float = 0.01
) -> dict[str, np.ndarray]:
    r"""Estimate for every unit the direction in its input that its output tells of.

    A unit's weights w point to what must be weighed to cancel distractors; the signal, that which varies with
    its output :math:`y = w \cdot x`, may lie in another direction. Before a ReLU, over the positions where
    the unit is on,

    .. math:: a = \frac{E_+[x y] - E_+[x] E[y]}{w \cdot (E_+[x y] - E_+[x] E[y])}

    and over all positions where no ReLU follows: the covariance by the variance. Then :math:`w \cdot a = 1`.

    Parameters
    ----------
    model : keras.Model
        Of the layers in :data:`cnninte_utils.networks.backward.KINDS` without concatenation; batch
        normalisation only where it can be made part of weights.
    images : float array of shape (n, height, width, channels), in [0, 1]
    mean : {"all", "positive"}
        E[y], over all positions as the paper has it, or over those where the unit is on, as its authors'
        first program.
    guard : float
        Units for which the cosine between w and the numerator is smaller get no pattern: of a unit that is
        rarely on, the estimate explodes. 0 keeps all with a positive denominator.

    Returns
    -------
    dict of str to ndarray
        By step with weights, of the kernel's shape, float32.

    Raises
    ------
    ValueError
        If the images do not fit, or a layer has no rule.

    References
    ----------
    Kindermans et al. 2018, "Learning how to explain neural networks: PatternNet and PatternAttribution",
    Section 4.
    """
    checks.choice("mean", mean, MEANS)
    checks.not_negative(guard=guard)
    logits = explained.logits(model)
    images = checks.images(images, logits.input_shape[1:])
    network = _network(logits)
    sums = {step.name: None for step in network if step.linear is not None}
    at_once = max(1, images_at_once(logits, keeps_all=True) // 2)
    for first in range(0, len(images), at_once):
        trace = backward.trace(network, ops.convert_to_tensor(images[first : first + at_once]))
        for record in trace.records:
            if record.step.linear is not None:
                found = _sums(record, _is_rectified(network, record.step.name))
                old = sums[record.step.name]
                both = found if old is None else [a + b for a, b in zip(old, found, strict=True)]
                sums[record.step.name] = both
    by_name = {step.name: step for step in network}
    return {name: _pattern(by_name[name], found, mean, guard) for name, found in sums.items()}


def pattern_net(
    model: keras.Model, images: np.ndarray, targets: np.ndarray, patterns: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Follow the signal down: the gradient, with each unit's pattern in the place of its weights.

    Parameters
    ----------
    model : keras.Model
    images : float array of shape (n, height, width, channels), in [0, 1]
    targets : int array of shape (n,), or float array of shape (n, classes)
        The signal starts at the logit with its value.
    patterns : mapping
        :func:`fit` of this model.

    Returns
    -------
    ndarray of shape (n, height, width, channels), float32, signed

    Raises
    ------
    ValueError
        If the images or targets do not fit, or the patterns are those of another network.

    References
    ----------
    Kindermans et al. 2018, Section 5.
    """
    return _followed(model, images, targets, patterns, lambda kernel, pattern: pattern)


def pattern_attribution(
    model: keras.Model, images: np.ndarray, targets: np.ndarray, patterns: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Follow down how much each part of the signal added: weights times pattern in the place of weights.

    Parameters, result and errors as for :func:`pattern_net`.

    References
    ----------
    Kindermans et al. 2018, Section 5.
    """
    return _followed(model, images, targets, patterns, lambda kernel, pattern: kernel * pattern)


def _network(logits: keras.Model) -> tuple[backward.Step, ...]:
    network = backward.steps(logits, folded=True)
    for step in network:
        if step.kind in ("concatenate", "batch_norm"):
            raise ValueError(f"no patterns through {step.name}, a step of kind {step.kind}")
    return network


def _is_rectified(network: tuple[backward.Step, ...], name: str) -> bool:
    return any(step.kind == "relu" and name in step.inputs for step in network)


def _sums(record: backward.Record, is_rectified: bool) -> list[np.ndarray]:
    """Return the sums of xy, x, 1 and y where a unit is on, of y and of 1 everywhere, for each unit."""
    step, axes = record.step, tuple(range(len(record.output.shape) - 1))
    y = record.output if step.bias is None else record.output - step.bias
    is_on = ops.cast(record.output > 0, y.dtype) if is_rectified else ops.ones_like(y)
    _, pull = pull_back(lambda kernel: step.linear(record.inputs[0], kernel), step.kernel)
    found = [pull(y * is_on), pull(is_on)]
    found += [ops.sum(one, axis=axes) for one in (is_on, y * is_on, y, ops.ones_like(y))]
    return [ops.convert_to_numpy(one).astype(float) for one in found]


def _pattern(step: backward.Step, sums: list[np.ndarray], mean: str, guard: float) -> np.ndarray:
    products, inputs, n_on, on, total, n = sums
    n_on = np.maximum(n_on, 1)
    mean_y = total / n if mean == "all" else on / n_on
    covariance = products / n_on - inputs / n_on * mean_y
    kernel = ops.convert_to_numpy(step.kernel).astype(float)
    axes = tuple(range(kernel.ndim - 1))
    scale = (kernel * covariance).sum(axis=axes)
    lengths = np.sqrt((kernel**2).sum(axis=axes) * (covariance**2).sum(axis=axes))
    is_sure = (scale > guard * lengths) & (scale > 0)
    return np.where(is_sure, covariance / np.where(is_sure, scale, 1), 0).astype(np.float32)


def _followed(model, images, targets, patterns: Mapping[str, np.ndarray], kernel_of) -> np.ndarray:
    logits, images, cotangents = explained.prepared(model, images, targets)
    network = _network(logits)
    expected = {step.name: tuple(step.kernel.shape) for step in network if step.linear is not None}
    if {name: pattern.shape for name, pattern in patterns.items()} != expected:
        raise ValueError(f"these are not the patterns of {model.name}: fit them to this network")

    def along(kernel, record, signal):
        _, pull = pull_back(lambda x: record.step.linear(x, kernel), record.inputs[0])
        return pull(signal)

    of_step = {
        step.name: partial(along, kernel_of(step.kernel, ops.convert_to_tensor(patterns[step.name])))
        for step in network
        if step.linear is not None
    }
    rules = dict.fromkeys(("lrn", "standardize"), backward.passed)

    def explain(x, v):
        trace = backward.trace(network, x)
        return trace.down(trace.output * v, rules, of_step=of_step)

    return in_batches(explain, logits, images, cotangents, copies=2)


CARDS = (
    Card(
        name="PatternNet", function="attribution.patterns.pattern_net",
        question="What in the input is the signal that the score tells of?",
        access="layers", output="signed, per channel", passes="1 F + 2 B, after a fit", trains=True,
        fails="Explodes at units that are rarely on, unless they are left out.",
        source="Kindermans et al. 2018",
    ),
    Card(
        name="PatternAttribution", function="attribution.patterns.pattern_attribution",
        question="How much does each part of the signal add to the score?",
        access="layers", output="signed, per channel", passes="1 F + 2 B, after a fit", trains=True,
        fails="Explodes at units that are rarely on, unless they are left out.",
        source="Kindermans et al. 2018",
    ),
)  # fmt: skip
