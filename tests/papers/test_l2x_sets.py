"""Made-up classifiers: by hand, and that nothing but the reasons matters."""

import numpy as np
import pytest

from cnninte_utils.papers import l2x_sets


def pixels(numbers):
    return np.clip(np.array([numbers], np.float32) / 8 + 0.5, 0, 1).reshape(1, 1, 10, 1)


@pytest.mark.parametrize(
    ("name", "score"),
    [
        ("xor", 2.0),
        ("orange_skin", 1 + 4 + 0 + 1 - 4),
        ("additive", -100 * np.sin(0.2) + 2 + 0 + np.exp(1) - 2.4),
        ("switch", -100 * np.sin(0.2 * 0.5) + 0 + 0 + 1 - 2.4),
    ],
)
def test_by_hand(name, score):
    image = pixels([1, 2, 0, -1, 0.5, 0, 0, 0, 3, -3])
    ((no, yes),) = l2x_sets.SETS[name].answers(image)
    assert yes == pytest.approx(1 / (1 + np.exp(-score)), abs=1e-5)
    assert no + yes == pytest.approx(1)


def test_the_switch_is_the_tenth_number():
    switch, orange = l2x_sets.SETS["switch"], l2x_sets.SETS["orange_skin"]
    image = pixels([1, 2, 0, -1, 0.5, 0, 0, 0, 3, 3])
    np.testing.assert_allclose(switch.answers(image), orange.answers(image))
    assert np.flatnonzero(switch.is_reason(image)[0]).tolist() == [0, 1, 2, 3, 9]
    other = pixels([1, 2, 0, -1, 0.5, 0, 0, 0, 3, -3])
    assert np.flatnonzero(switch.is_reason(other)[0]).tolist() == [4, 5, 6, 7, 9]


@pytest.mark.parametrize("name", l2x_sets.SETS)
def test_what_is_no_reason_does_not_matter(name):
    made_up, images = l2x_sets.SETS[name], l2x_sets.rows(300, 0)
    is_reason = made_up.is_reason(images)
    assert (is_reason.sum(axis=1) == made_up.n_reasons).all()
    shuffled = np.where(is_reason[:, None, :, None], images, l2x_sets.rows(300, 1))
    np.testing.assert_allclose(made_up.answers(shuffled), made_up.answers(images))
    first = l2x_sets.median_ranks(is_reason.astype(float), is_reason)
    assert (first == made_up.best_rank).all()


def test_rows_are_pixels_about_a_half_and_the_last_has_two_humps():
    images = l2x_sets.rows(5_000, 0)
    assert images.shape == (5_000, 1, 10, 1)
    assert 0 <= images.min() < images.max() <= 1
    assert abs(images[:, 0, :9].mean() - 0.5) < 0.005
    last = 8 * (images[:, 0, 9, 0] - 0.5)
    assert abs(np.abs(last).mean() - 2.9) < 0.1
    assert abs((last > 0).mean() - 0.5) < 0.05
    with pytest.raises(ValueError, match="n must be at least 1"):
        l2x_sets.rows(0, 0)


def test_a_trial_finds_the_pair_of_xor():
    found = l2x_sets.try_out(l2x_sets.SETS["xor"], 8_000, epochs=15, n_fresh=300)
    assert found.rank < 2.5  # the best is 1.5, chance 5.5
    assert found.selected.sum() == pytest.approx(2)
    assert found.found == pytest.approx(found.selected[:2].sum() / 2)
    assert found.reasons.tolist() == [1, 1] + [0] * 8
