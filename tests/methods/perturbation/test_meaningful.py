"""Meaningful perturbation: the part that a class hangs on, the objective's own numbers, its bounds."""

import keras
import numpy as np
import pytest
from keras import layers
from scipy.ndimage import gaussian_filter
from toy_networks import pictures

from cnninte_utils.methods import perturbation
from cnninte_utils.methods.perturbation import meaningful
from cnninte_utils.networks import targets


def spotter(place):
    """A network whose class 0 hangs on how much the pixels of a window differ from those to their right."""
    image = keras.Input((24, 24, 1))
    conv = layers.Conv2D(1, (1, 2), padding="same", activation="relu", use_bias=False, name="edges")
    out = layers.Dense(2, name="out")
    model = keras.Model(image, out(layers.Flatten()(conv(image))))
    conv.set_weights([np.array([1.0, -1.0]).reshape(1, 2, 1, 1)])
    weights = np.zeros((24, 24, 2))
    weights[place, place, 0] = 1.0
    out.set_weights([weights.reshape(-1, 2), np.array([-6.0, 0.0])])
    return model


STRIPES = np.tile(np.float32([1, 0]), (1, 24, 12))[..., None]


@pytest.mark.parametrize("place", [slice(2, 9), slice(14, 21)])
def test_the_mask_lies_where_the_class_hangs(place):
    model = spotter(place)
    found = perturbation.meaningful_perturbation(model, STRIPES, [0], steps=80, area=1e-3)
    assert found.shape == (1, 24, 24, 1)
    assert found.min() >= 0
    assert found.max() <= 1
    inside = np.zeros((24, 24), bool)
    inside[place, place] = True
    assert found[0, ..., 0][inside].mean() > 4 * found[0, ..., 0][~inside].mean()
    spread = 5 * 24 / 224
    blurred = gaussian_filter(STRIPES, 2 * spread, axes=(1, 2), mode="nearest")
    seen = np.clip(blurred + (1 - found) * (STRIPES - blurred), 0, 1)
    before, after = (targets.scores(model, x, [0], output="probability").item() for x in (STRIPES, seen))
    assert before > 0.9
    assert after < 0.5


def test_a_class_that_hangs_on_nothing_is_left_alone():
    image = keras.Input((24, 24, 1))
    out = layers.Dense(2)
    model = keras.Model(image, out(layers.Flatten()(image)))
    out.set_weights([np.zeros((576, 2)), np.array([2.0, 0.0])])
    found = perturbation.meaningful_perturbation(model, STRIPES, [0], steps=60, area=1e-2)
    assert found.max() < 0.05


def test_the_gradient_is_that_of_the_objective():
    model, rng = targets.logits(spotter(slice(2, 9))), np.random.default_rng(0)
    rows, columns = (meaningful._enlarging(4, 24, 0.6) for _ in range(2))
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-6)
    m = rng.uniform(0.3, 0.7, (1, 4, 4, 1)).astype(np.float32)
    images, blurred = pictures((24, 24, 1), 1), np.full((1, 24, 24, 1), 0.5, np.float32)
    v = np.float32([[1, 0]])

    def objective(m):
        mask = np.einsum("is,nstc,jt->nijc", rows, m, columns)
        seen = np.clip(blurred + mask * (images - blurred), 0, 1).astype(np.float32)
        score = targets.scores(model, seen, [0], output="probability").item()
        rough = (np.abs(np.diff(m, axis=1)) ** 3).sum() + (np.abs(np.diff(m, axis=2)) ** 3).sum()
        return score + 0.02 * (1 - m).sum() + 0.5 * rough

    found = meaningful._slope(model, 0.02, 0.5, 3.0)(m, images, blurred, rows, columns, v)
    for place in ((0, 0, 0, 0), (0, 2, 1, 0)):
        step = np.zeros_like(m)
        step[place] = 0.01
        expected = (objective(m + step) - objective(m - step)) / 0.02
        np.testing.assert_allclose(found[place], expected, rtol=0.02, atol=1e-4)


def test_an_image_has_its_mask_whatever_else_is_there():
    model, images = spotter(slice(2, 9)), np.concatenate([STRIPES, 1 - STRIPES])
    together = perturbation.meaningful_perturbation(model, images, [0, 0], steps=5)
    alone = perturbation.meaningful_perturbation(model, images[1:], [0], steps=5)
    np.testing.assert_allclose(together[1:], alone, atol=1e-5)


def test_bad_requests_are_refused():
    model = spotter(slice(2, 9))
    with pytest.raises(ValueError, match="whole number steps must be at least 1"):
        perturbation.meaningful_perturbation(model, STRIPES, [0], steps=0)
    with pytest.raises(ValueError, match="area must be finite and not negative"):
        perturbation.meaningful_perturbation(model, STRIPES, [0], area=-1)
    with pytest.raises(ValueError, match=r"power is 0\.5; allowed: a number of at least 1"):
        perturbation.meaningful_perturbation(model, STRIPES, [0], power=0.5)
    with pytest.raises(ValueError, match="whole number cells must be at least 2"):
        perturbation.meaningful_perturbation(model, STRIPES, [0], cells=1)
