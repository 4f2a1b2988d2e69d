"""Counting for network dissection: the top share of a stream, and pixels of labels under masks.

Loops over pixels are written as loops and compiled by Numba.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

__all__ = ["Counts", "Resizing", "TopShare", "anchored_resizing", "bilinear_resizing", "label_pixels"]


class TopShare:
    """The largest values of every unit in a stream, exactly, in bounded memory.

    Parameters
    ----------
    n_units : int
    n_kept : int
        How many of each unit's largest values can be asked for.
    """

    def __init__(self, n_units: int, n_kept: int):
        self._n_kept, self._chunk = n_kept, max(64, n_kept // 2)
        self._buffer = np.full((n_units, 2 * n_kept + self._chunk), -np.inf, np.float32)
        self._counts = np.zeros(n_units, np.int64)
        self._bounds = np.full(n_units, -np.inf, np.float32)

    def add(self, values: np.ndarray) -> None:
        """Take in finite values of shape (..., n_units)."""
        values = np.ascontiguousarray(values, np.float32).reshape(-1, len(self._buffer))
        for start in range(0, len(values), self._chunk):
            _append(values[start : start + self._chunk], self._bounds, self._buffer, self._counts)
            full = np.flatnonzero(self._counts > 2 * self._n_kept)
            if len(full):
                self._prune(full)

    def _prune(self, units: np.ndarray) -> None:
        kept = self._top(units)
        self._buffer[units] = -np.inf
        self._buffer[units, : self._n_kept] = kept
        self._counts[units] = self._n_kept
        self._bounds[units] = kept.min(axis=1)

    def _top(self, units: np.ndarray | slice) -> np.ndarray:
        return np.partition(self._buffer[units], -self._n_kept, axis=1)[:, -self._n_kept :]

    def largest(self) -> np.ndarray:
        """Return each unit's largest values (n_units, n_kept), descending; -inf where there were fewer."""
        return np.sort(self._top(slice(None)), axis=1)[:, ::-1]


@njit(nogil=True, cache=True)
def _append(values, bounds, buffer, counts):
    for position in range(values.shape[0]):
        for unit in range(values.shape[1]):
            if values[position, unit] > bounds[unit]:
                buffer[unit, counts[unit]] = values[position, unit]
                counts[unit] += 1


@dataclass(frozen=True, eq=False)
class Resizing:
    """How one axis is resized: output i is the sum over j of weights[i, j] * input[starts[i] + j].

    Parameters
    ----------
    starts : int array of shape (n_out,)
    weights : float64 array of shape (n_out, n_weights)
        Rows sum to 1.
    """

    starts: np.ndarray
    weights: np.ndarray


def bilinear_resizing(n_in: int, n_out: int) -> Resizing:
    """Return bilinear interpolation with half-pixel centres.

    What lies outside is left out and the weights renormalised; when there are fewer outputs than inputs, the
    triangle is widened so that every input counts (Pillow's bilinear).
    """
    scale = n_in / n_out
    return _triangle((np.arange(n_out) + 0.5) * scale - 0.5, n_in, max(scale, 1.0))


def anchored_resizing(n_in: int, n_out: int, image_size: int, offset: float, stride: float) -> Resizing:
    """Return linear interpolation between the centres of receptive fields.

    Parameters
    ----------
    n_in, n_out : int
        Positions of the feature map and of the label map.
    image_size : int
        Pixels of the image along this axis.
    offset, stride : float
        Centre of the first receptive field and distance to the next, in pixels.
    """
    pixels = (np.arange(n_out) + 0.5) * image_size / n_out - 0.5
    return _triangle(np.clip((pixels - offset) / stride, 0, n_in - 1), n_in, 1.0)


def _triangle(centers: np.ndarray, n_in: int, reach: float) -> Resizing:
    n_weights = min(n_in, int(np.ceil(2 * reach)))
    starts = np.clip(np.floor(centers - reach).astype(np.int64) + 1, 0, n_in - n_weights)
    places = starts[:, None] + np.arange(n_weights)
    weights = np.maximum(0, 1 - np.abs(places - centers[:, None]) / reach)
    return Resizing(starts, weights / weights.sum(axis=1, keepdims=True))


