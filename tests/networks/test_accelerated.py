"""Accelerated trainings are ``fit``'s, on the processor of this machine, in a process of Keras on JAX."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from cnninte_utils import datasets
from cnninte_utils.networks import accelerated

needs_jax = pytest.mark.skipif(find_spec("jax") is None, reason="jax is not installed")

BOTH_WAYS = """
import keras
import numpy as np
from cnninte_utils import datasets
from cnninte_utils.methods.group_norms import Penalty
from cnninte_utils.networks import accelerated, builders, training

def network():
    image = keras.Input((20, 20, 1))
    x = keras.layers.Conv2D(6, 5, strides=3, activation="relu", name="conv")(image)
    x = keras.layers.Dropout(0.3)(keras.layers.Flatten()(x))
    return keras.Model(image, keras.layers.Dense(10, activation="softmax", name="fc")(x))

builders.BUILDERS["small"] = network
digits = datasets.load("digits").with_train(100)  # of 28 pixels: they are resized

def trained(is_accelerated, n_bytes, **options):
    data = digits
    if n_bytes == 1:
        train, rest = (
            datasets.Split((255 * split.images).astype(np.uint8), split.labels)
            for split in (digits.train, digits.validation)
        )
        data = datasets.ImageDataset("bytes", train, rest, rest, digits.class_names, "")
    accelerated.is_possible = lambda *_: is_accelerated
    recipe = training.Recipe(6, 8, learning_rate=0.05, report_every=2, algorithm="sgd", **options)
    objective = Penalty("block_norm", 0.01, n_groups=2)
    return training._Training("small", {}, data, recipe, None, objective).run(None)

for n_bytes, options in ((4, {}), (1, {"is_augmented": True, "schedule": "cosine"})):
    plain, fast = (trained(is_accelerated, n_bytes, **options) for is_accelerated in (False, True))
    assert plain.history.keys() == fast.history.keys() and len(plain.history["loss"]) == 3
    assert "strength/conv/1" in plain.history and len(set(plain.history["loss"])) == 3
    for name, curve in plain.history.items():
        assert np.allclose(curve, fast.history[name], rtol=1e-3), (name, curve, fast.history[name])
    for one, other in zip(plain.model.get_weights(), fast.model.get_weights(), strict=True):
        assert np.allclose(one, other, atol=1e-4)
print("the same")
"""


def on_jax(code):
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_jax
def test_an_accelerated_training_is_that_of_fit():
    assert on_jax(BOTH_WAYS) == "the same\n"


@needs_jax
def test_without_an_accelerator_nothing_is_accelerated():
    code = "from cnninte_utils import datasets\nfrom cnninte_utils.networks import accelerated\n"
    assert on_jax(code + "print(accelerated.is_possible(datasets.load('digits').train, 28))") == "False\n"


def test_other_backends_fit():
    assert not accelerated.is_possible(datasets.load("digits").train, 28)
