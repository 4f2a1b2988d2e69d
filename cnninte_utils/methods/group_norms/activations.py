"""Penalties on feature maps: units of a group active in the same place, and each in one place (paper C)."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from ... import checks
from ...networks.lookup import chosen_layers, has_activation
from .weights import group_slices

__all__ = ["ActivationRegularizer", "group_loss", "observed", "soft_mask", "spatial_loss"]

_STD_FLOOR = 0.005
_MASS_FLOOR = 1e-4
_PAIRS_PER_UNIT = 3


def soft_mask(x):
    r"""Compute where each unit is active, between no (0) and yes (1).

    .. math:: \psi = \operatorname{sigmoid}\big(x / (\sigma_u + 0.005)\big)

    with :math:`\sigma_u` a unit's standard deviation over batch and positions; x is not centred.

    Parameters
    ----------
    x : tensor of shape (n, height, width, units)
        Feature maps before the ReLU.

    Returns
    -------
    tensor of the same shape
        Between 0 and 1; ½ for a unit that is 0 everywhere.

    References
    ----------
    Paper C, Fig. 1; the formula is that of the authors' code (but for the standard deviation, which there
    divides by one position less).
    """
    return ops.sigmoid(x / (_root(ops.var(x, axis=(0, 1, 2), keepdims=True)) + _STD_FLOOR))


def group_loss(mask, n_groups: int, seed=None):
    r"""Compute how much the units of a group are active in different places.

    Over random pairs (a, b) of a group's units, the weighted Jaccard distance of their maps in one image

    .. math:: \frac{2 \|a - b\|_1}{\|a\|_1 + \|b\|_1 + \|a - b\|_1}
              = 1 - \frac{\sum \min(a, b)}{\sum \max(a, b)}

    averaged over images and 3⌊units / n_groups⌋ pairs, and summed over groups.

    Parameters
    ----------
    mask : tensor of shape (n, height, width, units)
        At least 0, as from :func:`soft_mask`.
    n_groups : int
        Groups as by :func:`~cnninte_utils.methods.group_norms.weights.group_slices`.
    seed : int or keras.random.SeedGenerator, optional
        Of the pairs: a number draws the same ones at every call, a generator others each time.

    Returns
    -------
    scalar tensor
        Between 0, if the maps in a group are the same, and `n_groups`, if they are disjoint. A group of one
        unit contributes 0, and so does a pair that is active nowhere.

    Raises
    ------
    ValueError
        If the units cannot be divided into so many groups.

    References
    ----------
    Paper C, Fig. 1. The authors' code draws the same pairs in every group, and leaves out the last units
    where the groups do not come out even.
    """
    mask = ops.convert_to_tensor(mask)
    groups = group_slices(mask.shape[-1], n_groups)
    n_pairs = _PAIRS_PER_UNIT * (mask.shape[-1] // n_groups)
    seed = seed if isinstance(seed, keras.random.SeedGenerator) else keras.random.SeedGenerator(seed)
    first, second = (ops.one_hot(units, mask.shape[-1]) for units in _pairs(groups, n_pairs, seed))
    return n_groups * ops.mean(_jaccard_distance(mask, first, second))


def _pairs(groups: list[slice], n_pairs: int, seed):
    """Draw as many pairs from each group, of distinct units if it has several; group after group."""
    starts = _repeated([group.start for group in groups], n_pairs)
    sizes = _repeated([group.stop - group.start for group in groups], n_pairs)
    draws = keras.random.uniform((2, n_pairs * len(groups)), seed=seed)
    first, step = _below(draws[0], sizes), 1 + _below(draws[1], sizes - 1)
    return starts + first, starts + (first + step) % sizes


def _repeated(numbers: list[int], n: int):
    return ops.convert_to_tensor(np.repeat(numbers, n), "int32")


def _below(draws, n):
    """Turn draws from [0, 1) into whole numbers below n, which may round up to n in float32."""
    return ops.minimum(ops.cast(draws * ops.cast(n, draws.dtype), "int32"), n - 1)


def _jaccard_distance(mask, first, second):
    """Return the distances (n, pairs) of pairs of units, named by one-hot vectors (pairs, units)."""
    difference = ops.sum(ops.abs(ops.matmul(mask, ops.transpose(first - second))), axis=(1, 2))
    total = ops.matmul(ops.sum(mask, axis=(1, 2)), ops.transpose(first + second)) + difference
    return 2 * difference / ops.maximum(total, keras.config.epsilon())


def spatial_loss(mask):
    r"""Compute how far each unit's activity is spread over the image.

    .. math:: \frac{\sum_p \psi_p \|p - c\|_2}{\sum_p \psi_p + 10^{-4}}, \quad
              c = \frac{\sum_p \psi_p \, p}{\sum_p \psi_p}

    averaged over images and units.

    Parameters
    ----------
    mask : tensor of shape (n, height, width, units)
        At least 0, as from :func:`soft_mask`.

    Returns
    -------
    scalar tensor
        In pixels of the feature map, at least 0; 0 if each map has one active pixel, or none. The gradient is
        finite also where the centroid falls on a pixel, unlike that of the authors' code.

    References
    ----------
    Paper C, Fig. 1; the formula is that of the authors' code.
    """
    mask = ops.convert_to_tensor(mask)
    _, height, width, _ = mask.shape
    rows = ops.reshape(ops.arange(height, dtype=mask.dtype), (1, height, 1, 1))
    columns = ops.reshape(ops.arange(width, dtype=mask.dtype), (1, 1, width, 1))
    mass = ops.sum(mask, axis=(1, 2), keepdims=True)
    share = mask / ops.maximum(mass, keras.config.epsilon())
    row = ops.sum(share * rows, axis=(1, 2), keepdims=True)
    column = ops.sum(share * columns, axis=(1, 2), keepdims=True)
    distance = _root(ops.square(rows - row) + ops.square(columns - column))
    return ops.mean(ops.sum(mask * distance, axis=(1, 2), keepdims=True) / (mass + _MASS_FLOOR))


def _root(x):
    """Return the square root, with gradient 0 at 0."""
    is_positive = x > 0
    return ops.where(is_positive, ops.sqrt(ops.where(is_positive, x, ops.ones_like(x))), ops.zeros_like(x))


@keras.saving.register_keras_serializable("cnninte_utils")
class ActivationRegularizer(keras.layers.Layer):
    r"""Let feature maps through, and in training add to the loss how they are spread.

    .. math:: (\lambda_g \, L_{group} + \lambda_s \, L_{spatial}) / n_{layers}

    with :func:`group_loss` and :func:`spatial_loss` of their :func:`soft_mask`. Both, without their factors,
    are also metrics of the model, ``{name}_group_loss`` and ``{name}_spatial_loss``; not on JAX, where Keras
    lets no layer update a metric. It has no weights, and does nothing at inference: Keras then logs both
    metrics as 0.

    Parameters
    ----------
    group, spatial : float
        The factors :math:`\lambda_g` and :math:`\lambda_s`, at least 0.
    n_groups : int
    n_layers : int
        How many layers the model's losses are averaged over.
    seed : int
        Of the pairs of units, drawn afresh for every batch.

    Raises
    ------
    ValueError
        If a factor is negative or not finite; when called, if there are fewer units than groups, or the input
        is not feature maps of known size.

    References
    ----------
    Paper C, Fig. 1.
    """

    def __init__(self, group=0.0, spatial=0.0, n_groups=5, n_layers=1, seed=0, **options):
        super().__init__(**options)
        checks.not_negative(group=group, spatial=spatial)
        self.group, self.spatial = group, spatial
        self.n_groups, self.n_layers, self.seed = n_groups, n_layers, seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        has_metrics = keras.backend.backend() != "jax"
        self._group_loss = keras.metrics.Mean(f"{self.name}_group_loss") if has_metrics else None
        self._spatial_loss = keras.metrics.Mean(f"{self.name}_spatial_loss") if has_metrics else None

    def build(self, input_shape):
        """Check that the feature maps can be divided."""
        if len(input_shape) != 4 or None in input_shape[1:]:
            raise ValueError(f"{self.name} takes feature maps (n, height, width, units), got {input_shape}")
        group_slices(input_shape[-1], self.n_groups)

    def call(self, inputs, training=False):
        """Return the inputs."""
        if training:
            mask = soft_mask(ops.cast(inputs, "float32"))
            self._add(self.group, group_loss(mask, self.n_groups, self.seed_generator), self._group_loss)
            self._add(self.spatial, spatial_loss(mask), self._spatial_loss)
        return inputs

    def _add(self, factor: float, loss, metric: keras.metrics.Metric | None) -> None:
        if metric is not None:
            metric.update_state(loss)
        if factor:
            self.add_loss(factor / self.n_layers * loss)

    def get_config(self):
        """Return what makes the layer again."""
        names = ("group", "spatial", "n_groups", "n_layers", "seed")
        return super().get_config() | {name: getattr(self, name) for name in names}


def observed(
    model: keras.Model,
    *,
    group: float = 0.0,
    spatial: float = 0.0,
    n_groups: int = 5,
    seed: int = 0,
    layers: Sequence[str] | None = None,
) -> keras.Model:
    """Return a copy of a model with the same weights and a penalty on its feature maps.

    An :class:`ActivationRegularizer` follows each convolution, or its batch normalisation if it has one,
    before the activation; its name is ``regularizer_{convolution}``. A convolution with an activation of its
    own is split: its layer then puts out what goes into the activation, which becomes the layer
    ``{activation}_{convolution}``.

    Parameters
    ----------
    model : keras.Model
        A functional model; it is not altered.
    group, spatial : float
        The factors of :func:`group_loss` and :func:`spatial_loss`, which are averaged over layers; with 0 a
        loss is only measured.
    n_groups : int
    seed : int
    layers : sequence of str, optional
        Convolutions; by default all of them.

    Returns
    -------
    keras.Model
        It gives the model's outputs. Its weights go back layer by layer, as
        ``Weights.of(copy).put_into(model)`` (:class:`~cnninte_utils.networks.weights.Weights`): where the
        model has branches, Keras may list the layers in another order.

    Raises
    ------
    ValueError
        If a layer is unknown or not a convolution, the model has none or is ``Sequential``, or a layer has
        fewer units than groups.

    References
    ----------
    Paper C, Fig. 1.
    """
    convolutions = chosen_layers(model, layers)
    _check_convolutions(model, convolutions)
    options = {"group": group, "spatial": spatial, "n_groups": n_groups, "n_layers": len(convolutions)}
    split = {layer.name for layer in convolutions if has_activation(layer)}
    inserted = {
        _end(model, convolution): [
            ActivationRegularizer(
                **options,
                seed=seed + step,
                name=f"regularizer_{convolution.name}",
                dtype=convolution.dtype_policy,
            ),
            *_activation(convolution),
        ]
        for step, convolution in enumerate(convolutions)
    }

    def cloned(layer):
        linear = {"activation": "linear"} if layer.name in split else {}
        return type(layer).from_config(layer.get_config() | linear)

    def called(layer, *args, **kwargs):
        x = layer(*args, **kwargs)
        for follower in inserted.get(layer.name, []):
            x = follower(x)
        return x

    copy = keras.models.clone_model(model, clone_function=cloned, call_function=called)
    for layer in (layer for layer in model.layers if layer.weights):  # Keras may rename the input
        copy.get_layer(layer.name).set_weights(layer.get_weights())
    return copy


def _check_convolutions(model: keras.Model, layers: list[keras.Layer]) -> None:
    others = [layer.name for layer in layers if not isinstance(layer, keras.layers.Conv2D)]
    if others:
        raise ValueError(f"only feature maps of convolutions are observed, {', '.join(others)} is none")
    if not layers:
        raise ValueError(f"{model.name} has no convolutions to observe")
    if isinstance(model, keras.Sequential):
        raise ValueError(
            f"expected a functional model, got the Sequential {model.name}: give "
            "keras.Model(model.inputs, model.outputs)"
        )


def _activation(convolution: keras.layers.Conv2D) -> list[keras.Layer]:
    """Return a convolution's own activation as a layer, or nothing."""
    if not has_activation(convolution):
        return []
    function = convolution.activation
    name = getattr(function, "__name__", type(function).__name__.lower()).strip("<>")
    if isinstance(function, keras.layers.Layer):
        function = type(function).from_config(function.get_config())
    options = {"name": f"{name}_{convolution.name}", "dtype": convolution.dtype_policy}
    return [keras.layers.Activation(function, **options)]


def _end(model: keras.Model, convolution: keras.layers.Conv2D) -> str:
    """Return the layer whose output goes into the activation: the convolution or its batch normalisation."""
    if not has_activation(convolution):
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization) and layer.input is convolution.output:
                return layer.name
    return convolution.name
