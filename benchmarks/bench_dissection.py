"""Network dissection against a loop that follows NetDissect-Lite step by step: ratios in one run.

300 images in Broden's layout (broden_mini's if there, else Toyworld's at the same size), the 256 units of
AlexNet's conv5 at 227 pixels: 13×13 positions, resized to 113×113. The loop sorts each unit's activations,
resizes each map with Pillow, and counts labels under the mask image by image.

    CNNINTE_DATA=… python benchmarks/bench_dissection.py
"""

import os
import time
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from PIL import Image

from cnninte_utils.artifacts import DataError
from cnninte_utils.datasets import broden
from cnninte_utils.datasets.toyworld import broden_folder
from cnninte_utils.methods.dissection.counting import Counts, TopShare, bilinear_resizing
from cnninte_utils.networks import builders
from cnninte_utils.networks.activations import activations

N_IMAGES, N_UNITS, QUANTILE, BATCH = 300, 256, 0.005, 50


def images_with_labels(folder: Path) -> broden.Broden:
    try:
        data = broden.load("broden_mini")
    except DataError:
        data = broden.open_folder(
            broden_folder.write(folder / "toyworld", n=N_IMAGES, size=227, map_size=113)
        )
    return data.take(range(N_IMAGES))


def plain_thresholds(maps: np.ndarray) -> np.ndarray:
    values = maps.reshape(-1, maps.shape[-1])
    n_above = int(QUANTILE * len(values))
    return np.array([np.sort(values[:, unit])[::-1][n_above] for unit in range(values.shape[1])])


def our_thresholds(maps: np.ndarray) -> np.ndarray:
    n_above = int(QUANTILE * maps[..., 0].size)
    top = TopShare(maps.shape[-1], n_above + 1)
    for start in range(0, len(maps), BATCH):
        top.add(maps[start : start + BATCH])
    return top.largest()[:, n_above]


def plain_tally(maps, thresholds, truths, primary, n_categories, size):
    n_labels = len(primary)
    both, area = np.zeros((maps.shape[-1], n_labels), int), np.zeros((maps.shape[-1], n_categories), int)
    for image, truth in zip(maps, truths, strict=True):
        for unit, threshold in enumerate(thresholds):
            if image[:, :, unit].max() <= threshold:
                continue
            resized = Image.fromarray(image[:, :, unit]).resize(size[::-1], Image.Resampling.BILINEAR)
            mask = np.asarray(resized) > threshold
            under = np.zeros(n_labels, int)
            for label_map in truth.maps:
                under += np.bincount((label_map * mask).ravel(), minlength=n_labels)
            under[0] = 0
            under[truth.whole] += mask.sum()
            both[unit] += under
            for category in np.unique(primary[under > 0]):
                area[unit, category] += mask.sum()
    return both, area


def our_tally(maps, thresholds, truths, primary, n_categories, size):
    counts = Counts.zeros(maps.shape[-1], len(primary), n_categories)
    resizing = tuple(
        bilinear_resizing(n_in, n_out) for n_in, n_out in zip(maps.shape[1:3], size, strict=True)
    )
    for image, truth in zip(np.ascontiguousarray(maps.transpose(0, 3, 1, 2)), truths, strict=True):
        counts.add(image, thresholds, resizing, truth.maps, truth.whole, primary)
    return counts.both, counts.area


def timed(function, *arguments, repeats: int = 1):
    function(*arguments)
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        result = function(*arguments)
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds)), result


def peak_bytes(function, *arguments) -> int:
    tracemalloc.start()
    function(*arguments)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def main() -> None:
    keras.utils.set_random_seed(0)
    model = builders.alexnet(input_size=227, variant="one_tower", padding="valid", head="pooling")
    with TemporaryDirectory() as folder:
        data = images_with_labels(Path(folder))
        maps = np.concatenate(
            [
                activations(model, "conv5", data.images(range(start, start + BATCH)), batch_size=BATCH)
                for start in range(0, N_IMAGES, BATCH)
            ]
        )[..., :N_UNITS]
        truths = [data.annotation(row) for row in range(N_IMAGES)]
        size, primary, n_categories = data.map_size, data.primary, len(data.categories)
    print(f"{data}; maps {maps.shape}, label maps {size}")
    plain, expected = timed(plain_thresholds, maps)
    ours, thresholds = timed(our_thresholds, maps, repeats=5)
    assert np.array_equal(expected, thresholds)
    print(f"thresholds: plain {plain:.2f} s, ours {ours:.3f} s: {plain / ours:.1f} times as fast, equal")
    rest = thresholds, truths, primary, n_categories, size
    plain, expected = timed(plain_tally, maps, *rest)
    ours, found = timed(our_tally, maps, *rest, repeats=5)
    apart = max(np.abs(one - other).max() for one, other in zip(expected, found, strict=True))
    print(f"tally: plain {plain:.2f} s, ours {ours:.3f} s: {plain / ours:.1f} times as fast")
    microseconds = 1e6 * ours / N_IMAGES / N_UNITS
    print(f"       counts differ by {apart} pixels at most; {microseconds:.1f} µs for a unit and an image")
    held = maps.nbytes, maps[:BATCH].nbytes
    peaks = [peak_bytes(f, maps) + n for f, n in zip((plain_thresholds, our_thresholds), held, strict=True)]
    print(
        f"held for thresholds: plain {peaks[0] / 1e6:.0f} MB, ours, batch by batch, {peaks[1] / 1e6:.0f} MB"
    )
    half = slice(N_IMAGES // 2)
    fewer_images, _ = timed(our_tally, maps[half], thresholds, truths[half], *rest[2:], repeats=5)
    fewer_units, _ = timed(our_tally, maps[..., ::2], thresholds[::2], *rest[1:], repeats=5)
    first = [broden.Annotation(truth.maps[:1], truth.whole) for truth in truths]
    fewer_maps, _ = timed(our_tally, maps, thresholds, first, *rest[2:], repeats=5)
    growth = {"images": fewer_images, "units": fewer_units, "label maps": fewer_maps}
    print("with half of the", ", ".join(f"{name}: {s / ours:.2f} of the time" for name, s in growth.items()))


if __name__ == "__main__":
    main()
