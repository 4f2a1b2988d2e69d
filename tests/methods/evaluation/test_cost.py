"""Passes, counted by hand."""

import keras
import numpy as np
import pytest

from cnninte_utils.methods import attribution
from cnninte_utils.methods.attribution import shapley
from cnninte_utils.methods.evaluation.cost import Meter
from cnninte_utils.networks import builders

IMAGES = np.random.default_rng(0).random((3, 28, 28, 1), np.float32)
CLASSES = np.array([1, 5, 0])


@pytest.fixture(scope="module")
def network():
    return builders.mnist_cnn()


@pytest.fixture(scope="module")
def meter(network):
    return Meter(network)


@pytest.mark.parametrize(
    ("explain", "forward", "backward"),
    [
        (lambda m, x: attribution.gradient(m, x, CLASSES[: len(x)]), 1, 1),
        (lambda m, x: attribution.integrated_gradients(m, x, CLASSES[: len(x)], steps=7), 7, 7),
        (lambda m, x: attribution.lrp(m, x, CLASSES[: len(x)], rule="epsilon", epsilon=0), 1, 1),
        (lambda m, x: attribution.deeplift(m, x, CLASSES[: len(x)]), 2, 1),
        (lambda m, x: x, 0, 0),
    ],
)
def test_passes_by_hand(meter, explain, forward, backward):
    _, cost = meter.measure(explain, IMAGES)
    assert (cost.forward, cost.backward, cost.passes) == (forward, backward, forward + backward)
    assert cost.milliseconds > 0


def test_a_convolution_that_is_asked_more_often_counts_by_its_size(meter):
    """The box rule asks the first convolution three times more, the gamma rule the second once."""
    conv1, conv2 = 28 * 28 * 25 * 32, 14 * 14 * 25 * 32 * 64
    _, cost = meter.measure(lambda m, x: attribution.lrp(m, x, CLASSES[: len(x)]), IMAGES)
    assert cost.forward == pytest.approx((4 * conv1 + 2 * conv2) / (conv1 + conv2))
    assert cost.backward == pytest.approx((3 * conv1 + conv2) / (conv1 + conv2))


def test_samples_are_passes(meter):
    def explain(model, x):
        return shapley.kernel_shap(model, x, CLASSES[: len(x)], patches=4, n_samples=40)

    _, cost = meter.measure(explain, IMAGES)
    assert 40 <= cost.forward < 50
    assert cost.backward == 0


def test_the_copy_says_what_the_network_says_which_is_not_altered(network, meter):
    before = network.get_weights()
    maps, _ = meter.measure(lambda m, x: attribution.gradient(m, x, CLASSES[: len(x)]), IMAGES)
    np.testing.assert_allclose(maps, attribution.gradient(network, IMAGES, CLASSES), atol=1e-6)
    for one, other in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_has_no_convolution_is_refused():
    start = keras.Input((4, 4, 1))
    model = keras.Model(start, keras.layers.Dense(2)(keras.layers.Flatten()(start)), name="flat")
    with pytest.raises(ValueError, match="a network with convolutions"):
        Meter(model)
    with pytest.raises(ValueError, match="got uint8"):
        Meter(builders.mnist_cnn()).measure(lambda m, x: x, (IMAGES * 255).astype(np.uint8))
