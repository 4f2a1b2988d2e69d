"""Classifier-agnostic masks: a network that learns which pixels any classifier would miss."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import keras
import numpy as np
from keras import layers, ops

from ... import checks
from ...datasets import Split
from ...networks import targets as explained
from ...networks.activations import predict
from ...networks.lookup import chosen_layers
from ..card import Card

__all__ = ["CARDS", "Extractor", "agnostic_mask", "fit"]


@dataclass(frozen=True, eq=False)
class Extractor:
    """A fitted network that makes masks of images, without being told a class.

    Parameters
    ----------
    network : keras.Model
        Images → masks of shape (n, height, width, 1).
    n_classes : int
        Of the classifiers that it was fitted to.
    losses : tuple of float
        Mean of each epoch.
    """

    network: keras.Model = field(repr=False)
    n_classes: int
    losses: tuple[float, ...]

    def masks(self, images: np.ndarray | Split) -> np.ndarray:
        """Return a mask of each image, (n, height, width, 1), float32 in [0, 1]: 1 is to be erased."""
        return predict(self.network, images)


def fit(
    models: keras.Model | Sequence[keras.Model],
    images: np.ndarray,
    labels: np.ndarray,
    *,
    area_weight: float = 10.0,
    n_filters: int = 16,
    epochs: int = 8,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    random_state: int = 0,
) -> Extractor:
    r"""Learn to mask the pixels without which classifiers no longer know what they see.

    .. math:: \min_\theta \; \mathbb{E} \Big[ r(x) \sum_c q_c \log q_c \; - \; \lambda \max(0, \, r(x) \,
              w(\tilde x) - \overline m) \Big], \qquad \tilde x = x \odot (1 - m) + b \odot m, \quad
              q = f(\tilde x)

    with m the mask, θ the extractor's weights, b the first classifier's mean colour, f a classifier drawn
    anew for each image and step, r(x) whether f is right about the image, w whether it is wrong about what is
    left, and λ the weight of the area. The first term wants f not to know, the second a small mask where that
    is done.

    The extractor reads the first classifier's feature maps, the last of each size. In the paper the
    classifiers are the earlier states of one that is trained along, on masked images too; here they are
    given, and stay as they are.

    Parameters
    ----------
    models : keras.Model, or sequence of them
        Classifiers of images of one shape and of one set of classes.
    images : float array of shape (n, height, width, channels), in [0, 1]
    labels : int array of shape (n,)
    area_weight : float
        λ, above zero.
    n_filters : int
        Of the extractor's convolutions.
    epochs, batch_size : int
    learning_rate : float
    random_state : int

    Returns
    -------
    Extractor

    Raises
    ------
    ValueError
        If the classifiers differ in shapes, the first has no convolution, the images or labels do not fit, or
        an option is out of its range.

    References
    ----------
    Zolna, Geras, Cho 2018, "Classifier-agnostic saliency map extraction", Section 3 and Appendix.
    """
    models = [models] if isinstance(models, keras.Model) else list(models)
    checks.at_least(1, models=len(models), n_filters=n_filters, epochs=epochs, batch_size=batch_size)
    checks.require(area_weight > 0, "area_weight", area_weight, "above 0")
    checks.require(0 < learning_rate < 1, "learning_rate", learning_rate, "between 0 and 1")
    frozen = [_frozen(model, f"classifier_{k}") for k, model in enumerate(models)]
    shapes = {(model.input_shape[1:], model.output_shape[1]) for model in frozen}
    if len(shapes) > 1:
        raise ValueError(f"the classifiers must agree in images and classes, got {sorted(shapes)}")
    images = checks.images(images, frozen[0].input_shape[1:])
    answers = explained.cotangents(labels, len(images), frozen[0].output_shape[1])
    classes = answers.argmax(axis=1)
    is_right = np.stack([predict(model, images).argmax(axis=1) == classes for model in frozen], axis=1)
    keras.utils.set_random_seed(random_state)
    extractor = _extractor(frozen[0], n_filters)
    joint = _erased(extractor, frozen, explained.neutral(models[0]), random_state)
    joint.compile(keras.optimizers.Adam(learning_rate), _loss(area_weight))
    history = joint.fit(
        [images, is_right.astype(np.float32)], answers, batch_size=batch_size, epochs=epochs, verbose=0
    )
    return Extractor(extractor, answers.shape[1], tuple(history.history["loss"]))


def agnostic_mask(
    model: keras.Model, images: np.ndarray, targets: np.ndarray, *, extractor: Extractor
) -> np.ndarray:
    """Map what a fitted extractor would erase; neither the network nor the class is asked.

    Parameters
    ----------
    model : keras.Model
        Any of the task: it has no influence.
    images : float array of shape (n, height, width, channels), in [0, 1]
    targets : int array of shape (n,), or float array of shape (n, classes)
        Without influence.
    extractor : Extractor

    Returns
    -------
    ndarray of shape (n, height, width, 1), float32 in [0, 1]

    Raises
    ------
    ValueError
        If the images do not fit, or the targets are no classes.

    References
    ----------
    Zolna, Geras, Cho 2018, "Classifier-agnostic saliency map extraction".
    """
    masks = extractor.masks(images)
    explained.cotangents(targets, len(masks), extractor.n_classes)
    return masks


def _frozen(model: keras.Model, name: str) -> keras.Model:
    """Return a copy up to the logits that no training alters, of a name of its own."""
    network = explained.logits(model)
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    copy.name = name
    copy.trainable = False
    return copy


def _extractor(classifier: keras.Model, n_filters: int) -> keras.Model:
    """Put a decoder on the classifier's last feature maps of each size: side by side, at the largest's."""
    convolutions = chosen_layers(classifier)
    if not convolutions:
        raise ValueError("the first classifier has no convolution, whose maps the extractor would read")
    first = classifier.layers.index(convolutions[0])
    outputs = [layer.output for layer in classifier.layers[first:]]
    last = {output.shape[1:3]: output for output in outputs if len(output.shape) == 4}
    largest = max(last)
    maps = [layers.Conv2D(n_filters, 1, activation="relu")(x) for x in last.values()]
    x = layers.Concatenate()([layers.Resizing(*largest, interpolation="bilinear")(x) for x in maps])
    x = layers.Conv2D(n_filters, 3, padding="same", activation="relu")(x)
    mask = layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x)
    mask = layers.Resizing(*classifier.input_shape[1:3], interpolation="bilinear")(mask)
    return keras.Model(classifier.input, mask, name="extractor")


def _erased(
    extractor: keras.Model, classifiers: list[keras.Model], baseline: np.ndarray, seed: int
) -> keras.Model:
    """Return images, which classifiers are right → log q of the drawn one, the mask's area, whether it is."""
    image, is_right = keras.Input(baseline.shape), keras.Input((len(classifiers),))
    mask = extractor(image)
    left = image * (1 - mask) + mask * baseline
    drawn = _Drawn(seed)(is_right)
    logits = ops.stack([classifier(left, training=False) for classifier in classifiers], axis=1)
    logits = ops.sum(drawn[..., None] * logits, axis=1)
    area = ops.mean(mask, axis=(1, 2))
    is_right_before = ops.sum(drawn * is_right, axis=1, keepdims=True)
    outputs = ops.concatenate([ops.log_softmax(logits, axis=1), area, is_right_before], axis=1)
    return keras.Model([image, is_right], outputs)


