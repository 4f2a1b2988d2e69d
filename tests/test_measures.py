import numpy as np
import pytest
from sklearn.metrics import accuracy_score

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
