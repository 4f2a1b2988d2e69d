"""L2X: a network that learns which few patches tell most about what another network says."""

from collections.abc import Callable
from dataclasses import dataclass, field

import keras
import numpy as np
from keras import layers, ops
from scipy.special import softmax

from ... import checks
from ...networks import targets as explained
from ..card import Card
from .shapley import patch_numbers

__all__ = ["CARDS", "NETWORKS", "Selector", "fit", "l2x"]

NETWORKS = ("convolutional", "dense")
_AT_ONCE = 500


@dataclass(frozen=True, eq=False)
class Selector:
    """Two networks fitted together: one scores patches, one guesses the answer from the best of them.

    Parameters
    ----------
    scorer : keras.Model
        Images less the baseline → scores (n, patches).
    guesser : keras.Model
        The same with all but a few patches at zero → logits of the explained network's answer.
    numbers : ndarray of shape (height, width)
        The patch of each pixel.
    baseline : ndarray of shape (height, width, channels)
        What hidden patches show.
    n_selected : int
        Patches that are shown.
    losses : tuple of float
        Mean cross-entropy of each epoch.
    """

    scorer: keras.Model = field(repr=False)
    guesser: keras.Model = field(repr=False)
    numbers: np.ndarray = field(repr=False)
    baseline: np.ndarray = field(repr=False)
    n_selected: int
    losses: tuple[float, ...]

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Return how much each patch is worth showing, (n, patches): ranks count, sizes say little."""
        return _in_parts(self.scorer, self._centered(images))

    def selected(self, images: np.ndarray) -> np.ndarray:
        """Return which patches are shown, bool (n, patches): the best `n_selected` of each image."""
        order = np.argsort(-self.scores(images), axis=1, kind="stable")
        chosen = np.zeros(order.shape, bool)
        np.put_along_axis(chosen, order[:, : self.n_selected], True, axis=1)
        return chosen

    def shown(self, images: np.ndarray, chosen: np.ndarray | None = None) -> np.ndarray:
        """Return the images with the chosen patches (by default :meth:`selected`), the baseline elsewhere."""
        images = self._checked(images)
        chosen = self.selected(images) if chosen is None else np.asarray(chosen, bool)
        return np.where(chosen[:, self.numbers, None], images, self.baseline)

    def guesses(self, images: np.ndarray, chosen: np.ndarray | None = None) -> np.ndarray:
        """Return what the fitted guesser makes of :meth:`shown`: probabilities (n, classes)."""
        return softmax(_in_parts(self.guesser, self.shown(images, chosen) - self.baseline), axis=1)

    def _checked(self, images: np.ndarray) -> np.ndarray:
        return checks.images(images, self.baseline.shape)

    def _centered(self, images: np.ndarray) -> np.ndarray:
        return self._checked(images) - self.baseline


def fit(
    model: keras.Model | Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    *,
    n_selected: int = 8,
    patches: int | tuple[int, int] = 7,
    baseline: float | np.ndarray | None = None,
    network: str = "convolutional",
    temperature: float = 0.5,
    epochs: int = 10,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    random_state: int = 0,
) -> Selector:
    r"""Learn to select the patches from which a second network best guesses what the first one says.

    .. math:: \min_{\theta, \alpha} \; - \mathbb{E} \sum_c p_c(x) \log q_\alpha^c(x \odot m), \quad
              m_i = \max_{j \le k} \frac{\exp((z_i(x) + G_{ij}) / \tau)}
                                        {\sum_l \exp((z_l(x) + G_{lj}) / \tau)}

    with p the explained network's probabilities, z the scores, θ and α the two networks' weights, G Gumbel
    noise, k patches and the temperature τ. What is learnt maximises a bound on the information that the shown
    patches have about the answer; where they lie may itself tell the guesser the answer.

    Parameters
    ----------
    model : keras.Model, or callable
        A callable (n, height, width, channels) → (n, classes), probabilities, may be any classifier.
    images : float array of shape (n, height, width, channels), in [0, 1]
    n_selected : int
        k, fewer than there are patches.
    patches : int, or (int, int)
        Along each side, or down and across.
    baseline : float, or array of shape (channels,) or (height, width, channels), optional
        What hidden patches show; by default the network's mean colour if its first layer subtracts one, else
        black.
    network : {"convolutional", "dense"}
        What both fitted networks are; dense for a row of numbers that is no picture.
    temperature : float
        τ, above zero; at low ones few patches get a gradient.
    epochs, batch_size : int
    learning_rate : float
    random_state : int

    Returns
    -------
    Selector

    Raises
    ------
    ValueError
        If the images or the baseline do not fit, or an option is out of its range.

    References
    ----------
    Chen, Song, Wainwright, Jordan 2018, "Learning to Explain", Sections 2 and 3.
    """
    images = checks.images(images)
    checks.choice("network", network, NETWORKS)
    checks.at_least(1, n_selected=n_selected, epochs=epochs, batch_size=batch_size)
    checks.require(temperature > 0, "temperature", temperature, "above 0")
    checks.require(0 < learning_rate < 1, "learning_rate", learning_rate, "between 0 and 1")
    numbers = patch_numbers(*images.shape[1:3], patches)
    m = int(numbers.max()) + 1
    checks.require(n_selected < m, "n_selected", n_selected, f"fewer than the {m} patches")
    answers = explained.predictor(model, "probability")(images)
    fill = np.array(explained.baselines(model, images[:1], baseline)[0])
    keras.utils.set_random_seed(random_state)
    shape, n_classes = images.shape[1:], answers.shape[1]
    scorer = _small(shape, m, network, "scorer")
    guesser = _small(shape, n_classes, network, "guesser")
    image = keras.Input(shape)
    mask = _Drawn(numbers, n_selected, temperature, random_state)(scorer(image))
    joint = keras.Model(image, guesser(layers.Multiply()([image, mask])))
    joint.compile(
        keras.optimizers.Adam(learning_rate), keras.losses.CategoricalCrossentropy(from_logits=True)
    )
    history = joint.fit(images - fill, answers, batch_size=batch_size, epochs=epochs, verbose=0)
    return Selector(scorer, guesser, numbers, fill, n_selected, tuple(history.history["loss"]))


def l2x(
    model: keras.Model | Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    targets: np.ndarray,
    *,
    selector: Selector,
) -> np.ndarray:
    """Map a fitted selector's scores, as shares of one; the network itself is not asked.

    Parameters
    ----------
    model : keras.Model, or callable
        That the selector was fitted to.
    images : float array of shape (n, height, width, channels), in [0, 1]
    targets : int array of shape (n,), or float array of shape (n, classes)
        Without influence: L2X selects for the whole answer, not for a class.
    selector : Selector

    Returns
    -------
    ndarray of shape (n, height, width, 1), float32, positive
        A softmax over patches, in equal shares for the pixels of each.

    Raises
    ------
    ValueError
        If the images do not fit, or the targets are no classes.

    References
    ----------
    Chen, Song, Wainwright, Jordan 2018, "Learning to Explain".
    """
    shares = softmax(selector.scores(images), axis=1)
    explained.cotangents(targets, len(shares), selector.guesser.output_shape[1])
    sizes = np.bincount(selector.numbers.ravel())
    return (shares / sizes)[:, selector.numbers, None].astype(np.float32)


class _Drawn(layers.Layer):
    """Scores → a mask of k soft draws with Gumbel noise, one value a pixel."""

    def __init__(self, numbers: np.ndarray, k: int, temperature: float, seed: int):
        super().__init__()
        self.numbers, self.k, self.temperature = numbers, k, temperature
        self.seeds = keras.random.SeedGenerator(seed)

    def call(self, scores):
        shape = (ops.shape(scores)[0], self.k, scores.shape[1])
        uniform = keras.random.uniform(shape, 1e-7, 1 - 1e-7, seed=self.seeds)
        noisy = (scores[:, None] - ops.log(-ops.log(uniform))) / self.temperature
        mask = ops.max(ops.softmax(noisy, axis=-1), axis=1)
        return ops.reshape(ops.take(mask, self.numbers.ravel(), axis=1), (-1, *self.numbers.shape, 1))


def _small(shape: tuple[int, ...], n_outputs: int, network: str, name: str) -> keras.Model:
    image = x = keras.Input(shape)
    if network == "convolutional":
        for n_filters in (16, 32):
            x = layers.Conv2D(n_filters, 3, padding="same", activation="relu")(x)
            x = layers.MaxPooling2D(2, padding="same")(x)
        hidden = (64,)
    else:
        hidden = (100, 100)
    x = layers.Flatten()(x)
    for width in hidden:
        x = layers.Dense(width, activation="relu")(x)
    return keras.Model(image, layers.Dense(n_outputs)(x), name=name)


def _in_parts(model: keras.Model, images: np.ndarray) -> np.ndarray:
    parts = (images[start : start + _AT_ONCE] for start in range(0, len(images), _AT_ONCE))
    return np.concatenate([ops.convert_to_numpy(model(part, training=False)) for part in parts])


CARDS = (
    Card(
        name="L2X", function="attribution.selectors.l2x",
        question="Which few patches tell most about the network's answer?",
        access="predict", output="not negative, one channel, a share a patch",
        passes="1 F of a small network, after a fit to many answers", trains=True, is_signed=False,
        sums_to="1",
        fails="The second network may read the answer off where the patches lie, not off what they show.",
        source="Chen, Song, Wainwright, Jordan 2018",
    ),
)  # fmt: skip
