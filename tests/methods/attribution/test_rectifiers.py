"""Deconvnet and guided backpropagation from a logit: by hand, against the units' own, in graphs too."""

import keras
import numpy as np
import pytest
from keras import layers
from toy_networks import NETS, QUARTER, TARGET, X, pictures, with_noise

from cnninte_utils.methods import attribution
from cnninte_utils.methods.units import deconvnet
from cnninte_utils.networks import builders, targets


@pytest.mark.parametrize("net", NETS)
def test_by_hand(net):
    model = NETS[net]()
    assert (attribution.deconvnet(model, X, TARGET).ravel() / QUARTER).tolist() == [5, -5]
    assert (attribution.guided(model, X, TARGET).ravel() / QUARTER).tolist() == [2, 1]


@pytest.mark.parametrize("rule", ["deconvnet", "guided"])
@pytest.mark.parametrize("lrn", ["identity", "gradient"])
def test_from_a_logit_they_are_the_reconstructions_of_that_unit(rule, lrn):
    model = with_noise(builders.alexnet(input_size=64, width=0.1))
    images, classes = pictures((64, 64, 3), 2), np.array([7, 1])
    found = getattr(attribution, rule)(model, images, classes, lrn=lrn)
    logits = targets.logits(model)
    for image, unit, one in zip(images, classes, found, strict=True):
        expected = deconvnet.reconstruct(logits, image, "fc8", [unit], rule=rule, seed="ones", lrn=lrn)[0]
        np.testing.assert_allclose(one, expected, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize("build", [builders.resnet, builders.densenet])
def test_a_graph_of_positive_weights_has_one_map_for_all_three_rules(build):
    depth = {"resnet": 8, "densenet": 7}[build.__name__]
    model = build(depth=depth, input_size=8, width=0.5)
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D | layers.Dense):
            layer.set_weights([np.abs(w) for w in layer.get_weights()])
    images = pictures((8, 8, 3), 2) + 0.0
    plain = attribution.gradient(model, images, [1, 2])
    for method in (attribution.deconvnet, attribution.guided):
        np.testing.assert_allclose(method(model, images, [1, 2]), plain, rtol=1e-4, atol=1e-6)


def test_the_seed_s_sign_matters():
    model = NETS["A"]()
    plus, minus = (attribution.guided(model, X, np.float32([[s, 0]])) for s in (1, -1))
    assert not np.allclose(plus, -minus)


def test_bad_requests_are_refused():
    with pytest.raises(ValueError, match="unknown lrn 'none': choose one of identity, gradient"):
        attribution.guided(NETS["A"](), X, TARGET, lrn="none")
    image = keras.Input((2, 2, 1))
    odd = keras.Model(image, layers.Flatten()(layers.LayerNormalization(name="odd")(image)))
    with pytest.raises(ValueError, match="no rule backwards for odd, a LayerNormalization"):
        attribution.deconvnet(odd, pictures((2, 2, 1), 1), [0])
