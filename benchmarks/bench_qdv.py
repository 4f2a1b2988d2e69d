"""Neighbourhood hit of ten layers over five seeds against the plain recipe: ratios in one run.

The plain script is the authors' recipe in scikit-learn, once for each layer and seed: flatten, scale, PCA to
50, t-SNE with 3,000 iterations, neighbours. Ours reduces each layer once and embeds with 3,000 or 1,000
iterations. Networks are the bundled ones, images Toyworld's 1,000 test images (CIFAR-10's if there).

    python benchmarks/bench_qdv.py                 # Toyworld, five seeds: a quarter of an hour
    CNNINTE_DATA=… python benchmarks/bench_qdv.py cifar10 2
"""

import os
import sys
import time

from cnninte_utils.papers import qdv

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors

from cnninte_utils import datasets
from cnninte_utils.methods.layers import neighborhood
from cnninte_utils.networks import builders
from cnninte_utils.networks.activations import activations


def plain_hit(features: np.ndarray, labels: np.ndarray, seed: int) -> float:
    flat = features.reshape(len(features), -1)
    flat = (flat - flat.min()) / (flat.max() - flat.min())
    reduced = PCA(50, random_state=seed).fit_transform(flat)
    points = TSNE(perplexity=40, max_iter=3_000, random_state=seed).fit_transform(reduced)
    neighbours = NearestNeighbors(n_neighbors=5).fit(points).kneighbors(return_distance=False)
    return float((labels[neighbours] == labels[:, None]).mean())


def main(name: str = "toyworld", n_seeds: str = "5") -> None:
    seeds = range(int(n_seeds))
    dataset = datasets.load(name)
    sample = dataset.test.take(dataset.test.per_class(100, 222))
    networks = {}
    for network in qdv.NETWORKS:
        weights = qdv.bundled(network)
        networks[network] = builders.build(network, **qdv.options_for(weights, 10))
        weights.put_into(networks[network])
    images = sample.floats(64)
    hits = {}
    for iterations in (3_000, 1_000):
        started = time.perf_counter()
        spaces = [
            s for n, m in networks.items() for s in neighborhood.layer_spaces(n, m, qdv.LAYERS[n], images)
        ]
        frame, _ = neighborhood.score(spaces, sample.labels, seeds=seeds, max_iter=iterations)
        seconds = time.perf_counter() - started
        plane = frame[frame["space"] == "2-D"].groupby(["network", "depth"])["nh"]
        hits[iterations] = seconds, plane.mean().to_numpy()
    started = time.perf_counter()
    plain = []
    for network, model in networks.items():
        for layer in qdv.LAYERS[network]:
            features = activations(model, layer, images)
            plain.append([plain_hit(features, sample.labels, seed) for seed in seeds])
    seconds, plain = time.perf_counter() - started, np.array(plain)
    print(f"{name}, {len(sample):,} images, 10 layers, {len(seeds)} seeds; plain recipe {seconds:.0f} s")
    if len(seeds) > 1:
        spread = plain.std(axis=1, ddof=1).max()
        print(f"spread of the plain recipe's hit over seeds: SD {spread:.4f} at most")
    for iterations, (own, hit) in hits.items():
        gap = np.abs(hit - plain.mean(axis=1)).max()
        share = own / seconds
        print(f"{iterations:,} iterations: {own:.0f} s, {share:.2f} of it; means differ by {gap:.4f} at most")


if __name__ == "__main__":
    main(*sys.argv[1:])
