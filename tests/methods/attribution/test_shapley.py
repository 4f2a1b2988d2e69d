"""Shapley values of patches: by hand, against sums over orders, and what samples keep of them."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_networks import NETS, TARGET, X, linear_network, pictures, with_noise

from cnninte_utils.methods.attribution import shapley
from cnninte_utils.networks import builders, targets

METHODS = {
    "exact": shapley.exact_shapley,
    "kernel": shapley.kernel_shap,
    "partition": shapley.partition_shap,
}


@pytest.mark.parametrize(("net", "expected"), [("A", [4.5, -2.5]), ("B", [5, -7])])
@pytest.mark.parametrize("name", METHODS)
def test_by_hand(name, net, expected):
    options = {} if name == "partition" else {"patches": (1, 2)}
    found = METHODS[name](NETS[net](), X, TARGET, baseline=0, **options)
    assert found.shape == (1, 1, 2, 1)
    np.testing.assert_allclose(found.ravel(), expected, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_a_straight_line_gives_every_pixel_its_own_part(name):
    model, x = linear_network([2.0, -1.0, 0.5], 0.25), np.array([0.5, 1.0, 0.0], np.float32)
    options = {} if name == "partition" else {"patches": (1, 3)}
    found = METHODS[name](model, x.reshape(1, 1, 3, 1), TARGET, baseline=0.25, **options)
    np.testing.assert_allclose(found.ravel(), [2 * 0.25, -0.75, -0.5 * 0.25], atol=1e-6)


def classifier(x):
    """A lookup without a gradient, in which every pixel matters in its own way."""
    flat = np.asarray(x, float).reshape(len(x), -1) > 0.5
    value = flat @ 3.0 ** np.arange(flat.shape[1]) % 7
    return np.stack([value, value**2 % 5], axis=1)


def mean_over_orders(image, numbers, fill, target):
    m, total = numbers.max() + 1, np.zeros(numbers.max() + 1)
    orders = list(permutations(range(m)))
    for order in orders:
        shown = np.full_like(image, fill)
        for patch in order:
            before = classifier(shown[None])[0, target]
            shown[numbers == patch] = image[numbers == patch]
            total[patch] += classifier(shown[None])[0, target] - before
    return total / len(orders)


@settings(max_examples=10)
@given(st.integers(1, 2), st.integers(2, 3), st.integers(0, 3))
def test_the_mean_over_all_orders_of_showing_patches(down, across, seed):
    images = pictures((3, 5, 1), 2, seed)
    numbers = shapley.patch_numbers(3, 5, (down, across))
    expected = [mean_over_orders(image, numbers, 0.0, k) for image, k in zip(images, (0, 1), strict=True)]
    for name in ("exact", "kernel"):
        found = METHODS[name](classifier, images, [0, 1], patches=(down, across))
        for one, values in zip(found, expected, strict=True):
            sums = np.bincount(numbers.ravel(), one.ravel())
            np.testing.assert_allclose(sums, values, atol=1e-4)


@pytest.fixture(scope="module")
def network():
    return with_noise(builders.mnist_cnn((12, 12, 1)))


def test_enough_samples_are_exact_and_fewer_still_add_up(network):
    images, classes = pictures((12, 12, 1), 2), np.array([3, 8])
    exact = shapley.exact_shapley(network, images, classes, patches=(2, 4))
    enough = shapley.kernel_shap(network, images, classes, patches=(2, 4), n_samples=2**8)
    np.testing.assert_allclose(enough, exact, atol=1e-5 * np.abs(exact).max())
    difference = targets.scores(network, images, classes) - targets.scores(network, 0 * images, classes)
    for name, options in {"kernel": {"patches": 6}, "partition": {}}.items():
        few = METHODS[name](network, images, classes, n_samples=60, **options)
        np.testing.assert_allclose(few.sum(axis=(1, 2, 3)), difference, rtol=1e-3)


def test_the_global_random_state_is_left_as_it_was_and_does_not_matter(network):
    image = pictures((12, 12, 1), 1)
    np.random.seed(5)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = shapley.kernel_shap(network, image, [1], patches=4, n_samples=100)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    np.random.seed(6)  # noqa: NPY002
    assert np.array_equal(first, shapley.kernel_shap(network, image, [1], patches=4, n_samples=100))
    other = shapley.kernel_shap(network, image, [1], patches=4, n_samples=100, random_state=1)
    assert not np.array_equal(first, other)


def test_patches_are_numbered_row_by_row_and_cover_what_does_not_divide():
    numbers = shapley.patch_numbers(5, 7, (2, 3))
    assert np.array_equal(np.unique(numbers), np.arange(6))
    assert numbers[0].tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert numbers[:, 0].tolist() == [0, 0, 0, 3, 3]


def test_bad_options_are_refused_by_name(network):
    image = pictures((12, 12, 1), 1)
    with pytest.raises(ValueError, match="patches is 13; allowed: at most as many as pixels, 12 down"):
        shapley.kernel_shap(network, image, [1], patches=13)
    with pytest.raises(ValueError, match=r"patches is 5; allowed: at most 16 in all, for 2\^M sets"):
        shapley.exact_shapley(network, image, [1], patches=5)
    with pytest.raises(ValueError, match="n_samples must be at least 2"):
        shapley.kernel_shap(network, image, [1], n_samples=1)
    with pytest.raises(ValueError, match="patches is 1; allowed: at least two in all"):
        shapley.kernel_shap(network, image, [1], patches=1)
    with pytest.raises(ValueError, match="baseline is"):
        shapley.exact_shapley(network, image, [1], baseline=2.0)
