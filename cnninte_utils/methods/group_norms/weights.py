"""Penalties on the weights of groups of filters: block norm, weight decay, exact shrinking (paper C)."""

import math
from collections.abc import Sequence
from itertools import pairwise

import keras
import numpy as np
from keras import ops

from ... import checks
from ...networks.lookup import chosen_layers

__all__ = [
    "BlockNorm",
    "GroupStrengths",
    "ProximalStep",
    "WeightDecay",
    "block_norm",
    "check_exponent",
    "group_slices",
    "group_strengths",
    "kernel_options",
    "regularized",
    "shrunk_groups",
    "strengths_of",
]


def group_slices(n_filters: int, n_groups: int) -> list[slice]:
    """Divide filters into consecutive groups that cover every one of them.

    Parameters
    ----------
    n_filters : int
    n_groups : int
        Between 1 and `n_filters`.

    Returns
    -------
    list of slice
        Their sizes differ by one at most, larger groups first. (The authors' code gives each group
        ⌊n_filters / n_groups⌋ filters and leaves the last ones out: 4 of 64 with five groups.)

    Raises
    ------
    ValueError
        If there are no groups, or more groups than filters.
    """
    if not 1 <= n_groups <= n_filters:
        raise ValueError(f"n_groups must be between 1 and the {n_filters} filters there are, got {n_groups}")
    size, n_larger = divmod(n_filters, n_groups)
    ends = [size * group + min(group, n_larger) for group in range(n_groups + 1)]
    return [slice(start, end) for start, end in pairwise(ends)]


def group_strengths(kernel, n_groups: int, p: float = 2.0):
    r"""Compute the norm of each group's weights.

    .. math:: \|\tilde w_g\|_p = \Big(\sum_{i \in g} |w_i|^p\Big)^{1/p}, \quad
              \|\tilde w_g\|_\infty = \max_{i \in g} |w_i|

    Parameters
    ----------
    kernel : tensor of shape (..., filters)
        Of a convolution or a dense layer, as Keras keeps it.
    n_groups : int
        Groups as by :func:`group_slices`.
    p : float
        From 1 to ``inf``.

    Returns
    -------
    tensor of shape (n_groups,)
        At least 0; 0 for a group of zeros, and then the gradient is 0 too.

    Raises
    ------
    ValueError
        If p is below 1, or the filters cannot be divided into so many groups.
    """
    check_exponent("p", p)
    n_filters = kernel.shape[-1]
    slices = group_slices(n_filters, n_groups)
    padding = n_filters
    members = np.full((slices[0].stop, n_groups), padding)
    for group, filters in enumerate(slices):
        members[: filters.stop - filters.start, group] = np.arange(filters.start, filters.stop)
    each_filter = _norm(ops.reshape(kernel, (-1, n_filters)), p)
    return _norm(ops.take(ops.pad(each_filter, (0, 1)), members), p)


def strengths_of(
    model: keras.Model, n_groups: int, p: float = 2.0, layers: Sequence[str] | None = None
) -> dict[str, np.ndarray]:
    """Return the strengths (n_groups,) of the groups of several layers by :func:`group_strengths`.

    Parameters
    ----------
    model : keras.Model
    n_groups : int
    p : float
    layers : sequence of str, optional
        Layers with a kernel; by default every convolution.

    Returns
    -------
    dict of str to float array of shape (n_groups,)
        Layer → strengths.

    Raises
    ------
    ValueError
        If a layer is unknown, or has fewer filters than groups.
    """
    chosen = chosen_layers(model, layers)
    return {layer.name: ops.convert_to_numpy(group_strengths(layer.kernel, n_groups, p)) for layer in chosen}


