import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import spearmanr
from sklearn.metrics import accuracy_score
from sklearn.neighbors import NearestNeighbors

from cnninte_utils import measures
from cnninte_utils.measures import agreement, mean_sd, separability, share_separated


def test_agreement_is_scikit_learns_accuracy():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 4, (2, 500))
    assert agreement(a, b) == accuracy_score(a, b)


@pytest.mark.parametrize(("a", "b"), [([1], [1, 2]), ([], []), ([[1]], [[1]])])
def test_agreement_refuses_other_shapes(a, b):
    with pytest.raises(ValueError, match="equally long, non-empty"):
        agreement(np.array(a), np.array(b))


DEPTHS = np.array([[-1, 2, 0], [-1, 4, 0], [1, -1, 3]])  # two instances of class 0, one of class 1


def test_share_separated_by_hand():
    assert share_separated(DEPTHS).tolist() == [0.5, 0.5, 1.0]


def test_separability_by_hand():
    share, depth = separability(DEPTHS, np.array([0, 0, 1]))
    nan = np.nan
    assert np.array_equal(share, [[nan, 1, 0], [1, nan, 1], [nan, nan, nan]], equal_nan=True)
    assert np.array_equal(depth, [[nan, 3, nan], [1, nan, 3], [nan, nan, nan]], equal_nan=True)


def test_mean_sd():
    assert mean_sd([2.0, 4.0, 9.0]) == {"mean": 5.0, "sd": np.std([2, 4, 9], ddof=1), "n": 3}
    assert mean_sd([2.0])["sd"] == 0


SIX = np.array([[0, 0], [1, 0], [0, 1.5], [4, 0], [5, 0], [1.2, 1.2]])
KINDS = np.array([0, 0, 0, 1, 1, 1])


def test_neighborhood_hit_by_hand():
    assert measures.neighborhood_hits(SIX, KINDS, 2).tolist() == [1, 0.5, 0.5, 0.5, 1, 0]
    assert measures.neighborhood_hit(SIX, KINDS, 2) == pytest.approx(3.5 / 6)


def test_neighborhood_hit_counts_ties_by_chance_and_never_the_point_itself():
    line = np.array([[0.0], [1.0], [-1.0]])
    assert measures.neighborhood_hits(line, np.array([0, 0, 1]), 1).tolist() == [0.5, 1, 0]
    same_place = np.zeros((4, 2))
    assert measures.neighborhood_hits(same_place, np.array([0, 0, 1, 1]), 1) == pytest.approx([1 / 3] * 4)


def test_neighborhood_hit_equals_scikit_learns_neighbours():
    rng = np.random.default_rng(0)
    points, labels = rng.standard_normal((700, 3)), rng.integers(0, 4, 700)
    neighbours = NearestNeighbors(n_neighbors=5).fit(points).kneighbors(return_distance=False)
    expected = (labels[neighbours] == labels[:, None]).mean(axis=1)
    assert np.array_equal(measures.neighborhood_hits(points, labels), expected)
    distances = cdist(points, points)
    assert np.array_equal(measures.neighborhood_hits(distances, labels, metric="precomputed"), expected)


@given(st.integers(0, 100), st.integers(1, 9))
def test_neighborhood_hit_does_not_depend_on_order_scale_or_place(seed, k):
    rng = np.random.default_rng(seed)
    points, labels, order = rng.integers(0, 4, (10, 2)), rng.integers(0, 3, 10), rng.permutation(10)
    hit = measures.neighborhood_hit(points, labels, k)
    assert 0 <= hit <= 1
    assert measures.neighborhood_hit(4.0 * points[order] - 8, labels[order], k) == pytest.approx(hit)


def test_neighborhood_hit_refuses_what_makes_no_sense():
    with pytest.raises(ValueError, match="n_neighbors must be from 1 to 5 for 6 points, got 6"):
        measures.neighborhood_hit(SIX, KINDS, 6)
    with pytest.raises(ValueError, match="6 points but labels of shape"):
        measures.neighborhood_hit(SIX, KINDS[:3])
    with pytest.raises(ValueError, match="unknown metric"):
        measures.neighborhood_hit(SIX, KINDS, 2, metric="cosine")
    with pytest.raises(ValueError, match=r"must be \(6, 6\)"):
        measures.neighborhood_hit(SIX, KINDS, 2, metric="precomputed")


