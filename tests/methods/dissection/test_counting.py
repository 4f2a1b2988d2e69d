"""Counting: by hand, against Pillow and NumPy, and whatever the order of the stream."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cnninte_utils.methods.dissection.counting import (
    Counts,
    TopShare,
    anchored_resizing,
    bilinear_resizing,
    label_pixels,
)


def dense(resizing, n_in):
    matrix = np.zeros((len(resizing.starts), n_in))
    for row, (start, weights) in enumerate(zip(resizing.starts, resizing.weights, strict=True)):
        matrix[row, start : start + len(weights)] += weights
    return matrix


def counted(maps, thresholds, label_maps, whole, primary, n_categories=2):
    n_rows, n_columns = label_maps.shape[1:]
    counts = Counts.zeros(maps.shape[2], len(primary), n_categories)
    resizing = bilinear_resizing(maps.shape[0], n_rows), bilinear_resizing(maps.shape[1], n_columns)
    planes = np.ascontiguousarray(maps.transpose(2, 0, 1))
    counts.add(planes, thresholds, resizing, label_maps, np.array(whole, np.int64), primary)
    return counts


def test_bilinear_resizing_by_hand():
    expected = [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]
    np.testing.assert_allclose(dense(bilinear_resizing(2, 4), 2), expected)


def test_anchored_resizing_by_hand():
    """Fields centred on pixels 1 and 5 of 8; label pixels lie at 0.5, 2.5, 4.5 and 6.5."""
    expected = [[1, 0], [0.625, 0.375], [0.125, 0.875], [0, 1]]
    np.testing.assert_allclose(dense(anchored_resizing(2, 4, 8, offset=1, stride=4), 2), expected)


@given(st.integers(1, 30), st.integers(1, 30))
def test_bilinear_resizing_are_those_of_pillow(n_in, n_out):
    values = np.random.default_rng(n_in).standard_normal(n_in).astype(np.float32)
    expected = Image.fromarray(values[None]).resize((n_out, 1), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(
        dense(bilinear_resizing(n_in, n_out), n_in) @ values, np.asarray(expected)[0], atol=1e-6
    )


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(1, 50))
def test_top_share_is_exact_in_any_chunks(sizes, n_kept):
    rng = np.random.default_rng(sum(sizes))
    chunks = [rng.integers(-5, 5, (size, 3)).astype(np.float32) for size in sizes]
    top = TopShare(3, n_kept)
    for chunk in chunks:
        top.add(chunk)
    expected = -np.sort(-np.concatenate(chunks), axis=0).T[:, :n_kept]
    found = top.largest()
    np.testing.assert_array_equal(found[:, : expected.shape[1]], expected)
    assert (found[:, expected.shape[1] :] == -np.inf).all()


def test_counts_by_hand():
    """A 4×4 map as large as its labels: four pixels above 1, three of label 1, and label 3 everywhere."""
    maps = np.zeros((4, 4, 1), np.float32)
    maps[1:3, 1:3, 0] = 2
    labels = np.zeros((1, 4, 4), np.int32)
    labels[0, 1, :3] = 1
    labels[0, 2, 1] = 1
    labels[0, 3, 3] = 2
    counts = counted(maps, np.ones(1, np.float32), labels, [3], np.array([-1, 0, 0, 1]))
    np.testing.assert_array_equal(counts.both, [[0, 3, 0, 4]])
    np.testing.assert_array_equal(label_pixels(labels, np.array([3]), 4), [0, 4, 1, 16])
    np.testing.assert_array_equal(counts.mask, [4])
    np.testing.assert_array_equal(counts.area, [[4, 4]])


def test_area_counts_only_where_the_category_lies_under_the_mask():
    maps = np.zeros((2, 2, 1), np.float32)
    maps[0, 0] = 5
    labels = np.array([[[1, 0], [0, 2]]], np.int32)
    counts = counted(maps, np.ones(1, np.float32), labels, [], np.array([-1, 0, 1]))
    np.testing.assert_array_equal(counts.area, [[1, 0]])


def test_threshold_itself_is_not_in_the_mask():
    maps = np.full((2, 2, 1), 3, np.float32)
    counts = counted(maps, np.full(1, 3, np.float32), np.ones((1, 2, 2), np.int32), [], np.array([-1, 0]))
    assert counts.mask == 0


def test_image_without_maps_has_its_whole_labels_only():
    maps = np.full((2, 2, 1), 3, np.float32)
    counts = counted(maps, np.ones(1, np.float32), np.empty((0, 5, 5), np.int32), [1], np.array([-1, 0]))
    np.testing.assert_array_equal(counts.both, [[0, 25]])
    np.testing.assert_array_equal(label_pixels(np.empty((0, 5, 5), np.int32), np.array([1]), 2), [0, 25])


def slow_counts(maps, thresholds, label_maps, whole, primary, n_categories):
    """NetDissect-Lite's steps, one unit at a time, with Pillow's resizing."""
    shape = label_maps.shape[:0:-1]
    n_units, n_labels = maps.shape[2], len(primary)
    both, area = np.zeros((n_units, n_labels), int), np.zeros((n_units, n_categories), int)
    for unit in range(n_units):
        resized = Image.fromarray(maps[:, :, unit]).resize(shape, Image.Resampling.BILINEAR)
        mask = np.asarray(resized) > thresholds[unit]
        under = np.zeros(n_labels, int)
        for label_map in label_maps:
            under += np.bincount(label_map[mask], minlength=n_labels)
        under[0] = 0
        if mask.any():
            under[whole] += mask.sum()
        both[unit] = under
        for category in range(n_categories):
            area[unit, category] = mask.sum() * (under[primary == category].sum() > 0)
    return both, area


@pytest.mark.parametrize(
    ("size", "map_size"), [((13, 13), (29, 31)), ((5, 7), (16, 9)), ((40, 30), (17, 12))]
)
def test_counts_are_those_of_the_slow_loop(size, map_size):
    rng = np.random.default_rng(0)
    n_labels, n_categories = 400, 3
    primary = rng.integers(0, n_categories, n_labels)
    maps = rng.standard_normal((*size, 20)).astype(np.float32)
    labels = rng.integers(0, n_labels, (3, *map_size)).astype(np.int32)
    thresholds = rng.uniform(0, 2.5, 20).astype(np.float32)
    counts = counted(maps, thresholds, labels, [7, 9], primary, n_categories)
    both, area = slow_counts(maps, thresholds, labels, [7, 9], primary, n_categories)
    np.testing.assert_array_equal(counts.both, both)
    np.testing.assert_array_equal(counts.area, area)
    assert 0 < counts.mask.sum() < 20 * map_size[0] * map_size[1]
