"""Localisation: numbers by hand, scikit-learn's curve, what must not matter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score

from cnninte_utils.methods.evaluation import localization

HEATS = np.array([[[0.0, 3.0], [-2.0, 1.0]]])
MASKS = np.array([[[True, True], [False, False]]])


def test_by_hand():
    assert localization.pointing(HEATS, MASKS).tolist() == [1]
    assert localization.mass(HEATS, MASKS).tolist() == [3 / 4]
    assert localization.pixel_auc(HEATS, MASKS).tolist() == [3 / 4]  # 3 > 1, 3 > -2, 0 > -2, but 0 < 1
    assert localization.own_share(HEATS, MASKS, ~MASKS).tolist() == [3 / 4]


def test_ties_and_empty_maps_by_hand():
    flat = np.zeros((1, 2, 2))
    mask = np.array([[[True, False], [False, False]]])
    assert localization.pointing(flat, mask).tolist() == [1 / 4]
    assert localization.mass(flat, mask).tolist() == [1 / 4]
    assert localization.pixel_auc(flat, mask).tolist() == [1 / 2]
    assert localization.own_share(flat, mask, ~mask).tolist() == [1 / 2]
    both = np.array([[[3.0, 3.0], [0, 0]]])
    assert localization.pointing(both, mask).tolist() == [1 / 2]


def test_reductions_by_hand():
    maps = np.array([1.0, -3.0, 0.5]).reshape(1, 1, 1, 3)
    found = {name: localization.heat(maps, name).item() for name in ("positive", "absolute", "sum")}
    assert found == {"positive": 0, "absolute": 3, "sum": -1.5}
    with pytest.raises(ValueError, match="unknown reduction 'mean': choose one of positive, absolute, sum"):
        localization.heat(maps, "mean")


@given(arrays(float, (2, 4, 5), elements=st.integers(-3, 3)), st.integers(0, 100))
def test_area_is_scikit_learns_and_only_ranks_matter(heats, seed):
    masks = np.random.default_rng(seed).random((2, 4, 5)) < 0.4
    masks[:, 0, 0], masks[:, 3, 4] = True, False
    found = localization.pixel_auc(heats, masks)
    expected = [roc_auc_score(m.ravel(), h.ravel()) for h, m in zip(heats, masks, strict=True)]
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(localization.pixel_auc(np.exp(heats), masks), expected)
    np.testing.assert_allclose(localization.pixel_auc(-heats, masks), 1 - np.array(expected))
    np.testing.assert_allclose(localization.mass(5 * heats, masks), localization.mass(heats, masks))
    same = localization.mass(heats, masks) + localization.mass(heats, ~masks)
    np.testing.assert_allclose(same, 1)


def test_the_mask_itself_is_perfect():
    masks = np.random.default_rng(0).random((3, 6, 6)) < 0.3
    for score in (localization.pointing, localization.mass, localization.pixel_auc):
        np.testing.assert_allclose(score(masks.astype(float), masks), 1)


def test_what_a_map_must_beat():
    gaussian = localization.centered(2, (5, 9))
    assert gaussian.shape == (2, 5, 9)
    assert np.unravel_index(gaussian[1].argmax(), (5, 9)) == (2, 4)
    np.testing.assert_allclose(gaussian, gaussian[:, ::-1, ::-1])
    image = np.zeros((1, 8, 8, 3))
    image[:, :, 4:] = 1
    found = localization.edges(image)[0]
    assert found.argmax(axis=1).tolist() == [3] * 8 or found.argmax(axis=1).tolist() == [4] * 8
    np.testing.assert_allclose(found[:, [0, 7]], 0, atol=1e-3)


def test_bad_requests_are_refused():
    with pytest.raises(ValueError, match=r"expected heats and bool masks of one shape"):
        localization.pointing(HEATS, MASKS[:, :1])
    with pytest.raises(ValueError, match=r"got .* float64"):
        localization.mass(HEATS, MASKS.astype(float))
    with pytest.raises(ValueError, match="each mask must have pixels inside and outside"):
        localization.pixel_auc(HEATS, np.ones_like(MASKS))


def test_discs_by_hand():
    """Of 3×3 pixels: the middle, then its four neighbours, then the corners."""
    found = localization.discs([0, 1, 5, 9], (3, 3))
    assert found.astype(int).tolist() == [
        [[0, 0, 0], [0, 0, 0], [0, 0, 0]],
        [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
        [[0, 1, 0], [1, 1, 1], [0, 1, 0]],
        [[1, 1, 1], [1, 1, 1], [1, 1, 1]],
    ]
    areas = np.arange(0, 96, 7)
    assert localization.discs(areas, (8, 12)).sum(axis=(1, 2)).tolist() == areas.tolist()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: localization.heat(np.ones((2, 5, 5))), r"maps must be \(n, height, width, channels\)"),
        (lambda: localization.centered(0, (5, 5)), "n must be at least 1"),
        (lambda: localization.centered(1, (5, 5), spread=0), "spread must be a number above 0"),
        (lambda: localization.pixel_auc(np.full((1, 2, 2), "a"), MASKS), "heats must be numbers, got <U1"),
    ],
)
def test_what_is_no_map_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