def block_norm(kernel, n_groups: int, p: float = 2.0, q: float = 1.0):
    r"""Compute the block norm of a kernel: a norm of its groups' norms.

    .. math:: \Omega(w) = \big\| (\|\tilde w_1\|_p, \ldots, \|\tilde w_G\|_p) \big\|_q

    With p = 2 and q = 1 (group lasso without weights for the groups' sizes) whole groups are driven to zero;
    with p = q = 2 it is the norm of all weights.

    Parameters
    ----------
    kernel : tensor of shape (..., filters)
    n_groups : int
        Groups as by :func:`group_slices`.
    p, q : float
        From 1 to ``inf``.

    Returns
    -------
    scalar tensor
        At least 0; 0 for a kernel of zeros only.

    Raises
    ------
    ValueError
        If p or q is below 1, or the filters cannot be divided into so many groups.

    References
    ----------
    Paper C, the general block norm; p, q and the number of groups in :class:`BlockNorm` are those of the
    authors' code.
    """
    check_exponent("q", q)
    return _norm(group_strengths(kernel, n_groups, p), q)


def _norm(x, p: float):
    """Return the p-norm along the first axis, without overflow, and with gradient 0 where it has none."""
    size = ops.abs(x)
    largest = ops.max(size, axis=0)
    if math.isinf(p):
        return largest
    scale = ops.stop_gradient(ops.where(largest > 0, largest, ops.ones_like(largest)))
    relative = size / scale
    total = ops.sum(ops.square(relative) if p == 2 else relative**p, axis=0)
    is_zero = total == 0
    root = ops.where(is_zero, ops.ones_like(total), total) ** (1 / p)
    return ops.where(is_zero, ops.zeros_like(total), scale * root)


def check_exponent(name: str, value: float) -> None:
    """Refuse an exponent that makes no norm."""
    if not value >= 1:
        raise ValueError(f"{name} must be between 1 and inf, got {value}")


@keras.saving.register_keras_serializable("cnninte_utils")
class WeightDecay(keras.Regularizer):
    r"""Penalise large weights.

    .. math:: \lambda \, \tfrac{1}{2} \|w\|_2^2

    Parameters
    ----------
    strength : float
        The factor λ, at least 0.

    References
    ----------
    Paper C, the regulariser that block norm is compared with.
    """

    def __init__(self, strength: float = 0.005):
        checks.not_negative(strength=strength)
        self.strength = float(strength)

    def __call__(self, x):
        """Return the penalty, a scalar."""
        return self.strength * 0.5 * ops.sum(ops.square(x))

    def get_config(self) -> dict:
        """Return what makes the regulariser again."""
        return {"strength": self.strength}


@keras.saving.register_keras_serializable("cnninte_utils")
class BlockNorm(keras.Regularizer):
    r"""Penalise groups of filters by :func:`block_norm`.

    .. math:: \lambda \, \big\| (\|\tilde w_1\|_p, \ldots, \|\tilde w_G\|_p) \big\|_q

    Parameters
    ----------
    n_groups : int
    p, q : float
        From 1 to ``inf``.
    strength : float
        The factor λ, at least 0.

    Raises
    ------
    ValueError
        If a value is out of range; when called, if a layer has fewer filters than groups.

    Notes
    -----
    By its gradient an optimizer brings a group close to zero but not to it; :class:`ProximalStep` does.

    References
    ----------
    Paper C; the defaults are those of the authors' code.
    """

    def __init__(self, n_groups: int = 5, p: float = 2.0, q: float = 1.0, strength: float = 0.005):
        self.n_groups, self.p, self.q, self.strength = n_groups, float(p), float(q), float(strength)
        checks.at_least(1, n_groups=n_groups)
        check_exponent("p", self.p)
        check_exponent("q", self.q)
        checks.not_negative(strength=self.strength)

    def __call__(self, x):
        """Return the penalty, a scalar."""
        return self.strength * block_norm(x, self.n_groups, self.p, self.q)

    def get_config(self) -> dict:
        """Return what makes the regulariser again; JSON has no infinity, so that it goes as a word."""
        p, q = ("inf" if math.isinf(value) else value for value in (self.p, self.q))
        return {"n_groups": self.n_groups, "p": p, "q": q, "strength": self.strength}


