"""CNN-INTE against the plain script a user would write, and against LIME: ratios in one run.

Both sides get the same trained network's activations and the same scikit-learn settings. The plain
script makes the same calls in loops and explains one image after the other. CPU seconds stand beside
wall seconds, because a shared machine changes the latter.

    python benchmarks/bench_cnn_inte.py                  # digits
    CNNINTE_DATA=… python benchmarks/bench_cnn_inte.py mnist
"""

import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from lime.lime_image import LimeImageExplainer
from lime.wrappers.scikit_image import SegmentationAlgorithm
from sklearn.cluster import KMeans
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from cnninte_utils import datasets
from cnninte_utils.methods.cnn_inte.estimator import CNNINTE
from cnninte_utils.networks import activations, training

N_LIME, N_LOOP = 5, 50
RECIPES = {"digits": training.Recipe(300, learning_rate=3e-4, report_every=30), "mnist": training.Recipe()}


def timed(function: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return the result, wall seconds and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    return function(), time.perf_counter() - wall, time.process_time() - cpu


def plain_fit(images: np.ndarray, labels: np.ndarray, hidden: np.ndarray) -> tuple:
    factors = KMeans(8, n_init=10, random_state=0).fit_predict(hidden.T)
    ids = np.stack(
        [KMeans(10, n_init=10, random_state=0).fit_predict(hidden[:, factors == f]) for f in range(8)], axis=1
    )
    forests = [
        RandomForestClassifier(20, max_leaf_nodes=1_000, n_jobs=-1, random_state=0).fit(images, column)
        for column in ids.T
    ]
    return forests, ids, DecisionTreeClassifier(max_depth=5, criterion="entropy").fit(ids, labels)


def plain_explain(fitted: tuple, train_labels: np.ndarray, image: np.ndarray, label: int) -> dict[int, int]:
    """Walk one image down the tree; return the depth at which each hypothesis is separated."""
    forests, ids, tree = fitted
    row = np.array([[forest.predict(image[None])[0] for forest in forests]])
    left, separated = np.ones(len(ids), bool), {}
    nodes = tree.decision_path(row).indices
    for depth, (node, child) in enumerate(pairwise(nodes), start=1):
        factor, threshold = tree.tree_.feature[node], tree.tree_.threshold[node]
        goes_left = child == tree.tree_.children_left[node]
        left &= (ids[:, factor] <= threshold) == goes_left
        for hypothesis in set(range(10)) - {label} - set(separated):
            if not (left & (train_labels == hypothesis)).any() and (left & (train_labels == label)).any():
                separated[hypothesis] = depth
    return separated


def lime_explain(model, image: np.ndarray, explainer: LimeImageExplainer) -> None:
    explainer.explain_instance(
        np.repeat(image.astype("float64"), 3, axis=2),
        lambda batch: activations.predict(model, batch[..., :1].astype("float32")),
        hide_color=0,
        num_samples=1_000,
        batch_size=500,
        segmentation_fn=SegmentationAlgorithm("quickshift", kernel_size=1, max_dist=200, ratio=0.2),
    )


def main(name: str = "digits") -> None:
    data = datasets.load(name)
    model = training.fit_or_load("mnist_cnn", data, RECIPES[name]).model
    hidden = activations.activations(model, "fc1", data.train.images)
    flat = {
        split: getattr(data, split).images.reshape(len(getattr(data, split)), -1)
        for split in ("train", "test")
    }
    labels = data.train.labels

    plain, *plain_fit_time = timed(lambda: plain_fit(flat["train"], labels, hidden))
    inte, *fit_time = timed(lambda: CNNINTE(random_state=0).fit(data.train.images, labels, hidden))
    explained, *all_time = timed(lambda: inte.explain_all(data.test.images, data.test.labels))
    pairs = list(zip(flat["test"][:N_LOOP], data.test.labels[:N_LOOP].tolist(), strict=True))
    _, *loop_time = timed(lambda: [plain_explain(plain, labels, image, label) for image, label in pairs])
    explainer = LimeImageExplainer(random_state=0)
    _, *lime_time = timed(lambda: [lime_explain(model, x, explainer) for x in data.test.images[:N_LIME]])

    print(f"{data}\n{'':<34}{'wall s':>9}{'CPU s':>9}")
    for title, (wall, cpu) in (("fit, plain script", plain_fit_time), ("fit, CNNINTE", fit_time)):
        print(f"{title:<34}{wall:>9.2f}{cpu:>9.2f}")
    each = {
        "explain one, plain loop": np.array(loop_time) / N_LOOP,
        "explain one, LIME (1,000 samples)": np.array(lime_time) / N_LIME,
        "explain one, explain_all": np.array(all_time) / len(explained),
    }
    for title, (wall, cpu) in each.items():
        print(f"{title:<34}{wall:>9.5f}{cpu:>9.5f}")
    per_image = each["explain one, explain_all"][0]
    print(f"\nfit: {plain_fit_time[0] / fit_time[0]:.2f}× the plain script's speed")
    for method in ("plain loop", "LIME (1,000 samples)"):
        ratio = each[f"explain one, {method}"][0] / per_image
        print(f"explain: {ratio:,.0f}× the speed of {method}, once fitted")


if __name__ == "__main__":
    main(*sys.argv[1:])
