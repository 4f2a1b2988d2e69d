"""DeepLIFT: by hand, against exact Shapley values, completeness in every network of the series."""

from itertools import permutations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers
from toy_networks import NETS, TARGET, X, dense_network, linear_network, net_a, net_b, pictures, with_noise

from cnninte_utils.methods import attribution
from cnninte_utils.networks import builders, targets


def shapley(model, image, baseline):
    """Average what each pixel of a row adds over all orders in which pixels can come."""
    n = image.size
    result = np.zeros(n)
    orders = list(permutations(range(n)))
    for order in orders:
        x = baseline.copy()
        for pixel in order:
            before = targets.scores(model, x, TARGET).item()
            x[0, 0, pixel, 0] = image[0, 0, pixel, 0]
            result[pixel] += targets.scores(model, x, TARGET).item() - before
    return result / len(orders)


@pytest.mark.parametrize(
    ("net", "rescale", "reveal"), [("A", (4, -2), (4.5, -2.5)), ("B", (4.5, -6.5), (5, -7))]
)
def test_by_hand(net, rescale, reveal):
    model = NETS[net]()
    assert attribution.deeplift(model, X, TARGET).ravel().tolist() == list(rescale)
    assert attribution.deeplift(model, X, TARGET, rule="reveal_cancel").ravel().tolist() == list(reveal)
    assert shapley(model, X, np.zeros_like(X)).tolist() == list(reveal)


def pooled(weights):
    image = keras.Input((1, 3, 1))
    out = layers.Dense(1, use_bias=False)
    model = keras.Model(image, out(layers.Flatten()(layers.MaxPooling2D((1, 2), 1)(image))))
    out.set_weights([np.reshape(weights, (2, 1))])
    return model


def test_overlapping_windows_whose_winner_moves_by_hand():
    # h = (1, 3, 2), h' = (2, 1, 0), a quarter of it: maxima (3, 3) and (2, 1)
    h, reference = (np.float32(row).reshape(1, 1, 3, 1) / 4 for row in ([1, 3, 2], [2, 1, 0]))
    for rule in ("rescale", "reveal_cancel"):
        found = attribution.deeplift(pooled([4.0, 4.0]), h, [0], baseline=reference, rule=rule)
        np.testing.assert_allclose(found.ravel(), [0, 3, 0], atol=1e-6)
    # the winner of the first window falls: it takes what it is short of the one that comes in its place
    h, reference = (np.float32(row).reshape(1, 1, 3, 1) / 4 for row in ([1, 2, 0], [4, 0, 0]))
    found = attribution.deeplift(pooled([4.0, 0.0]), h, [0], baseline=reference)
    np.testing.assert_allclose(found.ravel(), [-2, 0, 0], atol=1e-6)


@settings(max_examples=15)
@given(st.integers(0, 1000))
def test_one_rectified_layer_of_two_inputs_reveals_shapley_values(seed):
    # a unit's two players are what raises and what lowers it: the pixels, where they pull apart
    rng = np.random.default_rng(seed)
    image, baseline = rng.random((2, 1, 1, 2, 1), np.float32)
    direction = rng.choice([-1, 1], 4) * np.sign(image - baseline).reshape(2, 1) * [[1], [-1]]
    first = np.abs(rng.standard_normal((2, 4))) * direction
    model = dense_network(first, rng.standard_normal(4), rng.standard_normal(4), 0.3)
    found = attribution.deeplift(model, image, TARGET, rule="reveal_cancel", baseline=baseline)
    np.testing.assert_allclose(found.ravel(), shapley(model, image, baseline), atol=1e-4)


def test_rescale_is_integrated_gradients_for_one_rectified_layer():
    images = pictures((1, 2, 1), 6)
    for model in (net_a(), net_b()):
        exact = attribution.integrated_gradients(model, images, [0] * 6, steps=5_000)
        np.testing.assert_allclose(attribution.deeplift(model, images, [0] * 6), exact, atol=5e-3)


