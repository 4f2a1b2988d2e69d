"""Attributions of digits and of AlexNet at 64×64: ratios in one run, and passes, which no clock decides.

The plain script does what one finds in tutorials: a gradient tape around one image, in a loop. shap's
DeepExplainer and GradientExplainer run on the digit network; the first fails on AlexNet's grouped
convolutions.
What should be equal is compared; GradientExplainer samples, and is only timed and correlated.
tf-keras-vis is no part of the environment: without it its two rows are left out, and that is said.

    python benchmarks/bench_attribution.py
"""

import os
import time
import warnings
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pandas as pd
import shap
import tensorflow as tf

from cnninte_utils import datasets
from cnninte_utils.methods import attribution, perturbation
from cnninte_utils.methods.evaluation.cost import Meter
from cnninte_utils.networks import activations, targets, training
from cnninte_utils.papers import qdv, survey

N_IMAGES, STEPS, WINDOW = 5, 32, 4


def tape_gradient(logits: keras.Model, image, label: int):
    with tf.GradientTape() as tape:
        tape.watch(image)
        score = logits(image[None], training=False)[0, label]
    return tape.gradient(score, image).numpy()


def one_by_one(explain: Callable, logits: keras.Model, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    found = [explain(logits, image, label) for image, label in zip(images, labels.tolist(), strict=True)]
    return np.stack(found)


def plain_gradient(logits, image, label):
    return tape_gradient(logits, tf.convert_to_tensor(image), label)


def plain_path(logits, image, label):
    start = targets.neutral(logits)
    shares = (np.arange(STEPS, dtype=np.float32) + 0.5) / STEPS
    points = [tf.convert_to_tensor(start + share * (image - start)) for share in shares]
    return (image - start) * np.mean([tape_gradient(logits, point, label) for point in points], axis=0)


def plain_grad_cam(layer: str) -> Callable:
    def explain(logits, image, label):
        both = keras.Model(logits.inputs, [logits.get_layer(layer).output, logits.output])
        with tf.GradientTape() as tape:
            maps, scores = both(image[None], training=False)
            score = scores[0, label]
        weights = tf.reduce_mean(tape.gradient(score, maps), axis=(1, 2), keepdims=True)
        coarse = tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1, keepdims=True))
        return tf.image.resize(coarse, image.shape[:2], method="bilinear")[0].numpy()

    return explain


def plain_occlusion(logits, image, label):
    black, found = targets.neutral(logits), np.zeros((*image.shape[:2], 1), np.float32)
    whole = logits(image[None], training=False)[0, label].numpy()
    for top in range(0, image.shape[0], WINDOW):
        for left in range(0, image.shape[1], WINDOW):
            window = slice(top, top + WINDOW), slice(left, left + WINDOW)
            hidden = image.copy()
            hidden[window] = black[window]
            found[window] = whole - logits(hidden[None], training=False)[0, label].numpy()
    return found


def timed(run: Callable, *, is_warm: bool = False, repeats: int = 3) -> tuple[np.ndarray, float]:
    """Return the result and the seconds of the fastest call, after one in which what is compiled is compiled.

    Loops of single images compile nothing.
    """
    if not is_warm:
        run()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        found = run()
        seconds.append(time.perf_counter() - started)
    return found, min(seconds)


def compare(name: str, network: str, ours: Callable, plain: Callable, other: str) -> dict:
    mine, seconds = timed(ours)
    theirs, plain_seconds = timed(plain, is_warm=True)
    difference = float(np.linalg.norm(mine - theirs) / np.linalg.norm(theirs))
    # at one point of a path in hundreds, rounding decides on which side of zero a ReLU is
    assert difference < 1e-2, f"{name} of {network} and {other} differ by {difference:.1e} of their length"
    per_image = {"ours, ms": 1000 * seconds / N_IMAGES, "theirs, ms": 1000 * plain_seconds / N_IMAGES}
    row = {"method": name, "network": network, "against": other} | per_image
    return row | {"ratio": plain_seconds / seconds, "difference": f"{difference:.0e}"}


def against_tapes(name: str, model: keras.Model, images: np.ndarray, labels: np.ndarray, last: str) -> list:
    logits, what = targets.logits(model), (model, images, labels)
    window = {"size": WINDOW, "stride": WINDOW}
    pairs = {
        "gradient": (lambda: attribution.gradient(*what), plain_gradient),
        f"integrated gradients, {STEPS}": (
            lambda: attribution.integrated_gradients(*what, steps=STEPS),
            plain_path,
        ),
        "Grad-CAM": (lambda: attribution.grad_cam(*what, layer=last), plain_grad_cam(last)),
        f"occlusion, {WINDOW}×{WINDOW}": (lambda: perturbation.occlusion(*what, **window), plain_occlusion),
    }
    return [
        compare(method, name, ours, lambda p=plain: one_by_one(p, logits, images, labels), "tape, one by one")
        for method, (ours, plain) in pairs.items()
    ]


