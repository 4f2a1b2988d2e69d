"""What every method of the atlas is fed with, and what it gives back."""

import importlib
from functools import partial

import numpy as np
import pytest
from toy_networks import pictures, with_noise

from cnninte_utils.methods import card
from cnninte_utils.methods.attribution import class_features, extractors, patterns, selectors
from cnninte_utils.networks import builders
from cnninte_utils.networks.activations import predict

GOOD, CLASSES = pictures((16, 16, 3), 4), np.array([1, 3, 0, 9])
FEW = {  # as little as there is
    "perturbation.meaningful_perturbation": {"steps": 2},
    "perturbation.rise": {"n_masks": 4},
    "perturbation.deepfool": {"steps": 2},
    "perturbation.minimal_perturbation": {"searches": 2, "iterations": 5},
    "perturbation.invariant_perturbation": {"n_draws": 1, "cells": 4},
    "perturbation.lime_map": {"n_samples": 20},
    "attribution.integrated_gradients": {"steps": 2},
    "attribution.smoothgrad": {"n_samples": 2},
    "attribution.shapley.kernel_shap": {"n_samples": 40, "patches": 4},
    "attribution.shapley.partition_shap": {"n_samples": 40},
}
CARDS = card.collected()
WITH_NAN = GOOD.copy()
WITH_NAN[2, 3, 4, 1] = np.nan
BAD = {
    "uint8": ((GOOD * 255).astype(np.uint8), "got uint8"),
    "0 … 255": (np.round(GOOD * 255), r"got 0 to 255"),
    "NaN": (WITH_NAN, "got NaN"),
    "standardised": ((GOOD - 0.5) / 0.25, "got -"),
}


@pytest.fixture(scope="module")
def network():
    return with_noise(builders.resnet(depth=8, input_size=16, width=0.5, mean=[0.5] * 3, std=[0.25] * 3))


@pytest.fixture(scope="module")
def methods(network):
    found = {}
    for path in CARDS:
        module, _, name = f"cnninte_utils.methods.{path}".rpartition(".")
        options = FEW.get(path, {})
        if "pattern" in name:
            options = {"patterns": patterns.fit(network, GOOD)}
        if name == "class_filter":
            filters = class_features.filter_norms(network, GOOD)[1]
            weights = np.random.default_rng(0).random((len(filters), 10))
            known = class_features.ClassFeatures(filters, weights, 1.0, weights[:, 0], weights[:, 0])
            options = {"features": known}
        if name == "l2x":
            options = {"selector": selectors.fit(network, GOOD, n_selected=3, patches=4, epochs=1)}
        if name == "agnostic_mask":
            options = {"extractor": extractors.fit(network, GOOD, CLASSES, epochs=1)}
        found[path] = partial(getattr(importlib.import_module(module), name), network, **options)
    return found


@pytest.mark.parametrize("kind", BAD)
def test_what_is_not_in_zero_one_is_refused_by_name_everywhere(methods, kind):
    images, found = BAD[kind]
    for path, method in methods.items():
        with pytest.raises(ValueError, match=r"images must be floats in \[0, 1\], " + found):
            pytest.fail(f"{path} took {kind}: {method(images, CLASSES).shape}")


def test_classes_that_do_not_exist_are_refused_everywhere(methods):
    for path, method in methods.items():
        for wrong in ([1, 2, 3, 10], [1, 2, 3], np.zeros((4, 3))):
            with pytest.raises(ValueError, match=r"targets must be"):
                pytest.fail(f"{path} took {wrong}: {method(GOOD, wrong).shape}")


@pytest.mark.parametrize("path", CARDS)
def test_results_are_finite_float32_maps_of_the_images_size_in_double_precision_too(methods, path, network):
    classes = predict(network, GOOD).argmax(axis=1)
    found = methods[path](GOOD, classes)
    n_channels = 1 if "one channel" in CARDS[path].output else 3
    assert found.shape == (4, 16, 16, n_channels)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert np.ptp(found) > 0
    if not CARDS[path].is_signed and "chain" not in CARDS[path].output:
        assert found.min() >= 0
    again = methods[path](GOOD.astype(np.float64), classes.tolist())
    np.testing.assert_allclose(again, found, atol=1e-5 * np.abs(found).max())


def test_the_network_is_not_altered(methods, network):
    before, config = [w.copy() for w in network.get_weights()], network.to_json()
    for method in methods.values():
        method(GOOD[:1], CLASSES[:1])
    assert all(np.array_equal(a, b) for a, b in zip(before, network.get_weights(), strict=True))
    assert network.to_json() == config
