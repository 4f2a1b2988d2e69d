import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnninte_utils.measures import cloud_overlap
from cnninte_utils.methods.cnn_inte import explanations
from cnninte_utils.methods.cnn_inte.explanations import Explanation, remaining_counts, separation_depths
from cnninte_utils.methods.cnn_inte.meta_learners import Condition, MetaTree

IDS = np.array([[0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 2]]).T
CODES = np.array([0, 0, 1, 1, 1, 2])
PATH = (Condition(0, (1, 2)), Condition(1, (0, 1)))


def test_toy_by_hand():
    remaining = remaining_counts([PATH, (Condition(0, (0,)),)], IDS, CODES, 3)
    assert remaining[0].tolist() == [[2, 3, 1], [0, 3, 1], [0, 3, 0]]
    assert remaining[1].tolist() == [[2, 3, 1], [2, 0, 0], [2, 0, 0]]
    depths = separation_depths(remaining, np.array([0, 1, 1]), np.array([1, 0, 1]))
    assert depths.tolist() == [[1, -1, 2], [-1, 1, 1], [0, -1, 0]]


def test_tolerance_counts_a_small_rest_as_gone():
    remaining = np.array([[[100, 200], [50, 2], [40, 0]]])
    strict, tolerant = (
        separation_depths(remaining, np.array([0]), np.array([0]), tolerance=t)[0].tolist() for t in (0, 0.01)
    )
    assert (strict, tolerant) == ([-1, 2], [-1, 1])


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from([1, 3, None]))
def test_against_a_plain_loop(seed, depth):
    rng = np.random.default_rng(seed)
    ids, codes = rng.integers(0, 4, (60, 3)), rng.integers(0, 3, 60)
    tree = MetaTree(depth).fit(ids, codes)
    n_classes = 3
    remaining = remaining_counts(tree.paths(), ids, codes, n_classes)
    leaf = tree.apply(ids)
    depths = separation_depths(remaining, leaf, codes)
    for i in range(10):
        rows, expected = np.ones(60, bool), [0] * n_classes
        for d, condition in enumerate(tree.paths()[leaf[i]], start=1):
            rows &= condition.holds(ids)
            for c in range(n_classes):
                gone = not (rows & (codes == c)).any() and (rows & (codes == codes[i])).any()
                expected[c] = expected[c] or (d if gone else 0)
        expected[codes[i]] = -1
        assert depths[i].tolist() == expected


EXPLANATION = Explanation(
    ids=(1, 0),
    label="B",
    prediction="B",
    classes=("A", "B", "C"),
    conditions=PATH,
    remaining=np.array([[2, 3, 1], [0, 3, 1], [0, 3, 1]]),
    separation={"A": 1, "C": None},
)


def test_frame_has_a_row_for_each_depth_and_hypothesis():
    frame = EXPLANATION.to_frame()
    assert frame.columns.tolist() == [
        "depth", "factor", "condition", "hypothesis", "label_left", "hypothesis_left", "is_separated",
    ]  # fmt: skip
    assert frame[["depth", "hypothesis", "hypothesis_left", "is_separated"]].values.tolist() == [
        [1, "A", 0, True], [1, "C", 1, False], [2, "A", 0, True], [2, "C", 1, False],
    ]  # fmt: skip


def test_paragraph_says_what_happened():
    text = EXPLANATION.to_text()
    assert text.startswith("The instance, of class B, is correctly classified as B.")
    assert "its ID of factor 0 (1) is in {1, 2}" in text
    assert "Of 3 training instances of class B, 3 satisfy" in text
    assert text.endswith("Ruled out: A at depth 1. Never ruled out: C (1 left).")
    assert "\n" not in text


def test_print_is_a_table():
    lines = str(EXPLANATION).splitlines()
    assert lines[0] == "label B, predicted B; IDs [1, 0]"
    assert lines[-1].split() == ["separated", "depth", "1", "label", "never"]
    assert lines[3].split()[-3:] == ["0", "3", "1"]


def test_result_is_frozen():
    with pytest.raises(AttributeError):
        EXPLANATION.label = "A"


def test_overlaps_are_those_of_the_panels_and_depths_the_first_apart():
    rng = np.random.default_rng(0)
    ids, codes = rng.integers(0, 3, (300, 2)), rng.integers(0, 3, 300)
    points = [rng.normal(size=(300, 2)) + codes[:, None] * spread for spread in (0.5, 4.0)]
    paths = [(Condition(0, (0, 1)), Condition(1, (1, 2))), (Condition(0, (2,)),)]
    overlaps = explanations.path_overlaps(paths, ids, codes, points, 3)
    assert overlaps.shape == (2, 2, 3, 3)
    after_both = np.isin(ids[:, 0], (0, 1)) & np.isin(ids[:, 1], (1, 2))
    panel = [points[1][after_both & (codes == c)] for c in (0, 2)]
    assert overlaps[0, 1, 0, 2] == overlaps[0, 1, 2, 0] == cloud_overlap(*panel)
    assert np.array_equal(overlaps[1, 1], overlaps[1, 0])  # the shorter path's last values
    depths = explanations.overlap_depths(overlaps, np.array([0, 1]), np.array([1, 1]), largest=0.1)
    assert depths[:, 1].tolist() == [-1, -1]
    for row, leaf in enumerate((0, 1)):
        for hypothesis in (0, 2):
            apart = np.flatnonzero(overlaps[leaf, :, 1, hypothesis] <= 0.1)
            assert depths[row, hypothesis] == (apart[0] + 1 if len(apart) else 0)
    assert (depths[0, [0, 2]] == 2).all(), "one factor mixes the classes, the other tells them apart"
