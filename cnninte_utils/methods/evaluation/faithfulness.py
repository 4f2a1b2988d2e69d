"""Whether the network does what a map says: when pixels go, when they come, when they change a little."""

from collections.abc import Callable, Iterator

import keras
import numpy as np
from scipy.ndimage import gaussian_filter

from ... import checks
from ...networks import targets as explained
from ...networks.gradients import in_batches

__all__ = [
    "aopc",
    "area",
    "blurred",
    "completeness",
    "deletion",
    "infidelity",
    "insertion",
    "max_sensitivity",
    "mu_fidelity",
    "pixel_flipping",
]

Model = keras.Model | Callable[[np.ndarray], np.ndarray]


def blurred(images: np.ndarray, spread: float = 5 / 64) -> np.ndarray:
    """Return the images without their detail: a Gaussian whose σ is this share of the height."""
    images = checks.images(images)
    sigma = spread * images.shape[1]
    return np.clip(gaussian_filter(images, sigma, axes=(1, 2), mode="nearest"), 0, 1)


def deletion(
    model: Model,
    images: np.ndarray,
    targets: np.ndarray,
    heats: np.ndarray,
    *,
    steps: int = 16,
    baseline: float | np.ndarray | None = None,
    output: str = "probability",
    random_state: int = 0,
) -> np.ndarray:
    """Return how the score falls while the hottest pixels go first.

    A map that scatters its heat over the object does better than one that covers it: read it beside
    localisation, never alone.

    Parameters
    ----------
    model : keras.Model, or callable
    images : float array of shape (n, height, width, channels), in [0, 1]
    targets : int array of shape (n,), or float array of shape (n, classes)
    heats : float array of shape (n, height, width)
    steps : int
        Equal shares of the pixels.
    baseline : float, or array of shape (channels,), (height, width, channels) or that of the images, optional
        What takes the place of a pixel; by default :func:`blurred`.
    output : {"probability", "logit"}
    random_state : int
        Which of equally hot pixels goes first is drawn.

    Returns
    -------
    ndarray of shape (n, steps + 1), float32
        From the whole image to the baseline; :func:`area` makes a number of each.

    Raises
    ------
    ValueError
        If the images, targets, heats or baseline do not fit.

    References
    ----------
    Petsiuk, Das, Saenko 2018, "RISE", Section 4.3.
    """
    fill = _fill(model, images, baseline)
    return _curves(model, images, fill, targets, heats, steps, output, random_state)


def insertion(
    model: Model,
    images: np.ndarray,
    targets: np.ndarray,
    heats: np.ndarray,
    *,
    steps: int = 16,
    baseline: float | np.ndarray | None = None,
    output: str = "probability",
    random_state: int = 0,
) -> np.ndarray:
    """Return how the score rises while the hottest pixels come first; otherwise as :func:`deletion`."""
    fill = _fill(model, images, baseline)
    return _curves(model, fill, images, targets, heats, steps, output, random_state)


def area(curves: np.ndarray) -> np.ndarray:
    """Return the area under each curve, over a length of 1 (trapezoids).

    Examples
    --------
    >>> area(np.array([[1.0, 0.5, 0.0]])).item()
    0.5
    """
    curves = np.asarray(curves, float)
    return ((curves[:, :-1] + curves[:, 1:]) / 2).mean(axis=1)


def pixel_flipping(
    model: Model,
    images: np.ndarray,
    targets: np.ndarray,
    heats: np.ndarray,
    *,
    size: int = 4,
    steps: int = 16,
    output: str = "logit",
    random_state: int = 0,
) -> np.ndarray:
    """Return how the score falls while the hottest squares are filled with noise, one in a step.

    Parameters
    ----------
    heats : float array of shape (n, height, width)
        Squares are ranked by their sum.
    size : int
        Of a square, in pixels; what is left over at the lower and right border is never filled.
    steps : int
        At most the number of squares.

    Others as for :func:`deletion`.

    Returns
    -------
    ndarray of shape (n, steps + 1), float32
        :func:`aopc` makes a number of each.

    References
    ----------
    Samek et al. 2017, "Evaluating the Visualization of What a Deep Neural Network Has Learned", Section III.
    """
    checks.at_least(1, size=size, steps=steps)
    images, heats = checks.images(images), _heats(images, heats)
    rows, columns = images.shape[1] // size, images.shape[2] // size
    checks.require(
        steps <= rows * columns, "steps", steps, f"at most {rows * columns}, the squares there are"
    )
    rng = np.random.default_rng(random_state)
    sums = (
        heats[:, : rows * size, : columns * size].reshape(len(heats), rows, size, columns, size).sum((2, 4))
    )
    order = _hottest_first(sums.reshape(len(sums), -1), rng)
    noise = rng.random(images.shape[1:], np.float32)

    def flipped() -> Iterator[np.ndarray]:
        current = images.copy()
        yield current.copy()
        for step in range(steps):
            for image, square in zip(current, order[:, step], strict=True):
                top, left = (size * place for place in divmod(int(square), columns))
                window = slice(top, top + size), slice(left, left + size)
                image[window] = noise[window]
            yield current.copy()

    return _scores(model, images, targets, flipped(), output)


