"""One engine that takes a signal backwards through a network, by any rule for each kind of step."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from .. import checks
from .gradients import pull_back
from .lookup import refuse_unbuilt
from .parts import LocalResponseNormalization

__all__ = [
    "KINDS",
    "LET_THROUGH",
    "RELU_RULES",
    "Record",
    "Step",
    "Trace",
    "box",
    "first_linear",
    "passed",
    "steps",
    "trace",
]

KINDS = (
    "convolution", "dense", "relu", "max_pooling", "average_pooling", "batch_norm", "lrn", "add",
    "concatenate", "shape", "standardize",
)  # fmt: skip
"""What a step can be; "shape" leaves values as they are: flatten, reshape, padding, dropout."""

_CLASSES = {
    keras.layers.MaxPooling2D: "max_pooling",
    keras.layers.GlobalMaxPooling2D: "max_pooling",
    keras.layers.AveragePooling2D: "average_pooling",
    keras.layers.GlobalAveragePooling2D: "average_pooling",
    keras.layers.BatchNormalization: "batch_norm",
    LocalResponseNormalization: "lrn",
    keras.layers.Add: "add",
    keras.layers.Concatenate: "concatenate",
    keras.layers.Flatten: "shape",
    keras.layers.Reshape: "shape",
    keras.layers.ZeroPadding2D: "shape",
    keras.layers.Dropout: "shape",
    keras.layers.SpatialDropout2D: "shape",
    keras.layers.Normalization: "standardize",
    keras.layers.Rescaling: "standardize",
}

Signal = Any
"""A tensor of the backend, of the shape of what it passes."""


@dataclass(frozen=True, eq=False)
class Step:
    """One thing that a network does; a layer with a ReLU inside is two.

    Parameters
    ----------
    name : str
        Of what it puts out: the layer's name; "conv1 before its ReLU" for the first half of two.
    kind : str
        One of :data:`KINDS`.
    inputs : tuple of str
        The names of what it takes, the image's among them.
    function : callable
        Tensor → tensor; for "add" and "concatenate" list of tensors → tensor.
    kernel, bias : tensors, optional
        Of a convolution or dense layer; the bias may be None.
    linear : callable, optional
        Of those: (tensor, any kernel) → tensor, without the bias.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    function: Callable = field(repr=False)
    kernel: Any = field(default=None, repr=False)
    bias: Any = field(default=None, repr=False)
    linear: Callable | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class Record:
    """What went into a step and came out, and the step's gradient there: signal above → signal below."""

    step: Step
    inputs: tuple
    output: Any
    pull: Callable[[Signal], Signal | tuple[Signal, ...]]


Rule = Callable[[Record, Signal], Signal | tuple[Signal, ...]]
"""What a step does to a signal on the way down; a tuple, one for each input, where there are several."""


LET_THROUGH: dict[str, Callable] = {
    "deconvnet": lambda signal, is_on: ops.relu(signal),
    "guided": lambda signal, is_on: ops.relu(signal) * is_on,
    "gradient": lambda signal, is_on: signal * is_on,
}
"""What a ReLU lets through on the way down, from the signal and where it was on (1 or 0) on the way up."""


def _relu_rule(let_through: Callable) -> Rule:
    return lambda record, signal: let_through(signal, ops.cast(record.output > 0, signal.dtype))


RELU_RULES: dict[str, Rule] = {name: _relu_rule(let) for name, let in LET_THROUGH.items()}
"""The three ways back through a ReLU; everything else in a network goes back by its gradient."""


def passed(record: Record, signal: Signal) -> Signal:
    """Leave the signal as it is: a rule for what is to be passed by."""
    return signal


def steps(model: keras.Model, *, folded: bool = False) -> tuple[Step, ...]:
    r"""Take a network apart.

    Parameters
    ----------
    model : keras.Model
        A chain or graph of the layers in :data:`KINDS`, with one input and one output.
    folded : bool
        Whether a batch normalisation that alone follows a convolution or dense layer becomes a part of it:
        with a factor :math:`s = \gamma / \sqrt{v + \epsilon}`, the kernel is :math:`k s` and the bias
        :math:`\beta + (b - m) s`.

    Returns
    -------
    tuple of Step
        In an order in which each comes after what it takes.

    Raises
    ------
    ValueError
        With the name of the layer, if there is one that no rule is known for; or if the model is not built.
    """
    refuse_unbuilt(model)
    model = keras.Model(model.inputs, model.outputs, name=model.name)
    names = {id(model.inputs[0]): _image_name(model)}
    found = []
    for layer in model.operations:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        _refuse_unknown(layer)
        sources = keras.tree.flatten(layer.input)
        if any(id(source) not in names for source in sources):
            raise ValueError(_twice(model, layer))
        found += _steps_of(layer, tuple(names[id(source)] for source in sources))
        names[id(layer.output)] = layer.name
    if id(model.outputs[0]) not in names:
        raise ValueError(_twice(model, layer))
    return _folded(found) if folded else tuple(found)