def against_shap(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> tuple[dict, str]:
    logits, black = targets.logits(model), np.zeros_like(images[:1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        explainer = shap.DeepExplainer(logits, black)

        def deep():
            found = np.asarray(explainer.shap_values(images, check_additivity=False))
            return np.stack([found[i, ..., label] for i, label in enumerate(labels)])

        row = compare(
            "DeepLIFT", "digits", lambda: attribution.deeplift(model, images, labels), deep, "shap, Deep"
        )
        sampler = shap.GradientExplainer(logits, black)
        sampled, seconds = timed(lambda: np.asarray(sampler.shap_values(images, nsamples=STEPS)))
    sampled = np.stack([sampled[i, ..., label] for i, label in enumerate(labels)])
    path, own = timed(lambda: attribution.integrated_gradients(model, images, labels, steps=STEPS))
    r = np.corrcoef(path.ravel(), sampled.ravel())[0, 1]
    told = f"shap's GradientExplainer, {STEPS} samples: {seconds / own:.1f} times as long as integrated"
    return row, f"{told} gradients of as many steps, correlation {r:.3f}"


def against_tf_keras_vis(name: str, model: keras.Model, images: np.ndarray, labels: np.ndarray, last: str):
    try:
        from tf_keras_vis.gradcam import Gradcam
        from tf_keras_vis.saliency import Saliency
        from tf_keras_vis.utils.scores import CategoricalScore
    except ImportError:
        print(f"tf-keras-vis is not installed: not compared for {name} (pip install tf-keras-vis)")
        return []
    logits, what, score = targets.logits(model), (model, images, labels), CategoricalScore(labels.tolist())
    saliency, grad_cam = Saliency(logits, clone=False), Gradcam(logits, clone=False)
    coarse = {"penultimate_layer": last, "seek_penultimate_conv_layer": False, "expand_cam": False}
    pairs = {
        "|gradient|": (
            lambda: np.abs(attribution.gradient(*what)),
            lambda: saliency(score, images, keepdims=True, normalize_map=False),
        ),
        "Grad-CAM, coarse": (
            lambda: attribution.grad_cam(*what, layer=last, is_upsampled=False)[..., 0],
            lambda: grad_cam(score, images, normalize_cam=False, **coarse),
        ),
    }
    return [compare(method, name, *both, "tf-keras-vis") for method, both in pairs.items()]


def passes(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    meter, rows = Meter(model), {}
    _, forward = timed(lambda: activations.predict(model, images))
    methods = {
        "gradient": attribution.gradient,
        "LRP-ε": lambda *what: attribution.lrp(*what, rule="epsilon"),
        "LRP composite": attribution.lrp,
        "DeepLIFT": attribution.deeplift,
    }
    for name, method in methods.items():
        _, cost = meter.measure(lambda m, x, method=method: method(m, x, labels[: len(x)]), images)
        _, seconds = timed(lambda method=method: method(model, images, labels))
        rows[name] = {"F": cost.forward, "B": cost.backward, "time / time of F": seconds / forward}
    return pd.DataFrame(rows).T.round(2)


def main() -> None:
    warnings.filterwarnings("ignore", "The structure of `inputs`")  # of a tensor given without a list
    digits, toyworld = datasets.load("digits"), datasets.load("toyworld")
    recipe = training.Recipe(300, 50, 3e-4, report_every=30)
    small = training.fit_or_load("mnist_cnn", digits, recipe).model
    alexnet = qdv.fine_tune("alexnet", toyworld, **qdv.TOYWORLD).model
    rows = []
    for name, model, data, last in (
        ("digits", small, digits, "conv2"),
        ("AlexNet", alexnet, toyworld, "conv5"),
    ):
        images, which, _ = survey.recognized(model, data.test, N_IMAGES)
        rows += against_tapes(name, model, images, data.test.labels[which], last)
        rows += against_tf_keras_vis(name, model, images, data.test.labels[which], last)
        if name == "digits":
            counted = passes(model, images, data.test.labels[which])
            row, sampled = against_shap(model, images, data.test.labels[which])
    print(pd.DataFrame([*rows, row]).round(2).to_string(index=False))
    print(sampled)
    print(f"\npasses an image, digits:\n{counted.to_string()}")


if __name__ == "__main__":
    main()
