"""From counts to detectors, by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cnninte_utils.artifacts import DataError
from cnninte_utils.methods.dissection.results import (
    Concepts,
    Dissection,
    Probe,
    counts_with_nulls,
    detectors_by_threshold,
    unique_detectors,
)

CONCEPTS = Concepts(("-", "red", "wheel", "car", "blue"), ("color", "part"), (-1, 0, 1, 1, 0))


def dissection(both, area, mask, label, **probe):
    arrays = (np.array(a, np.int64) for a in (both, area, mask, label))
    thresholds = np.zeros(len(both), np.float32)
    return Dissection(Probe("conv1", **probe), CONCEPTS, 10, thresholds, *arrays)


@pytest.fixture
def counted():
    """Unit 0 is half of red's pixels; unit 1 finds wheel and car alike, and little blue; unit 2 nothing."""
    both = [[0, 5, 0, 0, 0], [0, 0, 4, 4, 1], [0, 0, 0, 0, 0]]
    return dissection(both, [[5, 0], [20, 8], [0, 0]], [10, 40, 0], [0, 10, 4, 4, 79])


def test_iou_by_hand(counted):
    by_category = [[0, 5 / 10, 0, 0, 0], [0, 0, 4 / 8, 4 / 8, 1 / 98], [0, 0, 0, 0, 0]]
    over_all = [[0, 5 / 15, 0, 0, 0], [0, 0, 4 / 40, 4 / 40, 1 / 118], [0, 0, 0, 0, 0]]
    np.testing.assert_allclose(counted.iou(), by_category, atol=1e-9)
    np.testing.assert_allclose(counted.iou("dataset"), over_all, atol=1e-9)


def test_best_concept_of_each_category_is_the_first_of_equals(counted):
    best = counted.best()
    assert best["unit"].tolist() == [0, 0, 1, 1, 2, 2]
    assert best["concept"].tolist() == ["red", "wheel", "blue", "wheel", "red", "wheel"]


def test_category_without_labels_of_its_own_has_no_best_concept_and_no_detectors(counted):
    concepts = replace(CONCEPTS, categories=("color", "part", "scene"))
    area = np.column_stack([counted.area, [0, 0, 0]])
    other = replace(counted, concepts=concepts, area=area)
    pd.testing.assert_frame_equal(other.best(), counted.best())
    assert unique_detectors([other])["scene"].tolist() == [0]


def test_unit_detects_its_best_concept_from_the_threshold_on(counted):
    units = counted.units(iou_threshold=0.5 - 1e-9)
    assert units["concept"].tolist() == ["red", "wheel", "red"]
    assert units["is_detector"].tolist() == [True, True, False]
    assert not counted.units(iou_threshold=0.51)["is_detector"].any()


def test_unique_detectors_count_a_concept_once():
    both = [[0, 5, 0, 0, 0], [0, 4, 0, 0, 0], [0, 0, 0, 3, 0]]
    twice = dissection(both, [[5, 0], [5, 0], [0, 3]], [5, 5, 3], [0, 10, 4, 6, 7])
    row = unique_detectors([twice])
    assert row[["layer", "color", "part", "sum"]].to_numpy().tolist() == [["conv1", 1, 1, 2]]


def test_fewer_detectors_above_a_higher_threshold(counted):
    other = dissection(counted.both, counted.area, counted.mask, counted.label, quantile=0.01)
    table = detectors_by_threshold([counted, other], [0.01, 0.4, 0.6])
    expected = pd.DataFrame({0.01: [2, 2], 0.4: [2, 2], 0.6: [0, 0]}, index=[0.005, 0.01])
    np.testing.assert_array_equal(table, expected)
    assert list(table.index) == [0.005, 0.01]


def test_nulls_are_not_counted_with_the_others(counted):
    null = dissection(counted.both, counted.area, counted.mask, counted.label, permutation=3)
    with pytest.raises(ValueError, match=r"without rotation or permutation, got .*permutation=3"):
        detectors_by_threshold([counted, null], [0.04])


def test_saved_and_loaded(counted, tmp_path):
    counted.save(tmp_path / "conv1.npz")
    again = Dissection.load(tmp_path / "conv1.npz")
    assert (again.probe, again.concepts, again.n_images) == (counted.probe, counted.concepts, 10)
    for name, array in counted.arrays().items():
        np.testing.assert_array_equal(getattr(again, name), array)
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json", ".npz"]
    (tmp_path / "conv1.npz").write_bytes((tmp_path / "conv1.npz").read_bytes()[:200])
    with pytest.raises(DataError, match=r"conv1\.npz is damaged"):
        Dissection.load(tmp_path / "conv1.npz")


def test_unknown_names_are_refused(counted):
    with pytest.raises(ValueError, match="choose one of category, dataset"):
        counted.iou("image")
    with pytest.raises(ValueError, match="quantile must be between 0 and 1, got 5"):
        Probe("conv1", quantile=5)


def test_what_lies_under_a_mask_by_hand(counted):
    assert counted.under_mask(0).to_dict() == {"red": 0.5}
    assert counted.under_mask(1).to_dict() == {"wheel": 0.1, "car": 0.1, "blue": 1 / 40}
    assert list(counted.under_mask(1).index) == ["wheel", "car", "blue"]
    assert counted.under_mask(2).empty  # nothing, and no division by zero


@pytest.mark.parametrize("union", ["category", "dataset"])
def test_iou_is_no_larger_than_mask_by_label(counted, union):
    bound = counted.mask[:, None] / np.maximum(counted.label, 1)
    assert (counted.iou(union) <= bound).all()


def test_counts_with_nulls_are_sums_over_layers_for_each_draw():
    one = dissection([[0, 5, 0, 0, 0], [0, 0, 4, 0, 0]], [[5, 0], [0, 4]], [5, 4], [0, 10, 4, 4, 7])
    none = dissection([[0, 0, 0, 0, 0]], [[0, 0]], [5], [0, 10, 4, 4, 7])

    def null(source, **probe):
        return replace(source, probe=Probe("conv1", **probe))

    found = counts_with_nulls(
        [
            null(none, permutation=1), null(one, permutation=0), null(one, rotation=3), null(one, rotation=3),
            one, replace(none, probe=Probe("conv2")),
        ]
    )  # fmt: skip
    assert found.to_numpy().tolist() == [
        ["detectors", 0, 2],
        ["rotated", 3, 4],
        ["permuted", 0, 2],
        ["permuted", 1, 0],
    ]
    assert list(found) == ["kind", "draw", "detectors"]
    assert counts_with_nulls([one], iou_threshold=0.6)["detectors"].tolist() == [1]


def test_counts_of_several_quantiles_are_not_added_up(counted):
    other = replace(counted, probe=Probe("conv1", 0.01))
    with pytest.raises(ValueError, match=r"one quantile, got \[0.005, 0.01\]"):
        counts_with_nulls([counted, other])
