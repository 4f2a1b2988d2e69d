"""DeepLIFT: the difference of a logit from that of a baseline, handed down by finite differences."""

from functools import partial

import keras
import numpy as np
from keras import ops

from ... import checks
from ...networks import backward
from ...networks import targets as explained
from ...networks.gradients import in_batches, pull_back
from ..card import Card

__all__ = ["CARDS", "RULES", "deeplift"]

RULES = ("rescale", "reveal_cancel")
_TINY = 1e-7


def deeplift(
    model: keras.Model,
    images: np.ndarray,
    targets: np.ndarray,
    *,
    rule: str = "rescale",
    baseline: float | np.ndarray | None = None,
    convolutions: str = "rescale",
) -> np.ndarray:
    r"""Share the difference between an image's logit and a baseline's among the pixels that differ.

    What is linear sends its gradient down; a ReLU y = f(z) sends, with Δ the difference from the baseline,

    .. math:: \text{rescale: } \frac{\Delta y}{\Delta z}, \qquad
              \text{reveal\_cancel: } \frac{\Delta y^\pm}{\Delta z^\pm}, \quad
              \Delta y^\pm = \tfrac12 \big( f(z' + \Delta z^\pm) - f(z')
                           + f(z) - f(z' + \Delta z^\mp) \big)

    where :math:`\Delta z^\pm` gathers what raised and what lowered z, each with a multiplier of its own, so
    that two that cancel each other both show. Max-pooling, whose winner may be another than the baseline's,
    sends what each of the two winners is short of the larger one. All results of an image add up to
    :math:`f_t(x) - f_t(x')`.

    Parameters
    ----------
    model : keras.Model
        A chain or graph of the layers in :data:`cnninte_utils.networks.backward.KINDS`; a softmax at the end
        is left out.
    images : float array of shape (n, height, width, channels), in [0, 1]
    targets : int array of shape (n,), or float array of shape (n, classes)
        The class of each image; or v, where :math:`v \cdot f` is explained.
    rule : {"rescale", "reveal_cancel"}
        The second for chains only; where a max-pooling or a local response normalisation mixes what raised
        with what lowered, the two are told apart anew by the sign of the difference after it.
    baseline : float, or array of shape (channels,), (height, width, channels) or that of the images, optional
        :math:`x'`, in [0, 1]; by default the network's mean colour if its first layer subtracts one, else
        black.
    convolutions : {"rescale", "reveal_cancel"}
        What "reveal_cancel" does at ReLUs after convolutions; the authors rescale there.

    Returns
    -------
    ndarray of shape (n, height, width, channels), float32, signed

    Raises
    ------
    ValueError
        If a rule is unknown, the images, targets or baseline do not fit, a layer has no rule, or
        "reveal_cancel" meets a layer with several inputs.

    References
    ----------
    Shrikumar, Greenside, Kundaje 2017, "Learning Important Features Through Propagating Activation
    Differences", Section 3.
    """
    checks.choice("rule", rule, RULES)
    checks.choice("rule for convolutions", convolutions, RULES)
    logits, images, cotangents = explained.prepared(model, images, targets)
    start = explained.baselines(logits, images, baseline)
    network = backward.steps(logits, folded=rule == "reveal_cancel")
    if rule == "reveal_cancel":
        _refuse_branches(network)
        explain = partial(_reveal_cancel, network, convolutions == "reveal_cancel")
    else:
        explain = partial(_rescale, network)
    return in_batches(explain, logits, images, start, cotangents, copies=4)


def _rescale(network, x, x0, v):
    here, there = backward.trace(network, x), backward.trace(network, x0)
    baseline = {record.step.name: record for record in there.records}

    def against(rule):
        return lambda record, signal: rule(record, baseline[record.step.name], signal)

    rules = {"relu": against(_slope), "lrn": against(_slope), "max_pooling": against(_winners)}
    return here.down(v, rules) * (x - x0)


def _slope(here: backward.Record, there: backward.Record, signal):
    """Send what a function of single values does between the two, or its gradient where they are the same."""
    difference = here.inputs[0] - there.inputs[0]
    is_same = ops.abs(difference) < _TINY
    ratio = (here.output - there.output) / ops.where(is_same, 1.0, difference)
    return ops.where(is_same, here.pull(signal), signal * ratio)