NETWORKS = {
    "mnist_cnn": lambda: builders.mnist_cnn((12, 12, 1)),
    "alexnet": lambda: builders.alexnet(input_size=64, width=0.1, mean=[0.5, 0.4, 0.3], std=[0.2, 0.3, 0.25]),
    "alexnet_b": lambda: builders.alexnet(
        input_size=64, width=0.1, variant="one_tower", head="pooling", batch_norm=True
    ),
    "vgg19": lambda: builders.vgg19(input_size=32, width=0.05),
    "resnet": lambda: builders.resnet(depth=8, input_size=16, width=0.5, mean=[0.5] * 3, std=[0.2] * 3),
    "densenet": lambda: builders.densenet(depth=7, growth=4, input_size=16),
}
RULES = [("rescale", "rescale"), ("reveal_cancel", "rescale"), ("reveal_cancel", "reveal_cancel")]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("rule", "convolutions"), RULES)
def test_all_add_up_to_the_difference_whatever_the_baseline(name, rule, convolutions):
    model = with_noise(NETWORKS[name](), seed=4)
    images, classes = pictures(model.input_shape[1:]), np.array([2, 9, 0])
    for baseline in (None, 1.0, images[::-1].copy()[:1][0], pictures(model.input_shape[1:], 3, seed=5)):
        options = {"rule": rule, "convolutions": convolutions, "baseline": baseline}
        if rule == "reveal_cancel" and name in ("resnet", "densenet"):
            with pytest.raises(ValueError, match=r"reveal_cancel is not defined for \w+, a step of kind"):
                attribution.deeplift(model, images, classes, **options)
            continue
        found = attribution.deeplift(model, images, classes, **options).sum(axis=(1, 2, 3), dtype=float)
        start = targets.baselines(model, images, baseline)
        expected = targets.scores(model, images, classes) - targets.scores(model, start, classes)
        scale = np.abs(targets.scores(model, images, classes)).mean()
        np.testing.assert_allclose(found, expected, atol=2e-4 * scale)


def test_a_straight_line_is_weights_times_differences():
    model, images = linear_network([2.0, -1, 0.5], 0.25), pictures((1, 3, 1), 4)
    expected = (images - 0.25) * np.float32([2, -1, 0.5]).reshape(1, 1, 3, 1)
    for rule in ("rescale", "reveal_cancel"):
        found = attribution.deeplift(model, images, [0] * 4, rule=rule, baseline=0.25)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_what_does_not_differ_gets_nothing():
    model = with_noise(builders.mnist_cnn((12, 12, 1)))
    images = pictures((12, 12, 1), 2)
    start = images.copy()
    start[:, 3:6, 4:9] = 0.5
    is_same = (images == start)[..., 0]
    for rule, convolutions in RULES:
        found = attribution.deeplift(
            model, images, [1, 2], rule=rule, convolutions=convolutions, baseline=start
        )
        assert not found[is_same].any()
        assert found[~is_same].all()


def test_combinations_of_logits_add_by_rescale():
    model = with_noise(builders.mnist_cnn((12, 12, 1)))
    images = pictures((12, 12, 1), 2)
    one, other = (attribution.deeplift(model, images, [c, c]) for c in (3, 6))
    v = np.zeros((2, 10), np.float32)
    v[:, 3], v[:, 6] = 1, -1
    np.testing.assert_allclose(attribution.deeplift(model, images, v), one - other, atol=1e-4)


def test_bad_requests_are_refused():
    with pytest.raises(ValueError, match="unknown rule 'linear': choose one of rescale, reveal_cancel"):
        attribution.deeplift(net_b(), X, TARGET, rule="linear")
    with pytest.raises(ValueError, match="unknown rule for convolutions 'linear'"):
        attribution.deeplift(net_b(), X, TARGET, convolutions="linear")
    with pytest.raises(ValueError, match=r"baseline is \(2.0, 2.0\); allowed: numbers in \[0, 1\]"):
        attribution.deeplift(net_b(), X, TARGET, baseline=2.0)
