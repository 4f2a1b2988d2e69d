import keras
import numpy as np
import pytest

from cnninte_utils import models


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return models.mnist_cnn()


def test_layers_are_the_papers(network):
    names = [layer.name for layer in network.layers]
    assert names == [
        "image",
        "conv1",
        "pool1",
        "conv2",
        "pool2",
        "flatten",
        "fc1",
        "dropout",
        "fc2",
        "softmax",
    ]
    assert network.get_layer("pool2").output.shape == (None, 7, 7, 64)
    assert network.get_layer("dropout").rate == 0.5


def test_number_of_parameters_by_hand(network):
    by_hand = (25 * 1 + 1) * 32 + (25 * 32 + 1) * 64 + (7 * 7 * 64 + 1) * 128 + (128 + 1) * 10
    assert network.count_params() == by_hand


def test_initial_values_are_the_tutorials(network):
    for name in ("conv1", "conv2", "fc1", "fc2"):
        weights, bias = network.get_layer(name).get_weights()
        assert np.allclose(bias, 0.1)
        assert np.abs(weights).max() <= 0.2 + 1e-6
    fc1 = network.get_layer("fc1").get_weights()[0]
    assert abs(fc1.mean()) < 1e-3
    assert abs(fc1.std() - 0.088) < 1e-3  # a normal of σ = 0.1 cut at 2σ has 0.88 of its deviation


def test_output_is_probabilities(network):
    out = network.predict(np.random.default_rng(0).random((3, 28, 28, 1), np.float32), verbose=0)
    assert out.shape == (3, 10)
    assert np.allclose(out.sum(axis=1), 1, atol=1e-5)


def test_unknown_network_is_refused():
    with pytest.raises(ValueError, match="'lenet': choose one of mnist_cnn"):
        models.build("lenet")
