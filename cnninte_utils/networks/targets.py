"""What is explained, and against what: the logit of a class or a combination of logits; a baseline."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import keras
import numpy as np
from scipy.special import softmax

from .. import checks
from .activations import predict
from .lookup import refuse_unbuilt

__all__ = [
    "OUTPUTS",
    "baselines",
    "cotangents",
    "logits",
    "neutral",
    "predictor",
    "prepared",
    "scores",
    "scores_of",
]

OUTPUTS = ("logit", "probability")
_BYTES_AT_ONCE = 2**26


def logits(model: keras.Model) -> keras.Model:
    """Return the model without the softmax at its end; weights are shared, the model is not altered.

    Gradients through a softmax vanish where the network is sure and mix the classes, and relevance through
    it is not well defined. A model without a softmax is returned as it is.

    Raises
    ------
    ValueError
        If the model has not one input and one output of shape (n, classes).
    """
    refuse_unbuilt(model)
    if len(model.inputs) != 1 or len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        raise ValueError(f"{model.name} must take one array of images and put out (n, classes)")
    image, output = model.inputs[0], model.outputs[0]
    functional = keras.Model(image, output, name=model.name)
    last = next(op for op in functional.operations if op.output is output)
    if isinstance(last, keras.layers.Softmax):
        return keras.Model(image, last.input, name=model.name)
    if getattr(last, "activation", None) is not keras.activations.softmax:
        return functional
    if not isinstance(last, keras.layers.Dense):
        return keras.Model(image, last.input, name=model.name)
    linear = keras.layers.Dense(last.units, use_bias=last.use_bias, name=last.name)
    functional = keras.Model(image, linear(last.input), name=model.name)
    linear.set_weights(last.get_weights())
    return functional


def cotangents(targets: np.ndarray, n_images: int, n_classes: int) -> np.ndarray:
    r"""Return the vectors :math:`v` such that :math:`v \cdot f(x)` is what is explained of each image.

    Parameters
    ----------
    targets : int array of shape (n_images,), or float array of shape (n_images, n_classes)
        The class of each image, or the vectors themselves: 1 and -1 explain the difference of two logits.

    Returns
    -------
    ndarray of shape (n_images, n_classes), float32

    Raises
    ------
    ValueError
        If the targets are neither, not finite, or there is no such class.

    Examples
    --------
    >>> cotangents([2, 0], 2, 3).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    targets = np.asarray(targets)
    if targets.shape == (n_images,) and np.issubdtype(targets.dtype, np.integer):
        if targets.min() < 0 or targets.max() >= n_classes:
            raise ValueError(f"targets must be classes from 0 to {n_classes - 1}, got {targets.tolist()}")
        return np.eye(n_classes, dtype=np.float32)[targets]
    if targets.shape != (n_images, n_classes) or not np.issubdtype(targets.dtype, np.floating):
        raise ValueError(
            f"targets must be {n_images} whole numbers, the classes, or floats of shape "
            f"({n_images}, {n_classes}), got {targets.dtype} {targets.shape}"
        )
    checks.finite(targets=targets)
    return targets.astype(np.float32)


def prepared(
    model: keras.Model, images: np.ndarray, targets: np.ndarray
) -> tuple[keras.Model, np.ndarray, np.ndarray]:
    """Return the model up to its logits, the images as float32, and the cotangents.

    Raises
    ------
    ValueError
        As :func:`logits` and :func:`cotangents`; if the images do not fit or are not in [0, 1].
    """
    model = logits(model)
    images = checks.images(images, model.input_shape[1:])
    return model, images, cotangents(targets, len(images), model.output_shape[1])


