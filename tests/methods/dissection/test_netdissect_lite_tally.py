"""Intersections, unions, IoUs and best labels are those of NetDissect-Lite's tally.

The tally is followed here in plain loops, straight from the files of a folder: its tables and label maps are
read without the package. Feature maps and thresholds are the package's (NetDissect-Lite estimates thresholds
with a randomised sketch), masks are Pillow's, with which NetDissect-Lite resizes, and once the package's too.
"""

import csv

import keras
import numpy as np
import pytest
from PIL import Image

from cnninte_utils.datasets import broden
from cnninte_utils.methods.dissection import passes
from cnninte_utils.methods.dissection.results import Probe

N, SIZE, MAP_SIZE = 24, 32, (20, 26)
LABELS = {1: "red-c", 2: "blue-c", 4: "car", 5: "wheel", 7: "street-s", 8: "wood", 255: "tree", 300: "leaf"}
COVERAGES = {
    "color": {1: 9, 2: 8},
    "scene": {7: 3},
    "object": {4: 2, 5: 0.5, 8: 1, 255: 1.25, 300: 0.25},
    "part": {5: 0.75, 300: 0.25},
    "material": {8: 1.5},
}


def write_folder(root):
    """Write noise in patches, with every kind of field that the layout has.

    Among them are two maps of one category, a number beside a map, two numbers, one of them twice, images
    with numbers only and one with nothing; labels above 255 and of two categories, one of them by a tie.
    """
    rng, rows = np.random.default_rng(0), []
    (root / "images").mkdir(parents=True)

    def save(name, pixels):
        Image.fromarray(pixels.astype(np.uint8)).save(root / "images" / name)
        return name

    def label_map(name, labels):
        patches = rng.choice([0, 0, *labels], (4, 4)).repeat(7, axis=0).repeat(7, axis=1)
        numbers = patches[: MAP_SIZE[0], : MAP_SIZE[1]]
        return save(name, np.stack([numbers % 256, numbers // 256, 0 * numbers], axis=-1))

    for i in range(N):
        image = save(f"{i}.png", rng.integers(0, 256, (8, 8, 3)).repeat(4, axis=0).repeat(4, axis=1))
        has_maps = i % 6 < 4
        objects = [label_map(f"{i}_object_{k}.png", COVERAGES["object"]) for k in range(i % 3) if has_maps]
        fields = {
            "color": label_map(f"{i}_color.png", [1, 2]) if has_maps else "",
            "scene": ["", "7", "7;2", "7;7"][i % 4],
            "object": ";".join([*objects, "255"] if i % 4 == 1 else objects),
            "part": label_map(f"{i}_part.png", [5, 300]) if has_maps and i % 2 else "",
            "material": "8" if i % 5 == 2 else "",
        }
        rows.append([image, "train", SIZE, SIZE, *MAP_SIZE, *(fields.values() if i != 16 else [""] * 5)])
    tables = {
        "index": [["image", "split", "ih", "iw", "sh", "sw", *COVERAGES], *rows],
        "category": [["name"], *([category] for category in COVERAGES)],
        "label": [["number", "name", "frequency", "coverage"], *([*label, N, 1] for label in LABELS.items())],
    }
    for category, own in COVERAGES.items():
        codes = ([code, *label, N] for code, label in enumerate(own.items(), 1))
        tables[f"c_{category}"] = [["code", "number", "coverage", "frequency"], *codes]
    for name, table in tables.items():
        with (root / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows(table)
    return root


class Lite:
    """A folder in Broden's layout as NetDissect-Lite takes it in and counts it."""

    def __init__(self, root, n=None):
        self.root = root
        self.rows = self.table("index")[:n]
        self.categories = [row["name"] for row in self.table("category")]
        self.names = {int(row["number"]): row["name"] for row in self.table("label")}
        self.n_labels = max(self.names) + 1
        covered = {
            category: {int(row["number"]): float(row["coverage"]) for row in self.table(f"c_{category}")}
            for category in self.categories
        }
        # Where it covers most; of equals the later category. For numbers not in use that is the last one.
        self.primary = np.array(
            [
                max((covered[category].get(label, 0), place) for place, category in enumerate(covered))[1]
                for label in range(self.n_labels)
            ]
        )

    def table(self, name):
        with (self.root / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))

    def labels(self, row):
        """Return the labels of a whole image, and its label maps; with a map among them, numbers are maps."""
        whole, maps, size = [], [], (int(row["sh"]), int(row["sw"]))
        for category in self.categories:
            items = [item for item in row[category].split(";") if item]
            if all(item.isdigit() for item in items):
                whole += [int(item) for item in items]
                continue
            for item in items:
                if item.isdigit():
                    maps.append(np.full(size, int(item)))
                else:
                    pixels = np.asarray(Image.open(self.root / "images" / item), int)
                    maps.append(pixels[..., 0] + 256 * pixels[..., 1])
        return whole, maps

    def tally(self, masks):
        """Count with masks(i) → the masks (units, sh, sw) of image i: intersections, areas, label pixels.

        The area of a mask counts for a category in images where a label that has it as its primary category
        lies under the mask; labels of the whole image always do. In images without label maps NetDissect-Lite
        starts from the categories of the mask before, by mistake; here it is from none.
        """
        n_units, n_categories = len(masks(0)), len(self.categories)
        both = np.zeros((n_units, self.n_labels), int)
        area = np.zeros((n_units, n_categories), int)
        pixels = np.zeros(self.n_labels, int)
        for i, row in enumerate(self.rows):
            whole, maps = self.labels(row)
            everywhere = int(row["sh"]) * int(row["sw"])
            for label_map in maps:
                for label, n in zip(*np.unique(label_map, return_counts=True), strict=True):
                    pixels[label] += n if label else 0
            for label in whole:
                pixels[label] += everywhere
            for unit, mask in enumerate(masks(i)):
                n_mask = int(mask.sum())
                if not n_mask:
                    continue
                under = np.zeros(self.n_labels, int)
                for label_map in maps:
                    under += np.bincount(label_map[mask], minlength=self.n_labels)
                under[0] = 0
                for label in whole:
                    under[label] += n_mask
                both[unit] += under
                area[unit, list({self.primary[label] for label in np.flatnonzero(under)})] += n_mask
        return both, area, pixels

    def iou(self, both, area, pixels):
        return both / (area[:, self.primary] + pixels - both + 1e-10)

    def best(self, iou):
        """Return, for each category, every unit's best label and its IoU; the first of equals."""
        own = [np.where(self.primary == place, iou, 0) for place in range(len(self.categories))]
        labels = np.array([each.argmax(axis=1) for each in own])
        return labels, np.array([each.max(axis=1) for each in own])


@pytest.fixture
def network():
    """Two convolutions with random weights; their maps are smaller than most label maps."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(12, 5, strides=2, padding="same", activation="relu", name="conv1")(image)
    x = keras.layers.Conv2D(14, 3, strides=2, padding="same", activation="relu", name="conv2")(x)
    return keras.Model(image, x)


def dissected(network, data, quantile, monkeypatch):
    """Return the dissections, and the feature maps (n, units, height, width) that they were counted on."""
    put_out, predict = [], keras.Model.predict_on_batch

    def recorded(model, images):
        put_out.append(predict(model, images))
        return put_out[-1]

    probes = [Probe("conv1", quantile), Probe("conv2", quantile)]
    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "predict_on_batch", recorded)
        results = passes.dissect(network, probes, data)
    second_pass = put_out[len(put_out) // 2 :]
    maps = [np.concatenate([batch[probe.layer] for batch in second_pass]) for probe in probes]
    assert all(len(each) == len(data) for each in maps)
    return results, [np.ascontiguousarray(each.transpose(0, 3, 1, 2)) for each in maps]


def package_masks(maps, thresholds, size):
    return lambda i: passes.masks(maps[i], thresholds[:, None, None], size)


def pillow_masks(maps, thresholds, size):
    def resized(plane):
        return np.asarray(Image.fromarray(plane).resize(size[::-1], Image.Resampling.BILINEAR))

    return lambda i: np.array([resized(plane) > t for plane, t in zip(maps[i], thresholds, strict=True)])


def check(lite, data, results, maps, mask_kinds):
    """Compare everything that a dissection tells with the tally, without any tolerance."""
    used = sorted(lite.names)
    assert list(data.categories) == lite.categories
    np.testing.assert_array_equal(data.primary[used], lite.primary[used])
    for result, own_maps in zip(results, maps, strict=True):
        for masks in mask_kinds:
            both, area, pixels = lite.tally(masks(own_maps, result.thresholds, data.map_size))
            assert both.sum() > 0
            np.testing.assert_array_equal(result.both, both)
            np.testing.assert_array_equal(result.area, area)
            np.testing.assert_array_equal(result.label, pixels)
        iou = lite.iou(both, area, pixels)
        np.testing.assert_array_equal(result.iou()[:, used], iou[:, used])
        check_best(lite, result, iou)


def check_best(lite, result, iou):
    """Where a unit has nothing in common with a category, NetDissect-Lite names label 0: not compared."""
    labels, scores = lite.best(iou)
    best, units = result.best(), result.units()
    for category, own, score in zip(lite.categories, labels, scores, strict=True):
        found = best[best["category"] == category]
        np.testing.assert_array_equal(found["iou"], score)
        assert found["concept"][score > 0].tolist() == [lite.names[label] for label in own[score > 0]]
    place, detects = scores.argmax(axis=0), scores.max(axis=0) > 0
    winners = np.take_along_axis(labels, place[None], axis=0)[0]
    np.testing.assert_array_equal(units["iou"], scores.max(axis=0))
    assert units["category"][detects].tolist() == [lite.categories[each] for each in place[detects]]
    assert units["concept"][detects].tolist() == [lite.names[label] for label in winners[detects]]


def test_a_folder_with_every_kind_of_field(network, tmp_path, monkeypatch):
    root = write_folder(tmp_path / "patches")
    data = broden.open_folder(root)
    results, maps = dissected(network, data, 0.05, monkeypatch)
    check(Lite(root), data, results, maps, [package_masks, pillow_masks])
    assert all((result.both[:, list(LABELS)] > 0).any(axis=0).all() for result in results)
    assert all((result.area < result.mask[:, None]).any(axis=0).all() for result in results)


@pytest.mark.parametrize(("name", "n"), [("broden_mini", None), ("broden_wide", 400)])
def test_real_images(network, real_data, monkeypatch, name, n):
    if broden.status(name)[0] == "absent":
        pytest.skip(f"needs real data: {broden.status(name)[1]}")
    data = broden.load(name).take(slice(n))
    results, maps = dissected(network, data, 0.005, monkeypatch)
    check(Lite(data.root, n), data, results, maps, [pillow_masks])
