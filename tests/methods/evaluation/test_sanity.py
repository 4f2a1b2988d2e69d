"""Shuffled weights: what is shuffled when, maps that do not heed the network, maps that do."""

import numpy as np
import pytest
from toy_networks import pictures, with_noise

from cnninte_utils.methods import attribution
from cnninte_utils.methods.evaluation import localization, sanity
from cnninte_utils.networks import builders


@pytest.fixture(scope="module")
def network():
    return with_noise(builders.mnist_cnn((12, 12, 1)), seed=1)


IMAGES, CLASSES = pictures((12, 12, 1), 3), np.array([1, 5, 7])


def test_orders():
    model = builders.mnist_cnn((12, 12, 1))
    assert sanity.cascade_order(model) == [
        (), ("fc2",), ("fc2", "fc1"), ("fc2", "fc1", "conv2"), ("fc2", "fc1", "conv2", "conv1"),
    ]  # fmt: skip
    assert sanity.cascade_order(model, "bottom_up")[1:3] == [("conv1",), ("conv1", "conv2")]
    assert sanity.cascade_order(model, "single") == [(), ("conv1",), ("conv2",), ("fc1",), ("fc2",)]
    with pytest.raises(ValueError, match="unknown direction 'down': choose one of top_down, bottom_up"):
        sanity.cascade_order(model, "down")


def test_a_map_of_the_image_alone_does_not_change(network):
    def explain(model, images, targets):
        return localization.edges(images)[..., None]

    found = sanity.cascade(explain, network, IMAGES, CLASSES)
    assert list(found) == sanity.cascade_order(network)
    np.testing.assert_allclose(list(found.values()), 1)


def test_gradients_heed_the_weights_and_the_network_is_not_altered(network):
    before = [w.copy() for w in network.get_weights()]
    found = sanity.cascade(attribution.gradient, network, IMAGES, CLASSES, is_absolute=False)
    np.testing.assert_allclose(found[()], 1)
    assert all(np.abs(similar).max() < 0.7 for names, similar in found.items() if names)
    assert all(np.array_equal(a, b) for a, b in zip(before, network.get_weights(), strict=True))
    again = sanity.cascade(attribution.gradient, network, IMAGES, CLASSES, is_absolute=False)
    assert all(np.array_equal(found[names], again[names]) for names in found)
    other = sanity.cascade(
        attribution.gradient, network, IMAGES, CLASSES, is_absolute=False, random_state=1, order=[("fc2",)]
    )
    assert list(other) == [("fc2",)]
    assert not np.array_equal(other[("fc2",)], found[("fc2",)])


def test_guided_maps_heed_the_last_layer_less_than_gradients(network):
    order = [("fc2",)]
    guided, plain = (
        sanity.cascade(method, network, IMAGES, CLASSES, order=order, is_absolute=False)[("fc2",)]
        for method in (attribution.guided, attribution.gradient)
    )
    assert (guided > plain).all()


def test_floor_by_hand():
    ramp = np.arange(9.0).reshape(3, 3)
    maps = np.stack([ramp, 2 * ramp + 1, -ramp])[..., None]
    # 1 of the first two, -1 and -1 with the third
    np.testing.assert_allclose(sanity.between_images(maps, is_absolute=False), -1 / 3)
    np.testing.assert_allclose(sanity.between_images(maps), 1)
    with pytest.raises(ValueError, match="at least two images, got 1"):
        sanity.between_images(maps[:1])


def test_several_shuffles_are_averaged(network):
    options = {"order": [(), ("fc2",)]}
    one, two, both = (
        sanity.cascade(
            attribution.gradient, network, IMAGES, CLASSES, n_shuffles=n, random_state=k, **options
        )
        for n, k in ((1, 4), (1, 5), (2, 4))
    )
    np.testing.assert_allclose(both["fc2",], (one["fc2",] + two["fc2",]) / 2, atol=1e-6)
    assert np.abs(one["fc2",] - two["fc2",]).max() > 1e-3
    np.testing.assert_allclose(both[()], 1, atol=1e-6)
    with pytest.raises(ValueError, match="n_shuffles must be at least 1"):
        sanity.cascade(attribution.gradient, network, IMAGES, CLASSES, n_shuffles=0)