@dataclass(frozen=True, eq=False)
class Counts:
    """Pixels under the masks of units, over images.

    Parameters
    ----------
    both : int64 array of shape (units, labels)
        Pixels of a label under a unit's mask.
    area : int64 array of shape (units, categories)
        Pixels of the mask in images where a label whose primary category it is lies under the mask.
    mask : int64 array of shape (units,)
        Pixels of the mask in all images.
    """

    both: np.ndarray
    area: np.ndarray
    mask: np.ndarray

    @classmethod
    def zeros(cls, n_units: int, n_labels: int, n_categories: int) -> "Counts":
        """Return counts of nothing."""
        shapes = (n_units, n_labels), (n_units, n_categories), (n_units,)
        return cls(*(np.zeros(shape, np.int64) for shape in shapes))

    def add(
        self,
        maps: np.ndarray,
        thresholds: np.ndarray,
        resizing: tuple[Resizing, Resizing],
        label_maps: np.ndarray,
        whole_labels: np.ndarray,
        primary: np.ndarray,
    ) -> None:
        """Count one image, in place.

        Parameters
        ----------
        maps : float32 array of shape (units, height, width)
            Feature maps, resized by `resizing` (rows, columns), horizontally first, and compared with
            `thresholds` (units,): the mask is what lies above.
        label_maps : int32 array of shape (n_maps, rows, columns)
            Label numbers, 0 for none.
        whole_labels : int64 array of shape (k,)
            Labels that hold for every pixel.
        primary : int64 array of shape (labels,)
            Each label's primary category.
        """
        down, across = resizing
        _count(
            maps, thresholds, down.starts, down.weights, across.starts, across.weights,
            label_maps, whole_labels, primary, self.both, self.area, self.mask,
        )  # fmt: skip


def label_pixels(label_maps: np.ndarray, whole_labels: np.ndarray, n_labels: int) -> np.ndarray:
    """Count the pixels of every label in one image, as :meth:`Counts.add` counts them: (n_labels,) int64."""
    pixels = np.bincount(label_maps.ravel(), minlength=n_labels)
    pixels[0] = 0
    np.add.at(pixels, whole_labels, label_maps.shape[1] * label_maps.shape[2])
    return pixels


@njit(nogil=True, cache=True)
def _count(
    planes,
    thresholds,
    down,
    down_weights,
    across,
    across_weights,
    label_maps,
    whole,
    primary,
    both,
    area,
    mask,
):
    n_rows, n_columns = len(down), len(across)
    wide = np.empty((planes.shape[1], n_columns), np.float32)
    firsts, ends = np.empty(planes.shape[1], np.int64), np.empty(planes.shape[1], np.int64)
    is_under = np.empty(area.shape[1], np.bool_)
    for unit in range(planes.shape[0]):
        threshold = thresholds[unit]
        if planes[unit].max() <= threshold:
            continue
        _widen(planes[unit], threshold, across, across_weights, wide, firsts, ends)
        n_pixels = 0
        is_under[:] = False
        for row in range(n_rows):
            near = slice(down[row], down[row] + down_weights.shape[1])
            for column in range(firsts[near].min(), ends[near].max()):
                total = 0.0
                for tap in range(down_weights.shape[1]):
                    total += down_weights[row, tap] * wide[down[row] + tap, column]
                if np.float32(total) > threshold:
                    n_pixels += 1
                    for layer in range(label_maps.shape[0]):
                        label = label_maps[layer, row, column]
                        if label > 0:
                            both[unit, label] += 1
                            is_under[primary[label]] = True
        if n_pixels > 0:
            for label in whole:
                both[unit, label] += n_pixels
                is_under[primary[label]] = True
            mask[unit] += n_pixels
            for category in range(area.shape[1]):
                if is_under[category]:
                    area[unit, category] += n_pixels


@njit(nogil=True, cache=True)
def _widen(plane, threshold, across, weights, wide, firsts, ends):
    """Resize the rows of a map; note between which columns each is above the threshold."""
    for row in range(plane.shape[0]):
        firsts[row], ends[row] = len(across), 0
        for column in range(len(across)):
            total = 0.0
            for tap in range(weights.shape[1]):
                total += weights[column, tap] * plane[row, across[column] + tap]
            wide[row, column] = total
            if wide[row, column] > threshold:
                firsts[row] = min(firsts[row], column)
                ends[row] = column + 1