def _twice(model: keras.Model, layer: keras.Layer) -> str:
    return f"{model.name} uses {layer.name}, or what it takes, more than once: no rule backwards for that"


def _image_name(model: keras.Model) -> str:
    return next(op.name for op in model.operations if isinstance(op, keras.layers.InputLayer))


def _refuse_unknown(layer: keras.Layer) -> None:
    is_known = isinstance(layer, keras.layers.Conv2D | keras.layers.Dense | keras.layers.ReLU)
    is_known = is_known or isinstance(layer, keras.layers.Activation) or type(layer) in _CLASSES
    is_transposed = isinstance(layer, keras.layers.Conv2DTranspose | keras.layers.DepthwiseConv2D)
    if not is_known or is_transposed or not _has_channels_last(layer):
        raise ValueError(f"no rule backwards for {layer.name}, a {type(layer).__name__}")


def _steps_of(layer: keras.Layer, inputs: tuple[str, ...]) -> list[Step]:
    """Return what a layer does, in one step or two."""
    if isinstance(layer, keras.layers.ReLU):
        options = layer.get_config()
        if options["max_value"] is not None or options["negative_slope"] or options["threshold"]:
            raise ValueError(f"no rule backwards for {layer.name}, a ReLU with a slope, ceiling or threshold")
        return [Step(layer.name, "relu", inputs, ops.relu)]
    if not isinstance(layer, keras.layers.Conv2D | keras.layers.Dense | keras.layers.Activation):
        kind = _CLASSES[type(layer)]
        if kind == "add" and len({tuple(x.shape) for x in layer.input}) > 1:
            raise ValueError(f"no rule backwards for {layer.name}, a sum of arrays of different shapes")
        return [Step(layer.name, kind, inputs, lambda x: layer(x, **_inference(layer)))]
    is_relu = layer.activation is keras.activations.relu  # another function may have its name
    if not is_relu and layer.activation is not keras.activations.linear:
        name = getattr(layer.activation, "__name__", str(layer.activation))
        raise ValueError(f"no rule backwards for {layer.name}: its activation is {name}, not Keras's ReLU")
    if isinstance(layer, keras.layers.Activation):
        kind, function = ("relu", ops.relu) if is_relu else ("shape", lambda x: x)
        return [Step(layer.name, kind, inputs, function)]
    if not is_relu:
        return [_linear_step(layer, layer.name, inputs)]
    before = f"{layer.name} before its ReLU"
    return [_linear_step(layer, before, inputs), Step(layer.name, "relu", (before,), ops.relu)]


def _has_channels_last(layer: keras.Layer) -> bool:
    """Tell whether the last axis is that of the channels, or the layer does not care."""
    if isinstance(layer, keras.layers.ZeroPadding2D):  # by which a shortcut pads its channels
        return True
    if isinstance(layer, keras.layers.Concatenate | keras.layers.BatchNormalization):
        return layer.axis in (-1, len(layer.output.shape) - 1)
    return getattr(layer, "data_format", None) in ("channels_last", None)


def _inference(layer: keras.Layer) -> dict[str, bool]:
    can_train = isinstance(layer, keras.layers.BatchNormalization | keras.layers.Dropout)
    return {"training": False} if can_train else {}


def _linear_step(layer: keras.Layer, name: str, inputs: tuple[str, ...]) -> Step:
    is_dense = isinstance(layer, keras.layers.Dense)
    linear = ops.matmul if is_dense else layer.convolution_op
    kernel = layer.kernel + 0  # a tensor, where the layer has a variable
    bias = layer.bias + 0 if layer.use_bias else None
    kind = "dense" if is_dense else "convolution"
    return _with_weights(Step(name, kind, inputs, linear, linear=linear), kernel, bias)


def _with_weights(step: Step, kernel, bias) -> Step:
    def function(x):
        z = step.linear(x, kernel)
        return z if bias is None else z + bias

    return replace(step, function=function, kernel=kernel, bias=bias)


def _folded(found: list[Step]) -> tuple[Step, ...]:
    takers = [name for step in found for name in step.inputs]
    by_name = {step.name: step for step in found}
    for step in found:
        before = by_name.get(step.inputs[0])
        if step.kind != "batch_norm" or before is None or before.linear is None:
            continue
        if takers.count(before.name) == 1:
            # at 0 and 1 the normalisation, a straight line in each channel, shows its offset and slope
            shape = (1,) * (1 + (before.kind == "convolution") * 2) + (before.kernel.shape[-1],)
            offset = ops.reshape(step.function(ops.zeros(shape)), (-1,))
            slope = ops.reshape(step.function(ops.ones(shape)), (-1,)) - offset
            bias = offset if before.bias is None else offset + before.bias * slope
            merged = _with_weights(replace(before, name=step.name), before.kernel * slope, bias)
            by_name[step.name] = merged
            del by_name[before.name]
    return tuple(by_name[step.name] for step in found if step.name in by_name)


