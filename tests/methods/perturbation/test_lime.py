"""LIME: weights of samples by hand, the regression by plain algebra, segments, any classifier."""

import numpy as np
import pytest
from toy_networks import pictures, with_noise

from cnninte_utils.methods import perturbation
from cnninte_utils.methods.perturbation import lime
from cnninte_utils.networks import builders


def test_weights_of_samples_by_hand():
    np.testing.assert_allclose(
        lime.kernel_weights(np.array([1, 0.75, 0.5, 0.25])), [1, 0.8662, 0.5034, 0.1353], atol=5e-5
    )


def means(images):
    """A classifier of two outputs: the mean of the upper left quarter, and of the rest."""
    corner = np.zeros(images.shape[1:3], bool)
    corner[: corner.shape[0] // 2, : corner.shape[1] // 2] = True
    return np.stack([images[:, corner].mean(axis=(1, 2)), images[:, ~corner].mean(axis=(1, 2))], axis=1)


def test_against_weighted_ridge_in_plain_algebra():
    images = pictures((16, 16, 3), 1)
    found = perturbation.lime_map(
        means, images, [0], segmentation="grid", n_samples=300, baseline=0.0, random_state=4
    )
    parts = lime.segments(images[0], "grid")
    state = np.random.RandomState(4)
    state.randint(0, 1000)  # the library's first draw is a seed for its own segmentation
    z = state.randint(0, 2, 300 * 64).reshape(300, 64)
    z[0] = 1
    scores = means(images * z[:, parts][..., None])[:, 0]
    weights = lime.kernel_weights(z.mean(axis=1))
    centered = z - np.average(z, axis=0, weights=weights)
    scores = scores - np.average(scores, weights=weights)
    left = (centered.T * weights) @ centered + np.eye(64)
    w = np.linalg.solve(left, (centered.T * weights) @ scores)
    np.testing.assert_allclose(found[0, ..., 0], w[parts], atol=1e-5)


def test_of_many_samples_a_sum_over_segments_has_its_own_terms():
    images = 0.2 + 0.8 * pictures((16, 16, 1), 1)
    found = perturbation.lime_map(means, images, [0], segmentation="grid", n_samples=4000, baseline=0.0)
    cells = images[0, ..., 0].reshape(8, 2, 8, 2).sum(axis=(1, 3)) / 64
    cells[4:] = cells[:, 4:] = 0
    np.testing.assert_allclose(found[0, ::2, ::2, 0], cells, atol=2e-3)


@pytest.mark.parametrize("segmentation", lime.SEGMENTATIONS)
def test_segments_are_numbered_without_gaps_and_weights_constant_in_them(segmentation):
    images = pictures((16, 16, 3), 1)
    images[:, :, :8] = 0.1
    parts = lime.segments(images[0], segmentation)
    assert sorted(set(parts.ravel())) == list(range(parts.max() + 1))
    assert parts.max() > 0
    found = perturbation.lime_map(means, images, [1], segmentation=segmentation, n_samples=30)
    assert all(np.ptp(found[0][parts == k]) == 0 for k in range(parts.max() + 1))


def test_networks_combinations_and_seeds(capfd):
    model = with_noise(builders.mnist_cnn((12, 12, 1)))
    images = pictures((12, 12, 1), 2)
    options = {"segmentation": "grid", "n_samples": 200, "output": "logit"}
    one, other = (perturbation.lime_map(model, images, [c, c], **options) for c in (3, 6))
    v = np.zeros((2, 10), np.float32)
    v[:, 3], v[:, 6] = 1, -1
    np.testing.assert_allclose(perturbation.lime_map(model, images, v, **options), one - other, atol=1e-4)
    assert not np.array_equal(one, perturbation.lime_map(model, images, [3, 3], **options, random_state=1))
    np.testing.assert_allclose(perturbation.lime_map(model, images[1:], [3], **options), one[1:], atol=1e-6)
    assert "%" not in capfd.readouterr().err  # no bars


def test_bad_requests_are_refused():
    images = pictures((8, 8, 3), 1)
    with pytest.raises(ValueError, match="unknown segmentation 'watershed': choose one of quickshift"):
        perturbation.lime_map(means, images, [0], segmentation="watershed")
    with pytest.raises(ValueError, match="whole number n_samples must be at least 2"):
        perturbation.lime_map(means, images, [0], n_samples=1)
    with pytest.raises(ValueError, match="parameter baseline is 2"):
        perturbation.lime_map(means, images, [0], baseline=2)
    with pytest.raises(ValueError, match="one channel or three"):
        perturbation.lime_map(means, images[..., :2], [0])