def predictor(
    model: keras.Model | Callable[[np.ndarray], np.ndarray], output: str = "logit"
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function of images in [0, 1] to outputs (n, classes): all that some methods need.

    Parameters
    ----------
    model : keras.Model, or callable
        A callable (n, height, width, channels) → (n, classes) is any classifier, of which nothing else need
        be known; what it puts out is taken as it is.
    output : {"logit", "probability"}
        Of a network.

    Raises
    ------
    ValueError
        If the output is unknown; the function, if it puts out anything else than a row for each image.
    """
    checks.choice("output", output, OUTPUTS)
    network = logits(model) if isinstance(model, keras.Model) else None

    def outputs(images: np.ndarray) -> np.ndarray:
        found = np.asarray(model(checks.images(images))) if network is None else predict(network, images)
        if found.ndim != 2 or len(found) != len(images):
            raise ValueError(f"expected a row of outputs for each of {len(images)} images, got {found.shape}")
        return softmax(found, axis=1) if network is not None and output == "probability" else found

    return outputs


def scores(
    model: keras.Model | Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    targets: np.ndarray,
    *,
    output: str = "logit",
) -> np.ndarray:
    """Return the number that is explained of each image.

    Parameters
    ----------
    model, output
        As for :func:`predictor`.
    images : float array of shape (n, height, width, channels), in [0, 1]
    targets : int array of shape (n,), or float array of shape (n, classes)

    Returns
    -------
    ndarray of shape (n,), float32
    """
    found = predictor(model, output)(images)
    return (found * cotangents(targets, *found.shape)).sum(axis=1).astype(np.float32)


def scores_of(
    outputs: Callable[[np.ndarray], np.ndarray], variants: Iterable[np.ndarray], vectors: np.ndarray
) -> Iterator[np.ndarray]:
    """Yield the scores of each variant of the same images, several variants at once if the images are few.

    Parameters
    ----------
    outputs : callable
        Images → outputs, as :func:`predictor` makes it.
    variants : iterable of float arrays of shape (n, height, width, channels), in [0, 1]
    vectors : ndarray of shape (n, classes)
        :func:`cotangents`.

    Yields
    ------
    ndarray of shape (n,), float32
    """
    variants, n = iter(variants), len(vectors)
    for first in variants:
        some = [first, *islice(variants, max(1, _BYTES_AT_ONCE // first.nbytes) - 1)]
        found = outputs(np.concatenate(some)).reshape(len(some), n, -1)
        yield from (found * vectors).sum(axis=2).astype(np.float32)


def neutral(model: keras.Model) -> np.ndarray:
    """Return the image that the network standardises to zero: its mean colour, or black if it has none.

    Returns
    -------
    ndarray of shape (height, width, channels), float32 in [0, 1]

    Raises
    ------
    ValueError
        If the network takes images of any size.
    """
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    shape = model.input_shape[1:]
    if None in shape:
        raise ValueError(f"{model.name} takes images of any size: name the baseline")
    if not layers or not isinstance(layers[0], keras.layers.Normalization | keras.layers.Rescaling):
        return np.zeros(shape, np.float32)
    black, white = (np.asarray(layers[0](np.full((1, *shape), end, np.float32)))[0] for end in (0, 1))
    return np.clip(black / (black - white), 0, 1).astype(np.float32)


def baselines(
    model: keras.Model | Callable, images: np.ndarray, baseline: float | np.ndarray | None = None
) -> np.ndarray:
    """Return what each image is compared with, or what takes the place of what is hidden.

    Parameters
    ----------
    model : keras.Model, or callable
    images : float array of shape (n, height, width, channels)
    baseline : float, or array of shape (channels,), (height, width, channels) or that of the images
        In [0, 1]. By default :func:`neutral`; black for a callable.

    Returns
    -------
    ndarray of the images' shape, float32, read-only

    Raises
    ------
    ValueError
        If it is not in [0, 1], or does not fit.
    """
    if baseline is None:
        baseline = neutral(model) if isinstance(model, keras.Model) else 0.0
    baseline = np.asarray(baseline, np.float32)
    try:
        baseline = np.broadcast_to(baseline, images.shape)
    except ValueError:
        raise ValueError(f"a baseline of shape {baseline.shape} does not fit images {images.shape}") from None
    low, high = float(baseline.min()), float(baseline.max())
    checks.require(low >= 0 and high <= 1, "baseline", (low, high), "numbers in [0, 1]")
    return baseline
