"""All 1,376 feature maps of AlexNet's five layers at 224×224 back to pixels: ratios in one run.

The plain script does what one finds in tutorials: a copy of the network whose ReLUs have another gradient,
and one gradient call for each feature map. It is timed on a sample of maps of every layer and scaled up by
their number. Both sides compute guided backpropagation from ones; results are compared. Mosaics are written.

    python benchmarks/bench_deconvnet.py
"""

import os
import resource
import tempfile
import time
from pathlib import Path

from cnninte_utils.papers import qdv

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

from cnninte_utils import figures
from cnninte_utils.methods.units import deconvnet
from cnninte_utils.networks import builders
from cnninte_utils.networks.parts import LocalResponseNormalization

N_SAMPLE = 12


@tf.custom_gradient
def guided_relu(x):
    y = tf.nn.relu(x)
    return y, lambda g: tf.where((g > 0) & (y > 0), g, 0.0)


@tf.custom_gradient
def passed_by(x, y):
    return y, lambda g: (g, None)


class PassedBy(keras.layers.Layer):
    """Local response normalisation on the way up, nothing on the way down."""

    def __init__(self, inside, **options):
        super().__init__(**options)
        self._inside = inside

    def call(self, x):
        return passed_by(x, self._inside(x))


def with_guided_relu(model: keras.Model) -> keras.Model:
    def clone(layer):
        config = layer.get_config()
        if isinstance(layer, LocalResponseNormalization):
            return PassedBy(layer.__class__.from_config(config), name=layer.name)
        if config.get("activation") == "relu":
            config["activation"] = "linear"
            copy = layer.__class__.from_config(config)
            copy.activation = guided_relu
            return copy
        return layer.__class__.from_config(config)

    copy = keras.models.clone_model(model, clone_function=clone)
    copy.set_weights(model.get_weights())
    return copy


def plain(model: keras.Model, image: np.ndarray, layer: str, units: range) -> np.ndarray:
    lower = keras.Model(model.inputs, model.get_layer(layer).output)
    results = []
    for unit in units:
        x = tf.convert_to_tensor(image[None])
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(lower(x)[..., unit])
        results.append(tape.gradient(total, x)[0].numpy())
    return np.stack(results)


def peak_memory() -> float:
    """Return the largest resident memory of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    keras.utils.set_random_seed(0)
    model = builders.alexnet()
    image = np.random.default_rng(0).random((224, 224, 3), np.float32)
    layers = qdv.LAYERS["alexnet"]
    counts = {layer: model.get_layer(layer).output.shape[-1] for layer in layers}
    seconds = writing = 0.0
    samples = {}
    with tempfile.TemporaryDirectory() as folder:
        for layer in layers:
            started = time.perf_counter()
            maps = deconvnet.reconstruct(model, image, layer, rule="guided", seed="ones")
            seconds += time.perf_counter() - started
            samples[layer] = maps[:N_SAMPLE].copy()
            started = time.perf_counter()
            figure, ax = plt.subplots(figsize=(8, 8))
            figures.mosaic(maps, ax, block_size=56)
            figure.savefig(Path(folder) / f"{layer}.png")
            plt.close(figure)
            writing += time.perf_counter() - started
    memory = peak_memory()
    copy = with_guided_relu(model)
    plain_seconds, difference = 0.0, 0.0
    for layer in layers:
        plain(copy, image, layer, range(1))
        started = time.perf_counter()
        found = plain(copy, image, layer, range(N_SAMPLE))
        plain_seconds += (time.perf_counter() - started) * counts[layer] / N_SAMPLE
        scale = np.abs(found).max()
        difference = max(difference, float(np.abs(found - samples[layer]).max() / scale))
    print(f"{sum(counts.values()):,} maps: {seconds:.1f} s, mosaics {writing:.1f} s, peak {memory:.2f} GB")
    ratio = plain_seconds / seconds
    print(f"one map at a time (sample scaled up): {plain_seconds:.1f} s, {ratio:.1f} times as long")
    print(f"largest difference relative to the largest value: {difference:.1e}")


if __name__ == "__main__":
    main()
