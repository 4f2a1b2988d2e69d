"""Occlusion: by hand, against plain loops, straight lines, any classifier."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_networks import NETS, TARGET, X, linear_network, pictures, with_noise

from cnninte_utils.methods import perturbation
from cnninte_utils.networks import builders, targets
from cnninte_utils.networks.activations import predict


@pytest.mark.parametrize(("net", "expected"), [("A", [4, -3]), ("B", [4, -8])])
def test_by_hand(net, expected):
    found = perturbation.occlusion(NETS[net](), X, TARGET, size=1, stride=1, baseline=0)
    assert found.shape == (1, 1, 2, 1)
    np.testing.assert_allclose(found.ravel(), expected, atol=1e-5)


def test_border_pixels_are_in_as_many_windows_by_hand():
    # f = 1·p0 + 2·p1 + 4·p2, windows of two, every one: {0}, {0, 1}, {1, 2}, {2}
    model, x = linear_network([1.0, 2.0, 4.0]), np.ones((1, 1, 3, 1), np.float32)
    found = perturbation.occlusion(model, x, TARGET, size=2, stride=1)
    np.testing.assert_allclose(found.ravel(), [(1 + 3) / 2, (3 + 6) / 2, (6 + 4) / 2], atol=1e-5)


def loops(function, image, fill, size, stride):
    height, width = image.shape[:2]
    total, count = np.zeros((height, width)), np.zeros((height, width))
    for top in range(stride - size, height, stride):
        for left in range(stride - size, width, stride):
            copy, is_in = image.copy(), np.zeros((height, width), bool)
            for i in range(max(0, top), min(height, top + size)):
                for j in range(max(0, left), min(width, left + size)):
                    copy[i, j], is_in[i, j] = fill, True
            total[is_in] += function(image) - function(copy)
            count += is_in
    return total / count


@settings(max_examples=10)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(3, 7), st.integers(3, 7))
def test_against_loops_for_any_classifier(size, stride, height, width):
    def classifier(x):  # a lookup that no gradient exists for
        return np.stack([(x > 0.5).mean(axis=(1, 2, 3)), x.max(axis=(1, 2, 3))], axis=1)

    images = pictures((height, width, 2), 2)
    if stride > size:
        with pytest.raises(
            ValueError, match=f"stride is {stride}; allowed: at most the window's size, {size}"
        ):
            perturbation.occlusion(classifier, images, [0, 1], size=size, stride=stride)
        return
    found = perturbation.occlusion(classifier, images, [0, 1], size=size, stride=stride, baseline=0.25)
    for one, image, target in zip(found, images, (0, 1), strict=True):
        expected = loops(lambda x, t=target: classifier(x[None])[0, t], image, 0.25, size, stride)
        np.testing.assert_allclose(one[..., 0], expected, atol=1e-6)


def test_a_network_as_a_function_and_as_itself():
    model = with_noise(builders.resnet(depth=8, input_size=16, mean=[0.5] * 3, std=[0.25] * 3))
    images, classes = pictures((16, 16, 3), 2), np.array([3, 7])
    one = perturbation.occlusion(model, images, classes, output="probability")
    other = perturbation.occlusion(lambda x: predict(model, x), images, classes, baseline=0.5)
    np.testing.assert_allclose(one, other, atol=1e-5)
    assert np.abs(one).max() > 0
    assert not np.allclose(one, perturbation.occlusion(model, images, classes))


def test_combinations_of_logits_add():
    model = with_noise(builders.mnist_cnn((12, 12, 1)))
    images = pictures((12, 12, 1), 2)
    one, other = (perturbation.occlusion(model, images, [c, c]) for c in (3, 6))
    v = np.zeros((2, 10), np.float32)
    v[:, 3], v[:, 6] = 1, -1
    np.testing.assert_allclose(perturbation.occlusion(model, images, v), one - other, atol=1e-4)


def test_bad_requests_are_refused():
    model = NETS["A"]()
    with pytest.raises(ValueError, match=r"images must be floats in \[0, 1\], got 1 to 2"):
        perturbation.occlusion(model, 4 * X, TARGET)
    with pytest.raises(ValueError, match="whole number size must be at least 1"):
        perturbation.occlusion(model, X, TARGET, size=0)
    with pytest.raises(ValueError, match="classes from 0 to 1"):
        perturbation.occlusion(model, X, [2])
    with pytest.raises(ValueError, match="unknown output 'odds'"):
        perturbation.occlusion(model, X, TARGET, output="odds")
    assert targets.scores(model, X, TARGET).item() == 2