def _winners(here: backward.Record, there: backward.Record, signal):
    """Send the difference of two maxima to the two that won: what each is short of the larger one."""
    larger = ops.maximum(here.output, there.output)
    up, down = signal * (larger - there.output), signal * (here.output - larger)
    difference = here.inputs[0] - there.inputs[0]
    is_same = ops.abs(difference) < _TINY
    return ops.where(is_same, 0.0, (here.pull(up) + there.pull(down)) / ops.where(is_same, 1.0, difference))


def _refuse_branches(network: tuple[backward.Step, ...]) -> None:
    for step in network:
        if step.kind in ("add", "concatenate", "batch_norm"):
            raise ValueError(
                f"reveal_cancel is not defined for {step.name}, a step of kind {step.kind}: take rescale"
            )


def _halves(difference) -> tuple:
    return ops.relu(difference), -ops.relu(-difference)


def _reveal_cancel(network, in_convolutions: bool, x, x0, v):
    """Carry what raises and what lowers each value up, then a multiplier for each of the two down."""
    here, there = backward.trace(network, x), backward.trace(network, x0)
    parts, ways, after = _halves(x - x0), [], "dense"
    for one, other in zip(here.records, there.records, strict=True):
        after = one.step.kind if one.step.linear is not None else after
        if one.step.kind == "relu" and (after == "dense" or in_convolutions):
            parts, way = _revealed(one, other, parts)
        elif one.step.kind == "relu":
            ratio = _slope(one, other, ops.ones_like(one.output))
            parts, way = tuple(ratio * part for part in parts), partial(_scaled, (ratio, ratio))
        elif one.step.linear is not None:
            parts, way = _linear(one.step, parts)
        elif one.step.kind in ("max_pooling", "lrn"):
            rule = _winners if one.step.kind == "max_pooling" else _slope
            parts, way = _halves(one.output - other.output), partial(_merged, rule, one, other)
        else:  # averages, changes of shape and of scale: no weight below zero
            offset = one.step.function(ops.zeros_like(parts[0]))
            parts = tuple(one.step.function(part) - offset for part in parts)
            way = partial(_each, one.pull)
        ways.append(way)
    multipliers = (v, v)
    for way in reversed(ways):
        multipliers = way(multipliers)
    return sum(m * part for m, part in zip(multipliers, _halves(x - x0), strict=True))


def _revealed(here: backward.Record, there: backward.Record, parts: tuple) -> tuple:
    f, start, end = here.step.function, there.inputs[0], here.inputs[0]
    found = []
    for part, other in (parts, parts[::-1]):
        found.append(0.5 * (f(start + part) - f(start) + f(end) - f(start + other)))
    ratios = tuple(_ratio(y, z) for y, z in zip(found, parts, strict=True))
    return tuple(found), partial(_scaled, ratios)


def _ratio(y, z):
    is_none = ops.abs(z) < _TINY
    return ops.where(is_none, 0.0, y / ops.where(is_none, 1.0, z))


def _linear(step: backward.Step, parts: tuple) -> tuple:
    kernels = _halves(step.kernel)
    # [part][kernel]: what raises is positive weights on risen inputs, and negative ones on fallen
    pulled = [[pull_back(lambda a, k=k: step.linear(a, k), part) for k in kernels] for part in parts]
    (up, cross_up), (down, cross_down) = pulled

    def way(multipliers):
        plus, minus = multipliers
        return up[1](plus) + cross_up[1](minus), down[1](minus) + cross_down[1](plus)

    return (up[0] + cross_down[0], down[0] + cross_up[0]), way


def _scaled(ratios: tuple, multipliers: tuple) -> tuple:
    return tuple(m * ratio for m, ratio in zip(multipliers, ratios, strict=True))


def _each(pull, multipliers: tuple) -> tuple:
    return tuple(pull(m) for m in multipliers)


def _merged(rule, here: backward.Record, there: backward.Record, multipliers: tuple) -> tuple:
    signal = rule(here, there, ops.where(here.output > there.output, *multipliers))
    return signal, signal


CARDS = (
    Card(
        name="DeepLIFT", function="attribution.deeplift",
        question="How is the difference from a baseline's score shared among the pixels that differ?",
        access="layers", output="signed, per channel", passes="2 F + 1 B", sums_to="f(x) - f(baseline)",
        fails="Another baseline, another answer, and more so than another method.",
        source="Shrikumar, Greenside, Kundaje 2017",
    ),
)  # fmt: skip
