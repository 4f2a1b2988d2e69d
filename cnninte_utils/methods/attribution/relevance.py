"""Layer-wise relevance propagation and deep Taylor: a logit handed down in shares, layer by layer."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import keras
import numpy as np
from keras import ops

from ... import checks
from ...networks import backward
from ...networks import targets as explained
from ...networks.gradients import in_batches, pull_back
from ..card import Card

__all__ = ["BIASES", "CARDS", "FIRST", "RULES", "by_layer", "deep_taylor", "lrp"]

RULES = {
    "epsilon": {"dense": "epsilon", "convolution": "epsilon", "first": "same"},
    "gamma": {"dense": "gamma", "convolution": "gamma", "first": "same"},
    "alpha_beta": {"dense": "alpha_beta", "convolution": "alpha_beta", "first": "same"},
    "composite": {"dense": "epsilon", "convolution": "gamma", "first": "box"},
    "composite_flat": {"dense": "epsilon", "convolution": "alpha_beta", "first": "flat"},
}
"""The rule of dense layers, of convolutions, and of the first layer with weights."""

FIRST = ("same", "box", "w2", "flat")
BIASES = ("absorb", "drop")


@dataclass(frozen=True)
class _Options:
    """Of :func:`lrp`, which says what they mean."""

    rule: str = "composite"
    epsilon: float = 1e-6
    gamma: float = 0.25
    alpha: float = 1.0
    beta: float = 0.0
    bias: str = "absorb"
    first: str | None = None
    pixels: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self):
        checks.choice("rule", self.rule, RULES)
        checks.choice("bias", self.bias, BIASES)
        checks.choice("first", self.first, (None, *FIRST))
        checks.not_negative(epsilon=self.epsilon, gamma=self.gamma, alpha=self.alpha, beta=self.beta)
        is_balanced = abs(self.alpha - self.beta - 1) < 1e-6
        checks.require(is_balanced, "alpha, beta", (self.alpha, self.beta), "alpha - beta = 1")
        low, high = self.pixels
        checks.require(0 <= low < high <= 1, "pixels", self.pixels, "two numbers from 0 to 1 in order")

    @property
    def has_bias(self) -> bool:
        return self.bias == "absorb"


def lrp(
    model: keras.Model,
    images: np.ndarray,
    targets: np.ndarray,
    *,
    rule: str = "composite",
    epsilon: float = 1e-6,
    gamma: float = 0.25,
    alpha: float = 1.0,
    beta: float = 0.0,
    bias: str = "absorb",
    first: str | None = None,
    pixels: tuple[float, float] = (0.0, 1.0),
) -> np.ndarray:
    r"""Hand the logit down: each unit shares its relevance among what it was made of.

    With inputs a, weights w, biases b, :math:`z_j = \sum_i a_i w_{ij} + b_j`, and + and − the positive and
    negative parts:

    .. math:: \text{epsilon: } R_i &= \sum_j \frac{a_i w_{ij}}{z_j + \epsilon \operatorname{sign} z_j} R_j \\
              \text{gamma: } R_i &= \sum_j \frac{a_i (w_{ij} + \gamma w_{ij}^+)}
                                          {\sum_k a_k (w_{kj} + \gamma w_{kj}^+) + b_j + \gamma b_j^+} R_j \\
              \text{alpha\_beta: } R_i &= \sum_j \Big(
                  \alpha \frac{(a_i w_{ij})^+}{\sum_k (a_k w_{kj})^+ + b_j^+}
                  - \beta \frac{(a_i w_{ij})^-}{\sum_k (a_k w_{kj})^- + b_j^-} \Big) R_j

    gamma with :math:`w^-` for units below zero, and signs changed for inputs below zero. ε = 0 is LRP-0,
    which equals gradient × input; α = 1, β = 0 is the z⁺ rule. ReLUs, dropout and local response
    normalisation pass relevance on, max-pooling gives it to the winner, averages and sums share it by size.
    Batch normalisation after weights is made part of them; elsewhere it is a layer :math:`\gamma' x + c`.

    Parameters
    ----------
    model : keras.Model
        A chain or graph of the layers in :data:`cnninte_utils.networks.backward.KINDS`; a softmax at the end
        is left out.
    images : float array of shape (n, height, width, channels), in [0, 1]
    targets : int array of shape (n,), or float array of shape (n, classes)
        The class of each image; or v, and relevance starts as :math:`v_j f_j`.
    rule : {"epsilon", "gamma", "alpha_beta", "composite", "composite_flat"}
        composite: epsilon in dense layers, gamma in convolutions, box in the first layer.
    epsilon, gamma, alpha, beta : float
        α − β = 1.
    bias : {"absorb", "drop"}
        Biases take their share of the relevance, which is lost; or none, so that the sum over the pixels is
        the logit (with epsilon 0, and batch normalisation after weights).
    first : {"same", "box", "w2", "flat"}, optional
        Of the first layer with weights: the rule of the others; for pixels between l and h, by
        :math:`a_i w_{ij} - l_i w_{ij}^+ - h_i w_{ij}^-`; by :math:`w_{ij}^2`; or in equal shares. None of the
        last three has a bias. By default what the rule says.
    pixels : (float, float)
        l and h, before the network standardises its images.

    Returns
    -------
    ndarray of shape (n, height, width, channels), float32, signed

    Raises
    ------
    ValueError
        If an option is unknown, α − β is not 1, the images or targets do not fit, or a layer has no rule.

    References
    ----------
    Bach et al. 2015, "On Pixel-Wise Explanations", eq. 56-60. Montavon et al. 2019, "Layer-Wise Relevance
    Propagation: An Overview", Section 10.2.
    """
    options = _Options(rule, epsilon, gamma, alpha, beta, bias, first, pixels)
    return _handed_down(model, images, targets, options)["image"]


def deep_taylor(
    model: keras.Model,
    images: np.ndarray,
    targets: np.ndarray,
    *,
    first: str = "box",
    pixels: tuple[float, float] = (0.0, 1.0),
) -> np.ndarray:
    r"""Hand down the positive part of the logit, to what spoke for it only.

    The z⁺ rule everywhere, for pixels the box rule (or w2, if they had no bounds), from
    :math:`\max(v_j f_j, 0)`. Parameters and errors as for :func:`lrp`.

    Returns
    -------
    ndarray of shape (n, height, width, channels), float32
        Not negative in a chain. Where branches of both signs are added, or batch normalisation stands before
        weights, what a branch or a channel took away has a negative share.

    References
    ----------
    Montavon et al. 2017, "Explaining NonLinear Classification Decisions with Deep Taylor Decomposition".
    """
    options = _Options("alpha_beta", first=first, pixels=pixels)
    return _handed_down(model, images, targets, options, start=ops.relu)["image"]


def by_layer(model: keras.Model, images: np.ndarray, targets: np.ndarray, **options) -> dict[str, np.ndarray]:
    """Add up the relevance that :func:`lrp` hands to each layer's output: what biases swallow shows.

    Parameters
    ----------
    **options
        Of :func:`lrp`.

    Returns
    -------
    dict of str to ndarray of shape (n,)
        From the logits down; "image" is last. Where branches run side by side, a layer has its branch's
        share.
    """
    return _handed_down(model, images, targets, _Options(**options), is_total=True)


def _handed_down(model, images, targets, options: _Options, *, start=None, is_total: bool = False) -> dict:
    """Return the relevance of the image, or the total at every step."""
    logits, images, cotangents = explained.prepared(model, images, targets)
    network = backward.steps(logits, folded=True)
    rules, of_step = _rules(options), _of_first(network, logits.input_shape[1:], options)

    def descend(x, v):
        trace = backward.trace(network, x)
        signal = trace.output * v
        found = {}
        signal = signal if start is None else start(signal)
        for name, relevance in trace.signals(signal, rules, of_step=of_step):
            name = "image" if name == trace.image else name
            if is_total:
                found[name] = ops.sum(relevance, axis=tuple(range(1, len(relevance.shape))))
            elif name == "image":
                found[name] = relevance
        return found

    return in_batches(descend, logits, images, cotangents, copies=3)


def _rules(options: _Options) -> dict[str, backward.Rule]:
    """Return a rule for each kind of step that does not simply send the gradient on."""
    plan = RULES[options.rule]
    rules = {kind: partial(_WEIGHTED[plan[kind]], options) for kind in ("dense", "convolution")}
    rules |= {"batch_norm": partial(_batch_norm, options), "average_pooling": _average, "add": _sum}
    return rules | {kind: lambda record, relevance: relevance for kind in ("relu", "lrn", "standardize")}


def _of_first(network: tuple[backward.Step, ...], shape, options: _Options) -> dict[str, backward.Rule]:
    """Return, by name, the rule of the first steps with weights, if they have one of their own."""
    first = options.first or RULES[options.rule]["first"]
    if first == "same":
        return {}
    ends = backward.box(network, shape, *options.pixels)
    return {name: partial(_FIRST[first], ends[name]) for name in ends}


def _shared(step: backward.Step, parts: list[tuple], bias, relevance, epsilon: float = 0.0):
    """Share what is at the outputs in proportion to what the inputs put in: a · w summed over the parts."""
    pulled = [pull_back(_through(step, kernel), a) for a, kernel in parts]
    z = sum(output for output, _ in pulled)
    c = _divided(relevance, z if bias is None else z + bias, epsilon)
    return sum(a * pull(c) for (a, _), (_, pull) in zip(parts, pulled, strict=True))


def _through(step: backward.Step, kernel) -> Callable:
    return lambda a: step.linear(a, kernel)


def _divided(relevance, z, epsilon: float = 0.0):
    """Divide, away from zero by ε; 0 where there is nothing to share among."""
    z = z + epsilon * ops.where(z >= 0, 1.0, -1.0)
    return ops.where(z == 0, 0.0, relevance / ops.where(z == 0, 1.0, z))


def _signed_parts(a, positive_kernel, negative_kernel) -> list[tuple]:
    """Return the inputs above zero with one kernel and those below, if there are any, with the other."""
    parts = [(ops.relu(a), positive_kernel)]
    if ops.convert_to_numpy(ops.min(a)) < 0:
        parts.append((-ops.relu(-a), negative_kernel))
    return parts


def _halves(array) -> tuple:
    """Return the positive and the negative part; None is its own parts."""
    return (None, None) if array is None else (ops.relu(array), -ops.relu(-array))


def _epsilon(options: _Options, record: backward.Record, relevance):
    z, bias = record.output, record.step.bias
    if bias is not None and not options.has_bias:
        z = z - bias
    return record.inputs[0] * record.pull(_divided(relevance, z, options.epsilon))


def _gamma(options: _Options, record: backward.Record, relevance):
    step, (a,) = record.step, record.inputs
    (w_plus, w_minus), bias = _halves(step.kernel), step.bias if options.has_bias else None
    b_plus, b_minus = _halves(bias)
    more = [step.kernel + options.gamma * half for half in (w_plus, w_minus)]
    biases = [None if bias is None else bias + options.gamma * half for half in (b_plus, b_minus)]
    is_up = record.output >= 0
    found = _shared(step, _signed_parts(a, *more), biases[0], ops.where(is_up, relevance, 0.0))
    down = ops.where(is_up, 0.0, relevance)
    if ops.convert_to_numpy(ops.any(down != 0)):
        found = found + _shared(step, _signed_parts(a, *more[::-1]), biases[1], down)
    return found


def _alpha_beta(options: _Options, record: backward.Record, relevance):
    step, (a,) = record.step, record.inputs
    (w_plus, w_minus), (b_plus, b_minus) = (
        _halves(step.kernel),
        _halves(step.bias if options.has_bias else None),
    )
    found = options.alpha * _shared(step, _signed_parts(a, w_plus, w_minus), b_plus, relevance)
    if options.beta:
        found = found - options.beta * _shared(step, _signed_parts(a, w_minus, w_plus), b_minus, relevance)
    return found


_WEIGHTED = {"epsilon": _epsilon, "gamma": _gamma, "alpha_beta": _alpha_beta}


def _box(ends: tuple, record: backward.Record, relevance):
    a, (plus, minus) = record.inputs[0], _halves(record.step.kernel)
    low, high = (ops.broadcast_to(end, a.shape) for end in ends)
    return _shared(record.step, [(a, record.step.kernel), (low, -plus), (high, -minus)], None, relevance)


def _squares(ends: tuple, record: backward.Record, relevance):
    return _shared(record.step, [(_there(ends, record), record.step.kernel**2)], None, relevance)


def _flat(ends: tuple, record: backward.Record, relevance):
    return _shared(record.step, [(_there(ends, record), ops.ones_like(record.step.kernel))], None, relevance)


_FIRST = {"box": _box, "w2": _squares, "flat": _flat}


def _there(ends: tuple, record: backward.Record):
    """Return 1 for inputs that are pixels, 0 for those that padding put around them."""
    return ops.broadcast_to(ops.cast(ends[0] != ends[1], "float32"), record.inputs[0].shape)


def _batch_norm(options: _Options, record: backward.Record, relevance):
    if not options.has_bias:
        return relevance
    offset = record.step.function(ops.zeros_like(record.output[:1]))
    return (record.output - offset) * _divided(relevance, record.output)


def _average(record: backward.Record, relevance):
    return record.inputs[0] * record.pull(_divided(relevance, record.output))


def _sum(record: backward.Record, relevance):
    share = _divided(relevance, record.output)
    return tuple(a * share for a in record.inputs)


CARDS = (
    Card(
        name="LRP", function="attribution.lrp",
        question="How is the score shared among what it was made of, layer by layer?",
        access="layers", output="signed, per channel", passes="1 F + about 2 B",
        sums_to="f(x), less the biases' share",
        fails="A rule for each layer is a choice; biases swallow much; LRP-0 is gradient × input.",
        source="Bach et al. 2015",
    ),
    Card(
        name="Deep Taylor", function="attribution.relevance.deep_taylor",
        question="Which pixels spoke for the score, all the way down?",
        access="layers", output="not negative in a chain, per channel", passes="1 F + about 2 B",
        is_signed=False, sums_to="max(f(x), 0), less the biases' share",
        fails="Says nothing against a class; hardly changes when the last layers' weights are random.",
        source="Montavon et al. 2017",
    ),
)  # fmt: skip