def kernel_options(layer: keras.Layer) -> list[str]:
    """Return the options of a layer that take a regulariser for its kernels; of most one, or none."""
    options = ("kernel_regularizer", "depthwise_regularizer", "pointwise_regularizer")
    return [option for option in options if option in layer.get_config()]


def regularized(
    model: keras.Model, regularizer: keras.Regularizer, layers: Sequence[str] | None = None
) -> keras.Model:
    """Return a copy of a model with the same weights whose kernels carry a regulariser.

    Parameters
    ----------
    model : keras.Model
        A functional model; it is not altered.
    regularizer : keras.Regularizer
        It replaces one that a kernel has already; biases go without.
    layers : sequence of str, optional
        Layers with a kernel (of separable convolutions both); by default every ``Conv2D`` and
        :class:`~cnninte_utils.networks.parts.GroupedConv2D`, whose filters are its last axis.

    Returns
    -------
    keras.Model
        Compiled as the model is, if it is; the optimizer starts anew.

    Raises
    ------
    ValueError
        If a layer is unknown or has no kernel, or by default if there is no convolution.
    """
    names = {layer.name for layer in chosen_layers(model, layers)}
    if layers is None and not names:
        raise ValueError(f"{model.name} has no convolution to regularise: name its layers")

    def cloned(layer):
        config = layer.get_config()
        if layer.name in names:
            options = kernel_options(layer)
            if not options:
                raise ValueError(
                    f"layer {layer.name!r}, a {type(layer).__name__}, has no kernel to regularise"
                )
            config |= dict.fromkeys(options, regularizer)
        return type(layer).from_config(config)

    copy = keras.models.clone_model(model, clone_function=cloned)
    copy.set_weights(model.get_weights())
    return copy


def shrunk_groups(kernel, n_groups: int, threshold: float):
    r"""Shrink each group of filters, those no stronger than the threshold to exactly zero.

    .. math:: \tilde w_g \, \max(0, 1 - \tau / \|\tilde w_g\|_2)
              = \arg\min_v \tfrac{1}{2} \|v - \tilde w_g\|_2^2 + \tau \|v\|_2

    the proximal operator of τ times :func:`block_norm` with p = 2 and q = 1.

    Parameters
    ----------
    kernel : tensor of shape (..., filters)
    n_groups : int
        Groups as by :func:`group_slices`.
    threshold : float
        The τ, at least 0; 0 leaves the kernel as it is.

    Returns
    -------
    tensor of the kernel's shape

    References
    ----------
    Parikh, Boyd 2014, "Proximal Algorithms", Section 6.5.1.
    """
    kernel = ops.convert_to_tensor(kernel)
    strengths = group_strengths(kernel, n_groups)
    is_weak = strengths <= threshold
    factors = ops.where(is_weak, 0.0, 1 - threshold / ops.where(is_weak, 1.0, strengths))
    sizes = [filters.stop - filters.start for filters in group_slices(kernel.shape[-1], n_groups)]
    return kernel * ops.take(factors, np.repeat(np.arange(n_groups), sizes))


def _shrunk(kernel: np.ndarray, n_groups: int, threshold: float) -> np.ndarray:
    """Do what :func:`shrunk_groups` does, in a tenth of its time: one kernel after each batch is many."""
    groups = group_slices(kernel.shape[-1], n_groups)
    squares = np.square(kernel, dtype=np.float64).reshape(-1, kernel.shape[-1]).sum(axis=0)
    strengths = np.sqrt([squares[group].sum() for group in groups])
    with np.errstate(divide="ignore"):
        factors = np.where(strengths <= threshold, 0.0, 1 - threshold / strengths)
    sizes = [group.stop - group.start for group in groups]
    return (kernel * np.repeat(factors, sizes)).astype(kernel.dtype)


