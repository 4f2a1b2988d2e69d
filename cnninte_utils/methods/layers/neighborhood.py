"""Quantified data visualisation: Algorithm 1 of paper B, the neighbourhood hit of every layer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import keras
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.metrics.pairwise import euclidean_distances

from ... import progress
from ...datasets import Split
from ...measures import bootstrap_interval, neighborhood_hits
from ...networks.activations import activations
from . import embedding

__all__ = ["SPACES", "LayerSpace", "compare", "layer_space", "layer_spaces", "score"]

SPACES = ("2-D", "PCA", "raw")


@dataclass(frozen=True, eq=False)
class LayerSpace:
    """What scoring needs of a layer's activations, small enough to keep those of every layer.

    Parameters
    ----------
    network, layer : str
    principal : float array of shape (n, components)
        Scores of the scaled activations.
    distances : float array of shape (n, n)
        Between the scaled activations themselves.
    """

    network: str
    layer: str
    principal: np.ndarray = field(repr=False)
    distances: np.ndarray = field(repr=False)


def layer_space(network: str, layer: str, activations: np.ndarray, *, n_principal: int = 50) -> LayerSpace:
    """Reduce a layer's activations (n, ...) to what scoring needs."""
    scaled = embedding.min_max(activations)
    principal = embedding.principal_components(scaled, n_principal)
    return LayerSpace(network, layer, principal, euclidean_distances(scaled))


def layer_spaces(
    network: str,
    model: keras.Model,
    layers: Sequence[str],
    images: np.ndarray | Split,
    *,
    batch_size: int = 100,
    max_bytes: int = 2**30,
) -> list[LayerSpace]:
    """Reduce several layers of a network; activations of at most `max_bytes` are computed in one pass.

    A layer that is larger by itself is computed alone.
    """
    passes: list[list[str]] = [[]]
    total = 0
    for layer in layers:
        n_bytes = 4 * len(images) * int(np.prod(model.get_layer(layer).output.shape[1:]))
        if passes[-1] and total + n_bytes > max_bytes:
            passes.append([])
            total = 0
        passes[-1].append(layer)
        total += n_bytes
    spaces = []
    for group in passes:
        arrays = activations(model, group, images, batch_size=batch_size)
        spaces += [layer_space(network, layer, arrays[layer]) for layer in group]
    return spaces


def score(
    spaces: Sequence[LayerSpace],
    labels: np.ndarray,
    *,
    seeds: Iterable[int] = (0,),
    n_neighbors: int = 5,
    n_jobs: int = -1,
    **tsne,
) -> tuple[pd.DataFrame, dict[tuple[str, str, int], np.ndarray]]:
    """Embed every layer once for each seed and measure the neighbourhood hit, before and after.

    Parameters
    ----------
    spaces : sequence of LayerSpace
    labels : array of shape (n,)
    seeds : iterable of int
        Of t-SNE.
    n_neighbors : int
    n_jobs : int
        Embeddings at a time; -1 for as many as there are processors.
    **tsne
        ``perplexity`` and ``max_iter`` of :func:`cnninte_utils.methods.layers.embedding.embed`.

    Returns
    -------
    frame : DataFrame
        Columns network, layer, depth (from 1), space, seed, nh, low, high; `low` and `high` bound the 95 %
        bootstrap interval over instances. The spaces before embedding have one row each, seed -1.
    points : dict
        (network, layer, seed) → embedding of shape (n, 2).

    References
    ----------
    Wang, Liu 2024, Section 2.3, Algorithm 1, and Table 3.
    """
    seeds = list(seeds)
    tasks = [(space, seed) for space in spaces for seed in seeds]
    jobs = (delayed(embedding.embed)(s.principal, random_state=seed, **tsne) for s, seed in tasks)
    embedded = progress.bar(
        Parallel(n_jobs, prefer="threads", return_as="generator")(jobs),
        total=len(tasks), desc="embedding", unit="layer",
    )  # fmt: skip
    points = {(space.network, space.layer, seed): p for (space, seed), p in zip(tasks, embedded, strict=True)}
    depth = _depths(spaces)
    rows = []
    for space in spaces:
        measured = {
            ("raw", -1): neighborhood_hits(space.distances, labels, n_neighbors, metric="precomputed")
        }
        measured["PCA", -1] = neighborhood_hits(space.principal, labels, n_neighbors)
        for seed in seeds:
            measured["2-D", seed] = neighborhood_hits(
                points[space.network, space.layer, seed], labels, n_neighbors
            )
        for (kind, seed), hits in measured.items():
            low, high = bootstrap_interval(hits)
            row = {"network": space.network, "layer": space.layer, "depth": depth[space.network, space.layer]}
            rows.append(row | {"space": kind, "seed": seed, "nh": hits.mean(), "low": low, "high": high})
    return pd.DataFrame(rows), points


def compare(
    points: Mapping[tuple[str, str, int], np.ndarray],
    labels: np.ndarray,
    first: Sequence[tuple[str, str]],
    second: Sequence[tuple[str, str]],
    *,
    n_neighbors: int = 5,
) -> pd.DataFrame:
    """Compare two networks layer by layer on the same instances.

    Parameters
    ----------
    points : mapping
        As :func:`score` returns it.
    first, second : sequence of (network, layer)
        Equally long; the difference is second minus first.

    Returns
    -------
    DataFrame
        Columns depth, difference, low, high: mean over seeds, and the 95 % bootstrap interval of the paired
        difference over instances.
    """
    seeds = sorted({seed for *_, seed in points})

    def hits(network: str, layer: str) -> np.ndarray:
        each = [neighborhood_hits(points[network, layer, seed], labels, n_neighbors) for seed in seeds]
        return np.mean(each, axis=0)

    rows = []
    for depth, (one, other) in enumerate(zip(first, second, strict=True), start=1):
        difference = hits(*other) - hits(*one)
        low, high = bootstrap_interval(difference)
        rows.append({"depth": depth, "difference": difference.mean(), "low": low, "high": high})
    return pd.DataFrame(rows)


def _depths(spaces: Sequence[LayerSpace]) -> dict[tuple[str, str], int]:
    counts: dict[str, int] = {}
    depths = {}
    for space in spaces:
        counts[space.network] = depths[space.network, space.layer] = counts.get(space.network, 0) + 1
    return depths