def aopc(curves: np.ndarray) -> np.ndarray:
    r"""Return the mean fall over all steps: the area over the perturbation curve.

    .. math:: \frac{1}{L + 1} \sum_{k=0}^{L} \big( f(x_0) - f(x_k) \big)

    Examples
    --------
    >>> aopc(np.array([[3.0, 2.0, 1.0]])).item()
    1.0
    """
    curves = np.asarray(curves, float)
    return (curves[:, :1] - curves).mean(axis=1)


def mu_fidelity(
    model: Model,
    images: np.ndarray,
    targets: np.ndarray,
    maps: np.ndarray,
    *,
    patches: int = 8,
    n_hidden: int = 12,
    n_sets: int = 200,
    baseline: float | np.ndarray | None = None,
    output: str = "logit",
    random_state: int = 0,
) -> np.ndarray:
    r"""Correlate, over random sets of patches, the attribution in a set with the fall when it is hidden.

    .. math:: \operatorname{corr}_S\Big( \sum_{i \in S} a_i, \; f_t(x) - f_t(x_{S := x'}) \Big)

    For attributions, whose values add up to something; a gradient's do not.

    Parameters
    ----------
    maps : float array of shape (n, height, width, channels)
        Signed attributions.
    patches : int
        Along each side.
    n_hidden : int
        Patches in a set.
    n_sets : int
        The same for all images.
    baseline : float or array, optional
        As for :func:`deletion`, but by default the network's mean colour, or black.

    Others as for :func:`deletion`.

    Returns
    -------
    ndarray of shape (n,), in [-1, 1]
        NaN where either side never changes.

    References
    ----------
    Bhatt, Weller, Moura 2020, "Evaluating and Aggregating Feature-based Model Explanations", Section 2.
    """
    checks.at_least(1, patches=patches, n_hidden=n_hidden)
    checks.at_least(2, n_sets=n_sets)
    checks.require(n_hidden < patches**2, "n_hidden", n_hidden, f"fewer than the {patches**2} patches")
    images, fill = checks.images(images), explained.baselines(model, images, baseline)
    longest = max(images.shape[1:3])
    checks.require(patches <= longest, "patches", patches, f"at most {longest}, the images' longer side")
    sums = _heats(images, np.asarray(maps, float).sum(axis=-1))
    rng, (height, width) = np.random.default_rng(random_state), images.shape[1:3]
    rows, columns = (np.arange(side) * patches // side for side in (height, width))
    grid = rows[:, None] * patches + columns
    sets = np.stack([np.isin(grid, rng.choice(patches**2, n_hidden, replace=False)) for _ in range(n_sets)])
    variants = (np.where(is_hidden[..., None], fill, images) for is_hidden in sets)
    whole, *left = _scores(model, images, targets, _with_first(images, variants), output).T
    falls = whole - np.array(left)
    inside = np.einsum("sij,nij->sn", sets, sums)
    falls, inside = (x - x.mean(axis=0) for x in (falls.astype(float), inside))
    scale = np.sqrt((falls**2).sum(axis=0) * (inside**2).sum(axis=0))
    return np.divide((falls * inside).sum(axis=0), scale, out=np.full(len(images), np.nan), where=scale > 0)


def infidelity(
    model: keras.Model,
    images: np.ndarray,
    targets: np.ndarray,
    maps: np.ndarray,
    *,
    noise: float = 0.1,
    n_samples: int = 100,
    is_scaled: bool = False,
    random_state: int = 0,
) -> np.ndarray:
    r"""Return how far a map is from telling what small noise does to the logit.

    .. math:: \mathbb{E}_I \Big[ \big( I \cdot a - (f_t(x) - f_t(x - I)) \big)^2 \Big], \quad
              I \sim \mathcal{N}(0, \sigma^2)

    It asks about the neighbourhood of the image, and so favours the gradient.

    Parameters
    ----------
    model : keras.Model
    maps : float array of the images' shape
    noise : float
        σ. Noisy images are not clipped.
    n_samples : int
        The same draws for all images.
    is_scaled : bool
        Whether the map is first multiplied by what makes the error smallest.

    Others as for :func:`deletion`.

    Returns
    -------
    ndarray of shape (n,), not negative

    References
    ----------
    Yeh et al. 2019, "On the (In)fidelity and Sensitivity of Explanations", Section 2.
    """
    checks.at_least(1, n_samples=n_samples)
    checks.not_negative(noise=noise)
    logits, images, vectors = explained.prepared(model, images, targets)
    if np.shape(maps) != images.shape:
        raise ValueError(f"maps must have the images' shape, {images.shape}, got {np.shape(maps)}")

    def score(x):
        found = in_batches(lambda x: logits(x, training=False), logits, x)
        return (found * vectors).sum(axis=1, dtype=float)

    rng, whole = np.random.default_rng(random_state), score(images)
    told, fell = [], []
    for _ in range(n_samples):
        change = noise * rng.standard_normal(images.shape[1:], np.float32)
        told.append((maps * change).sum(axis=(1, 2, 3), dtype=float))
        fell.append(whole - score(images - change))
    told, fell = np.array(told), np.array(fell)
    if is_scaled:
        squares = (told**2).mean(axis=0)
        told = told * np.divide((told * fell).mean(axis=0), squares, out=0 * squares, where=squares > 0)
    return ((told - fell) ** 2).mean(axis=0)


def max_sensitivity(
    explain: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    *,
    radius: float = 0.02,
    n_samples: int = 10,
    random_state: int = 0,
) -> np.ndarray:
    r"""Return how much a map changes at most when the image hardly does.

    .. math:: \max_{\lVert \delta \rVert_\infty \le r}
              \frac{\lVert a(x + \delta) - a(x) \rVert}{\lVert a(x) \rVert}

    over random δ, uniform, the same for all images; x + δ is clipped to [0, 1].

    Parameters
    ----------
    explain : callable
        Images → maps of any shape (n, ...).
    images : float array of shape (n, height, width, channels), in [0, 1]
    radius : float
    n_samples : int
    random_state : int

    Returns
    -------
    ndarray of shape (n,), not negative
        NaN where the map is zero.

    References
    ----------
    Yeh et al. 2019, Section 4.
    """
    checks.at_least(1, n_samples=n_samples)
    checks.not_negative(radius=radius)
    images, rng = checks.images(images), np.random.default_rng(random_state)
    maps = _flat(explain(images))
    largest = np.zeros(len(images))
    for _ in range(n_samples):
        near = images + rng.uniform(-radius, radius, images.shape[1:]).astype(np.float32)
        change = _flat(explain(np.clip(near, 0, 1))) - maps
        largest = np.maximum(largest, np.linalg.norm(change, axis=1))
    lengths = np.linalg.norm(maps, axis=1)
    return np.divide(largest, lengths, out=np.full(len(images), np.nan), where=lengths > 0)


def completeness(maps: np.ndarray, expected: np.ndarray) -> np.ndarray:
    r"""Return how far the sum of each map is from what it should be, relative to what sums are like.

    .. math:: \frac{\big| \sum a - t \big|}{\operatorname{mean} |t|}

    Parameters
    ----------
    maps : float array of shape (n, height, width, channels)
    expected : float array of shape (n,)
        t: the score, or its difference from a baseline's.

    Returns
    -------
    ndarray of shape (n,), not negative
    """
    sums = np.asarray(maps).sum(axis=(1, 2, 3), dtype=float)
    return np.abs(sums - expected) / np.abs(expected).mean()


def _flat(maps: np.ndarray) -> np.ndarray:
    return np.asarray(maps, float).reshape(len(maps), -1)


def _fill(model: Model, images: np.ndarray, baseline) -> np.ndarray:
    images = checks.images(images)
    return blurred(images) if baseline is None else explained.baselines(model, images, baseline)


def _heats(images: np.ndarray, heats: np.ndarray) -> np.ndarray:
    heats = np.asarray(heats, float)
    if heats.shape != images.shape[:3]:
        raise ValueError(f"expected one map for each image, {images.shape[:3]}, got {heats.shape}")
    checks.finite(heats=heats)
    return heats


def _hottest_first(heats: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the order of pixels (n, pixels), those that tie in random order."""
    return np.lexsort((np.broadcast_to(rng.random(heats.shape[1]), heats.shape), -heats), axis=1)


def _with_first(images: np.ndarray, variants: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    yield images
    yield from variants


def _scores(model: Model, images, targets, variants: Iterator[np.ndarray], output: str) -> np.ndarray:
    """Return the scores (n, variants)."""
    outputs = explained.predictor(model, output)
    vectors = explained.cotangents(targets, *outputs(images).shape)
    return np.stack(list(explained.scores_of(outputs, variants, vectors)), axis=1)


def _curves(model: Model, before, after, targets, heats, steps: int, output: str, random_state: int):
    """Return the scores while one image turns into another, hottest pixels first."""
    checks.at_least(1, steps=steps)
    before, after = checks.images(before), checks.images(after)
    heats = _heats(before, heats)
    n, height, width = heats.shape
    order = _hottest_first(heats.reshape(n, -1), np.random.default_rng(random_state))
    place = np.argsort(order, axis=1).reshape(n, height, width, 1)
    counts = np.round(np.linspace(0, height * width, steps + 1))
    variants = (np.where(place < count, after, before) for count in counts)
    return _scores(model, before, targets, variants, output)