class _Drawn(layers.Layer):
    """One of the classifiers for each image, as ones and zeros."""

    def __init__(self, seed: int):
        super().__init__()
        self.seeds = keras.random.SeedGenerator(seed)

    def call(self, is_right):
        k = is_right.shape[1]
        index = keras.random.randint((ops.shape(is_right)[0],), 0, k, seed=self.seeds)
        return ops.one_hot(index, k)


def _loss(area_weight: float):
    def loss(answers, outputs):
        log_q, area, is_right = outputs[:, :-2], outputs[:, -2], outputs[:, -1]
        is_wrong = ops.cast(ops.argmax(log_q, axis=1) != ops.argmax(answers, axis=1), "float32")
        entropy = -ops.sum(ops.exp(log_q) * log_q, axis=1)
        return -is_right * entropy - area_weight * ops.relu(is_right * is_wrong - area)

    return loss


CARDS = (
    Card(
        name="Classifier-agnostic mask", function="attribution.extractors.agnostic_mask",
        question="Without which pixels would any classifier of the task be at a loss?",
        access="gradient", output="not negative, one channel, in [0, 1]",
        passes="1 F of the extractor, after a fit to many images", trains=True, is_signed=False,
        fails="It is told no class and no network: it cannot say which of two objects is asked "
        "about, and it sees what the network whose maps it reads sees.",
        source="Zolna, Geras, Cho 2018",
    ),
)  # fmt: skip