def test_trustworthiness_and_continuity_on_a_fold():
    line = np.arange(12.0)[:, None]
    folded = np.abs(line - 5.5) + 0.01 * line  # brings the two ends together: false neighbours, few lost ones
    assert measures.trustworthiness(line, line, 2) == measures.continuity(line, line, 2) == 1
    assert measures.trustworthiness(line, folded, 2) < measures.continuity(line, folded, 2)


def test_bootstrap_interval_holds_the_mean_and_narrows_as_one_over_root_n():
    rng = np.random.default_rng(0)
    widths = []
    for n in (100, 400):
        values = rng.random(n)
        low, high = measures.bootstrap_interval(values)
        assert low < values.mean() < high
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(2, rel=0.25)
    assert widths[0] == pytest.approx(2 * 1.96 * np.sqrt(1 / 12 / 100), rel=0.2)


def test_rank_correlations_are_scipys_row_by_row():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, (4, 3, 6)), rng.integers(0, 5, (4, 3, 6))
    b[3] = 1
    found = measures.rank_correlations(a, b)
    assert found[:3] == pytest.approx(
        [spearmanr(x.ravel(), y.ravel()).statistic for x, y in zip(a[:3], b, strict=False)]
    )
    assert np.isnan(found[3])
    with pytest.raises(ValueError, match="of one shape"):
        measures.rank_correlations(a, b[:2])


def test_overlap_of_clouds_by_hand():
    one, other = np.array([[0.0], [1.0], [2.0]]), np.array([[1.5], [5.0], [6.0]])
    # a cut between 1 and 1.5 has one of the first three on the wrong side, between 2 and 5 one of the others
    assert measures.cloud_overlap(one, other) == pytest.approx(1 / 6)
    assert measures.cloud_overlap(one, one + 100) == 0
    lone = np.array([[0.9]])  # above 0, below 1 and 2: best cut between 0.9 and 1, one of three wrong
    assert measures.cloud_overlap(one, lone) == pytest.approx(1 / 6)
    assert measures.cloud_overlap(one, np.array([[2.1]])) == 0
    assert measures.cloud_overlap(one, one) == 0.5
    assert measures.cloud_overlap(one, other[:0]) == 0


def test_overlap_is_symmetric_bounded_and_half_for_mixed_clouds():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2_500, 2)), rng.normal(size=(2_800, 2))
    shifted = [measures.cloud_overlap(one, other + shift) for shift in (0, 1, 2, 4, 20)]
    assert shifted == sorted(shifted, reverse=True)
    assert shifted[0] == pytest.approx(0.5, abs=0.02)
    assert shifted[-1] == 0
    assert shifted[1] == pytest.approx(measures.cloud_overlap(other + 1, one))
    assert shifted[1] == pytest.approx(0.24, abs=0.02)  # two normals whose means are √2 apart: Φ(−√½) = 0.24


def test_overlap_is_that_of_a_linear_discriminant():
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(3, 3))
    one = rng.normal(size=(4_000, 3)) @ mixing
    other = rng.normal([1, 0, 0.5], size=(3_000, 3)) @ mixing
    points, cloud = np.concatenate([one, other]), np.repeat([0, 1], [4_000, 3_000])
    predicted = LinearDiscriminantAnalysis(priors=[0.5, 0.5]).fit(points, cloud).predict(points)
    balanced = np.mean([(predicted[cloud == c] != c).mean() for c in (0, 1)])
    assert measures.cloud_overlap(one, other) == pytest.approx(balanced, abs=0.02)


def test_levels_and_clouds_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="level must be a number above 0 and at most 1"):
        measures.bootstrap_interval(np.arange(5.0), level=2)
    with pytest.raises(ValueError, match="other must be finite"):
        measures.cloud_overlap(np.zeros((2, 2)), np.array([[0.0, np.nan]]))
