"""Which filters a class hangs on: a sparse linear reading of how strongly each filter answers."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import keras
import numpy as np
from sklearn.linear_model import lars_path

from ... import checks
from ...networks import targets as explained
from ...networks.activations import predict
from ...networks.lookup import chosen_layers, feature_layers
from ..card import Card
from .rectifiers import guided

__all__ = ["CARDS", "ClassFeatures", "class_filter", "filter_norms", "fit", "without"]

Filter = tuple[str, int]


@dataclass(frozen=True, eq=False)
class ClassFeatures:
    """What :func:`fit` found.

    Parameters
    ----------
    filters : tuple of (str, int)
        Layer and number of each filter, in the order of :func:`filter_norms`.
    weights : ndarray of shape (filters, classes)
        For standardised norms; nearly all are 0.
    agreement : float
        Share of the images whose class the linear reading finds as the network does.
    mean, scale : ndarrays of shape (filters,)
        Of the norms, over the images.
    """

    filters: tuple[Filter, ...] = field(repr=False)
    weights: np.ndarray = field(repr=False)
    agreement: float
    mean: np.ndarray = field(repr=False)
    scale: np.ndarray = field(repr=False)

    def of_class(self, label: int) -> list[Filter]:
        """Return the filters with weights for a class, the largest first (whatever its sign)."""
        weights = self.weights[:, label]
        order = np.argsort(-np.abs(weights), kind="stable")
        return [self.filters[k] for k in order if weights[k]]

    def strongest(self, norms: np.ndarray, label: int, n: int = 1) -> list[Filter]:
        r"""Return the filters that speak most for a class in one image: the largest :math:`w_{ic} x_i`.

        Those that speak against it, or are silent, are left out.

        Parameters
        ----------
        norms : float array of shape (filters,)
            A row of :func:`filter_norms`.
        """
        worth = self.weights[:, label] * norms / self.scale
        return [self.filters[k] for k in np.argsort(-worth, kind="stable")[:n] if worth[k] > 0]


def filter_norms(
    model: keras.Model, images: np.ndarray, layers: Sequence[str] | None = None
) -> tuple[np.ndarray, tuple[Filter, ...]]:
    r"""Return how strongly each filter answers to each image: :math:`x_i = \lVert A_i \rVert_2`.

    Parameters
    ----------
    model : keras.Model
    images : float array of shape (n, height, width, channels), in [0, 1], or Split
    layers : sequence of str, optional
        With feature maps; by default the rectified maps of all convolutions.

    Returns
    -------
    norms : ndarray of shape (n, filters), float32
    filters : tuple of (str, int)

    Raises
    ------
    ValueError
        If a layer is unknown or has no feature maps, or the images do not fit.
    """
    found = chosen_layers(model, list(dict.fromkeys(feature_layers(model))) if layers is None else layers)
    for layer in found:
        if len(layer.output.shape) != 4:
            raise ValueError(f"{layer.name} has no feature maps, its output is {layer.output.shape}")
    squares = [keras.ops.sum(keras.ops.square(layer.output), axis=(1, 2)) for layer in found]
    names = tuple((layer.name, k) for layer in found for k in range(layer.output.shape[-1]))
    joined = keras.ops.sqrt(keras.ops.concatenate(squares, axis=-1) if len(squares) > 1 else squares[0])
    return predict(keras.Model(model.inputs, joined), images), names


def fit(
    model: keras.Model,
    images: np.ndarray,
    n_filters: int = 10,
    *,
    layers: Sequence[str] | None = None,
) -> ClassFeatures:
    r"""Read the network's classes off a few filters each.

    .. math:: \min_w \lVert X w_c - L_c \rVert^2 \quad \text{such that} \quad \lVert w_c \rVert_1 \le \mu_c

    with X the standardised norms of :func:`filter_norms`, :math:`L_c` 1 for images that the *network* takes
    for class c and 0 for others, centred, and :math:`\mu_c` as large as leaves `n_filters` weights.

    Parameters
    ----------
    model : keras.Model
    images : float array of shape (n, height, width, channels), in [0, 1], or Split
        Training images: labels are not looked at.
    n_filters : int
        For each class, at most.
    layers
        As for :func:`filter_norms`.

    Raises
    ------
    ValueError
        If the network takes all images for one class; as :func:`filter_norms`.

    References
    ----------
    Oramas, Wang, Tuytelaars 2019, "Visual Explanation by Interpretation", Section 3.1.
    """
    checks.at_least(1, n_filters=n_filters)
    norms, filters = filter_norms(model, images, layers)
    outputs = predict(model, images)
    classes = outputs.argmax(axis=1)
    if len(np.unique(classes)) < 2:
        raise ValueError(f"{model.name} takes all {len(classes)} images for class {classes[0]}")
    mean, scale = norms.mean(axis=0, dtype=float), norms.std(axis=0, dtype=float)
    scale = np.where(scale > 0, scale, 1.0)
    x = (norms - mean) / scale
    wanted = np.eye(outputs.shape[1])[classes]
    center = wanted.mean(axis=0)
    weights = np.zeros((x.shape[1], outputs.shape[1]))
    gram = x.T @ x
    for label in np.unique(classes):
        target = wanted[:, label] - center[label]
        _, _, path = lars_path(x, target, Gram=gram, Xy=x.T @ target, method="lasso", max_iter=n_filters)
        weights[:, label] = path[:, -1]
    read = (x @ weights + center).argmax(axis=1)
    return ClassFeatures(filters, weights, float((read == classes).mean()), mean, scale)


def class_filter(
    model: keras.Model, images: np.ndarray, targets: np.ndarray, *, features: ClassFeatures
) -> np.ndarray:
    """Draw, by guided backpropagation, what the filter saw that speaks most for a class in each image.

    Parameters
    ----------
    model : keras.Model
        Of layers that :func:`cnninte_utils.methods.attribution.rectifiers.guided` has rules for.
    images : float array of shape (n, height, width, channels), in [0, 1]
    targets : int array of shape (n,)
    features : ClassFeatures
        Fitted to this network by :func:`fit`.

    Returns
    -------
    ndarray of shape (n, height, width, channels), float32, signed
        Of the filter's whole map; where no filter speaks for the class, of the class's first filter, and zero
        if it has none.

    Raises
    ------
    ValueError
        If the images do not fit or are not in [0, 1], or the targets are no classes.

    References
    ----------
    Oramas, Wang, Tuytelaars 2019, Section 3.2.
    """
    _, images, vectors = explained.prepared(model, images, targets)
    layers = list(dict.fromkeys(name for name, _ in features.filters))
    norms, _ = filter_norms(model, images, layers)
    chosen = [
        (features.strongest(row, label) or features.of_class(label) or [None])[0]
        for row, label in zip(norms, vectors.argmax(axis=1).tolist(), strict=True)
    ]
    found = np.zeros_like(images)
    for layer in layers:
        rows = [i for i, filter_ in enumerate(chosen) if filter_ and filter_[0] == layer]
        if rows:
            output = keras.layers.GlobalAveragePooling2D()(chosen_layers(model, [layer])[0].output)
            numbers = np.array([chosen[i][1] for i in rows])
            found[rows] = guided(keras.Model(model.inputs, output), images[rows], numbers)
    return found


def without(model: keras.Model, filters: Sequence[Filter]) -> keras.Model:
    """Return a copy of the network in which some filters put out zeros.

    Parameters
    ----------
    model : keras.Model
        Functional; it is not altered.
    filters : sequence of (str, int)
        Layer with feature maps, and which of them.

    Raises
    ------
    ValueError
        If a layer is unknown or has no such filter.
    """
    masks = {}
    for name, unit in filters:
        (layer,) = chosen_layers(model, [name])
        mask = masks.setdefault(name, np.ones(layer.output.shape[-1], np.float32))
        checks.units([unit], len(mask))
        mask[unit] = 0

    def call(layer, *inputs, **options):
        output = layer(*inputs, **options)
        return output * masks[layer.name] if layer.name in masks else output

    copy = keras.models.clone_model(model, clone_function=_again, call_function=call)
    copy.set_weights(model.get_weights())
    return copy


def _again(layer: keras.Layer) -> keras.Layer:
    return layer.__class__.from_config(layer.get_config())


CARDS = (
    Card(
        name="Class features", function="attribution.class_features.class_filter",
        question="What did the filter see that speaks most for a class?",
        access="layers", output="signed, per channel", passes="2 F + 1 B", trains=True, reduction="absolute",
        fails="A linear reading of the filters agrees with the network in part only; the strokes are guided.",
        source="Oramas, Wang, Tuytelaars 2019",
    ),
)  # fmt: skip
