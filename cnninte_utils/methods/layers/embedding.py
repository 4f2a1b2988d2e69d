"""Put a layer's activations on a plane: t-SNE as paper B runs it, and what it is compared with."""

from collections.abc import Callable

import keras
import numpy as np
from sklearn.decomposition import PCA

from ... import checks

__all__ = ["METHODS", "embed", "min_max", "principal_components"]


def embed(
    features: np.ndarray,
    method: str = "tsne",
    *,
    n_components: int = 2,
    n_principal: int = 50,
    perplexity: float = 40.0,
    max_iter: int = 3_000,
    random_state: int = 0,
) -> np.ndarray:
    """Embed activations in a few dimensions, with the recipe of paper B's authors by default.

    Everything is scaled by one global minimum and maximum and reduced to `n_principal` principal
    components; then comes the method.

    Parameters
    ----------
    features : array of shape (n, ...)
        Activations of a layer; feature maps are flattened.
    method : {"tsne", "pca", "umap", "mds", "autoencoder"}
    n_components : int
    n_principal : int
        Fewer if there are fewer instances or features.
    perplexity : float
        Of t-SNE; below the number of instances.
    max_iter : int
        Of t-SNE.
    random_state : int

    Returns
    -------
    ndarray of shape (n, n_components), float

    Raises
    ------
    ValueError
        If the method is unknown, an activation is not finite, or there are too few instances for the
        perplexity.

    Notes
    -----
    t-SNE and UMAP coordinates differ between machines; compare measures of them, never coordinates.

    References
    ----------
    Wang, Liu 2024, Section 2.3, Algorithm 1. van der Maaten, Hinton 2008, "Visualizing Data using t-SNE".
    """
    run = checks.choice("method", method, METHODS)
    if method == "tsne" and not 0 < perplexity < len(features):
        raise ValueError(f"perplexity must be between 0 and the {len(features)} instances, got {perplexity}")
    checks.at_least(1, n_components=n_components, n_principal=n_principal)
    reduced = principal_components(min_max(features), n_principal)
    most = reduced.shape[1]
    checks.require(n_components <= most, "n_components", n_components, f"at most {most}, the dimensions left")
    options = {"perplexity": perplexity, "max_iter": max_iter} if method == "tsne" else {}
    return run(reduced, n_components, random_state, **options)


def min_max(features: np.ndarray) -> np.ndarray:
    """Flatten activations to (n, features) and scale them to [0, 1] by one minimum and one maximum.

    Constant activations become zeros.
    """
    features = np.asarray(features, dtype=np.float32).reshape(len(features), -1)
    checks.finite(activations=features)
    low, high = features.min(), features.max()
    return (features - low) / (high - low if high > low else 1)


def principal_components(features: np.ndarray, n_components: int = 50) -> np.ndarray:
    """Return the scores of the first principal components, exactly.

    Parameters
    ----------
    features : float array of shape (n, features)
    n_components : int
        At most; there are never more than min(n, features).

    Returns
    -------
    ndarray of shape (n, n_components), by falling variance; signs are arbitrary
    """
    n_components = min(n_components, *features.shape)
    # ARPACK is as exact, and in feature maps of a million numbers never forms all components
    solver = "arpack" if n_components < min(features.shape) else "full"
    return PCA(n_components, svd_solver=solver, random_state=0).fit_transform(features)


def _tsne(points, n_components, random_state, *, perplexity, max_iter):
    from sklearn.manifold import TSNE

    tsne = TSNE(
        n_components, perplexity=perplexity, max_iter=max_iter, init="random", random_state=random_state
    )
    return tsne.fit_transform(points)


def _pca(points, n_components, random_state):
    return points[:, :n_components]


def _umap(points, n_components, random_state):
    from umap import UMAP

    return UMAP(n_components=n_components, random_state=random_state, n_jobs=1).fit_transform(points)


def _mds(points, n_components, random_state):
    from sklearn.manifold import MDS

    return MDS(n_components, n_init=1, init="random", random_state=random_state).fit_transform(points)


def _autoencoder(points, n_components, random_state):
    """Train 50 → 64 → 2 → 64 → 50 to give back its input; the two in the middle are the embedding."""
    keras.utils.set_random_seed(random_state)
    scaled = (points / (points.std() or 1.0)).astype(np.float32)
    layers = keras.layers
    start = keras.Input((points.shape[1],))
    code = layers.Dense(n_components)(layers.Dense(64, activation="tanh")(start))
    end = layers.Dense(points.shape[1])(layers.Dense(64, activation="tanh")(code))
    whole = keras.Model(start, end)
    whole.compile(keras.optimizers.Adam(3e-3), "mse")
    whole.fit(scaled, scaled, epochs=100, batch_size=64, verbose=0)
    return keras.Model(start, code).predict(scaled, batch_size=1_000, verbose=0)


METHODS: dict[str, Callable[..., np.ndarray]] = {
    "tsne": _tsne,
    "pca": _pca,
    "umap": _umap,
    "mds": _mds,
    "autoencoder": _autoencoder,
}