@dataclass(frozen=True, eq=False)
class Trace:
    """A batch of images on its way up through a network, kept step by step for the ways down."""

    image: str
    records: tuple[Record, ...] = field(repr=False)

    @property
    def output(self):
        """What came out at the top."""
        return self.records[-1].output

    def __getitem__(self, name: str) -> Record:
        """Return the record of the step of this name."""
        return next(record for record in self.records if record.step.name == name)

    def down(
        self,
        signal: Signal,
        rules: Mapping[str, Rule] | None = None,
        *,
        of_step: Mapping[str, Rule] | None = None,
        until: str | None = None,
    ) -> Signal:
        """Take a signal down from the top to the images.

        Parameters
        ----------
        signal : tensor of the output's shape
        rules : mapping of str to Rule, optional
            By kind of step; the gradient where there is none. Where several steps take one tensor, what they
            send back is added.
        of_step : mapping of str to Rule, optional
            By the name of a step that has a rule of its own.
        until : str, optional
            Name of the step at whose output to stop.

        Returns
        -------
        tensor of the images' shape, or that of the step's output
        """
        if until is not None:
            checks.choice("step", until, [record.step.name for record in self.records])
        for name, arrived in self.signals(signal, rules, of_step=of_step):
            if name == (until or self.image):
                return arrived
        return ops.zeros_like(self[until].output)

    def signals(
        self,
        signal: Signal,
        rules: Mapping[str, Rule] | None = None,
        *,
        of_step: Mapping[str, Rule] | None = None,
    ) -> Iterator[tuple[str, Signal]]:
        """Yield what arrives at each step's output on the way down, with the step's name; the image is last.

        Parameters as for :meth:`down`.
        """
        rules, of_step = rules or {}, of_step or {}
        signals = {self.records[-1].step.name: signal}
        for record in reversed(self.records):
            arrived = signals.pop(record.step.name, None)
            if arrived is None:
                continue
            yield record.step.name, arrived
            rule = of_step.get(record.step.name) or rules.get(record.step.kind, _gradient)
            sent = rule(record, arrived)
            sent = sent if isinstance(sent, tuple) else (sent,)
            for name, part in zip(record.step.inputs, sent, strict=True):
                signals[name] = signals[name] + part if name in signals else part
        yield self.image, signals[self.image]


def _gradient(record: Record, signal: Signal) -> Signal | tuple[Signal, ...]:
    return record.pull(signal)


def trace(network: tuple[Step, ...], images) -> Trace:
    """Send a batch of images, a tensor, up through a network that :func:`steps` took apart."""
    image = _source(network)
    values, records = {image: images}, []
    for step in network:
        inputs = tuple(values[name] for name in step.inputs)
        if step.kind == "add":
            output, pull = step.function(list(inputs)), _copied(len(inputs))
        elif step.kind == "concatenate":
            output, pull = step.function(list(inputs)), _split([x.shape[-1] for x in inputs])
        else:
            output, pull = pull_back(step.function, inputs[0])
        values[step.name] = output
        records.append(Record(step, inputs, output, pull))
    return Trace(image, tuple(records))


def _source(network: tuple[Step, ...]) -> str:
    """Return the name of what is taken but made by no step: the image."""
    made = {step.name for step in network}
    return next(name for step in network for name in step.inputs if name not in made)


def _copied(n: int) -> Callable:
    return lambda signal: (signal,) * n


def _split(widths: list[int]) -> Callable:
    ends = np.cumsum(widths)[:-1].tolist()
    return lambda signal: tuple(ops.split(signal, ends, axis=-1))


def first_linear(network: tuple[Step, ...]) -> set[str]:
    """Return the names of the steps with weights that see nothing but pixels, standardised or padded."""
    pixels, found = {_source(network)}, set()
    for step in network:
        if step.inputs[0] not in pixels:
            continue
        if step.kind in ("standardize", "shape"):
            pixels.add(step.name)
        elif step.linear is not None:
            found.add(step.name)
    return found


def box(network: tuple[Step, ...], shape: tuple[int, ...], low: float, high: float) -> dict[str, tuple]:
    """Return, for each of the first steps with weights, the least and largest values that it can be fed with.

    Parameters
    ----------
    network : tuple of Step
    shape : (height, width, channels)
    low, high : float
        Of the pixels, before they are standardised.

    Returns
    -------
    dict of str to (tensor, tensor)
        Each of shape (1, ...).
    """
    names = first_linear(network)
    values = {_source(network): [ops.full((1, *shape), float(end)) for end in (low, high)]}
    for step in network:
        if step.inputs[0] in values and step.kind in ("standardize", "shape"):
            values[step.name] = [step.function(end) for end in values[step.inputs[0]]]
    return {step.name: tuple(values[step.inputs[0]]) for step in network if step.name in names}