class _OfGroups(keras.callbacks.Callback):
    """What is done to groups of filters of some layers during training."""

    def __init__(self, layers: Sequence[str], n_groups: int):
        super().__init__()
        self.layers, self.n_groups = list(layers), n_groups

    def on_train_begin(self, logs=None):
        """Look whether the layers are there and can be divided.

        Raises
        ------
        ValueError
            If one is unknown, has no kernel, or fewer filters than groups.
        """
        for layer in chosen_layers(self.model, self.layers):
            if not hasattr(layer, "kernel"):
                raise ValueError(f"layer {layer.name!r}, a {type(layer).__name__}, has no kernel")
            try:
                group_slices(layer.kernel.shape[-1], self.n_groups)
            except ValueError as error:
                raise ValueError(f"{layer.name}: {error}") from None


class ProximalStep(_OfGroups):
    r"""Shrink groups of filters after every training batch, by proximal gradient descent.

    .. math:: w \leftarrow \text{shrunk\_groups}(w, G, \eta \lambda / (1 - \mu))

    with η the learning rate of that batch and μ the optimizer's momentum, so that the minimum is that of the
    penalised loss: a :class:`BlockNorm` with p = 2 and q = 1 in the loss, whose place it takes, minimises the
    same but never reaches zero.

    Parameters
    ----------
    layers : sequence of str
        Layers with a kernel.
    n_groups : int
    strength : float
        The factor λ, at least 0.

    Notes
    -----
    For gradient descent with or without momentum only: other optimizers' steps are not the learning rate
    times the gradient. Layers that are not trained are left as they are.
    """

    def __init__(self, layers: Sequence[str], n_groups: int = 5, strength: float = 0.005):
        super().__init__(layers, n_groups)
        checks.not_negative(strength=strength)
        self.strength = strength

    def on_train_begin(self, logs=None):
        """Look whether the layers can be shrunk, and the optimizer steps as it must.

        Raises
        ------
        ValueError
            If a layer is unknown, has no kernel or too few filters, the optimizer is not SGD, or Keras would
            take several batches in one go.
        """
        super().on_train_begin(logs)
        optimizer = self.model.optimizer
        self._optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # with loss scaling
        if not isinstance(self._optimizer, keras.optimizers.SGD):
            raise ValueError(f"the proximal step is for SGD, got {type(self._optimizer).__name__}")
        if self.model.steps_per_execution > 1:
            raise ValueError(
                "the proximal step follows every batch: compile the model with steps_per_execution=1, not "
                f"{self.model.steps_per_execution}"
            )

    def on_train_batch_begin(self, batch, logs=None):
        """Note the learning rate: after the batch, a schedule has moved on."""
        self._learning_rate = float(ops.convert_to_numpy(self._optimizer.learning_rate))

    def on_train_batch_end(self, batch, logs=None):
        """Shrink every kernel that is trained."""
        threshold = self._learning_rate * self.strength / (1 - self._optimizer.momentum)
        for layer in chosen_layers(self.model, self.layers):
            if layer.trainable:
                kernel = ops.convert_to_numpy(layer.kernel)
                layer.kernel.assign(_shrunk(kernel, self.n_groups, threshold))


class GroupStrengths(_OfGroups):
    """Log the strength of every group of filters after each epoch, as ``strength/{layer}/{group}``.

    It writes into the logs that Keras hands from one callback to the next: put it before those that keep
    them (the history that ``fit`` returns comes last of itself).

    Parameters
    ----------
    layers : sequence of str
        Layers with a kernel.
    n_groups : int
    p : float
        Of :func:`group_strengths`.
    """

    def __init__(self, layers: Sequence[str], n_groups: int = 5, p: float = 2.0):
        super().__init__(layers, n_groups)
        check_exponent("p", p)
        self.p = p

    def on_epoch_end(self, epoch, logs=None):
        """Write the strengths into `logs`."""
        for layer in chosen_layers(self.model, self.layers):
            strengths = group_strengths(layer.kernel, self.n_groups, self.p)
            for group, strength in enumerate(ops.convert_to_numpy(strengths)):
                logs[f"strength/{layer.name}/{group}"] = float(strength)
