import csv
import hashlib
import os

import numpy as np
import pytest
from PIL import Image

from cnninte_utils.artifacts import cache_dir
from cnninte_utils.datasets import broden
from cnninte_utils.datasets.toyworld import broden_folder, drawing

OPTIONS = {"n": 60, "size": 64, "map_size": 32, "seed": 7, "n_objects": 2}
FIELDS = {
    "color": ("colors", [f"{name}-c" for name in drawing.COLORS]),
    "object": ("objects", drawing.OBJECTS),
    "part": ("parts", drawing.PARTS),
    "material": ("materials", drawing.MATERIALS),
    "texture": ("textures", drawing.TEXTURES),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    parent = tmp_path_factory.mktemp("toyworld")
    return broden_folder.write(parent / "kept", **OPTIONS, min_images=1, min_coverage=0)


@pytest.fixture(scope="module")
def data(folder):
    return broden.open_folder(folder)


@pytest.fixture(scope="module")
def scenes():
    return drawing.render(60, size=64, seed=7, n_objects=2)


def table(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def scene_number(image):
    return int(image.removeprefix("toyworld/").removesuffix(".jpg"))


def test_label_maps_are_those_of_the_scenes(data, scenes):
    """Nearest neighbour from 64 to 32 takes the lower right of every four pixels."""
    names = np.array(data.concepts["name"])
    for row, record in enumerate(data.index.to_dict("records")):
        annotation, i = data.annotation(row), scene_number(record["image"])
        written = iter(annotation.maps)
        for category in (name for name in data.categories if name != "scene"):
            field, own_names = FIELDS[category]
            true = np.array(["-", *own_names])[getattr(scenes, field)[i, 1::2, 1::2]]
            true[true == "plain"] = "-"
            seen = names[next(written)] if record[category] else np.full((32, 32), "-")
            np.testing.assert_array_equal(seen, true)
        assert not list(written)
        assert names[annotation.whole].tolist() == [f"{drawing.SCENES[scenes.scene[i]]}-s"]


def test_images_are_the_scenes_but_for_jpeg(data, scenes):
    order = [scene_number(image) for image in data.index["image"]]
    written, drawn = data.images(slice(None)), scenes.images[order] / 255
    distances = np.stack([np.abs(written - image).mean(axis=(1, 2, 3)) for image in drawn])
    assert sorted(order) == list(range(60))
    assert distances.diagonal().max() < 0.04
    assert distances.argmin(axis=0).tolist() == list(range(60))


def test_order_and_split_follow_the_hash_of_the_names(data):
    shares = [int(hashlib.md5(name.encode()).hexdigest(), 16) / 2**128 for name in data.index["image"]]
    assert shares == sorted(shares)
    assert data.index["split"].tolist() == ["train" if share <= 0.7 else "val" for share in shares]


def test_recount_gives_the_tables(folder, data):
    assert set(data.categories) == {*FIELDS, "scene"}
    rows = {category: table(folder / f"c_{category}.csv") for category in data.categories}
    totals = {}
    for category in data.categories:
        counts = np.zeros((2, data.n_labels))
        for row, field in enumerate(data.index[category]):
            whole = np.array([int(field)] if field.isdecimal() else [], int)
            maps = data.annotation(row).maps[_place(data, row, category)] if field and not len(whole) else []
            shares = np.bincount(np.ravel(maps).astype(int), minlength=data.n_labels) / 32**2
            shares[whole] = 1
            counts += [shares > 0, shares]
        for record in rows[category]:
            number = int(record["number"])
            assert int(record["frequency"]) == counts[0, number]
            assert float(record["coverage"]) == pytest.approx(counts[1, number], abs=1e-8)
            totals.setdefault(number, []).append((category, int(record["frequency"])))
        assert [int(record["code"]) for record in rows[category]] == list(range(1, len(rows[category]) + 1))
    for record in table(folder / "label.csv"):
        own = totals[int(record["number"])]
        assert record["category"] == ";".join(f"{category}({n})" for category, n in own)
        assert int(record["frequency"]) == sum(n for _, n in own)


def _place(data, row, category):
    """Return the place of a category's map among those of an image."""
    before = data.categories[: data.categories.index(category)]
    return sum(data.index[name].iloc[row].endswith(".png") for name in before)


def test_numbers_fall_with_frequency_then_coverage_and_categories_follow_their_first(folder, data):
    records = table(folder / "label.csv")
    assert [int(record["number"]) for record in records] == list(range(1, len(records) + 1))
    ranks = [(int(record["frequency"]), float(record["coverage"])) for record in records]
    assert ranks == sorted(ranks, reverse=True)
    summary = table(folder / "category.csv")
    firsts = [int(record["first"]) for record in summary]
    assert firsts == sorted(firsts)
    for record in summary:
        numbers = [int(row["number"]) for row in table(folder / f"c_{record['name']}.csv")]
        assert (min(numbers), max(numbers)) == (int(record["first"]), int(record["last"]))
        assert len(numbers) == int(record["count"])
    assert "plain" not in set(data.concepts["name"])


def test_rare_labels_are_dropped(tmp_path, data):
    fewer = broden.open_folder(broden_folder.write(tmp_path / "fewer", **OPTIONS))
    kept = data.concepts[(data.concepts["frequency"] >= 10) & (data.concepts["coverage"] >= 0.5)]
    assert 0 < len(kept) < data.n_labels - 1
    assert fewer.concepts["name"][1:].tolist() == kept["name"].tolist()
    names, names_fewer = np.array(data.concepts["name"]), np.array(fewer.concepts["name"])
    row = next(r for r in range(60) if len(fewer.annotation(r).maps) == len(data.annotation(r).maps))
    for all_labels, labels in zip(data.annotation(row).maps, fewer.annotation(row).maps, strict=True):
        all_names = names[all_labels]
        all_names[~np.isin(all_names, kept["name"])] = "-"
        assert set(np.unique(names_fewer[labels])) == set(np.unique(all_names))


def test_one_name_in_two_categories_is_one_label(tmp_path, monkeypatch):
    objects = tuple("glass" if name == "cup" else name for name in drawing.OBJECTS)
    monkeypatch.setitem(broden_folder._FIELDS, "object", ("objects", objects))
    data = broden.open_folder(broden_folder.write(tmp_path / "shared", **OPTIONS))
    record = next(r for r in table(tmp_path / "shared" / "label.csv") if r["name"] == "glass")
    number = int(record["number"])
    own = {
        category: int(
            next(r for r in table(data.root / f"c_{category}.csv") if r["name"] == "glass")["frequency"]
        )
        for category in ("material", "object")
    }
    assert own["material"] > own["object"] > 0
    assert record["category"] == f"material({own['material']});object({own['object']})"
    assert int(record["frequency"]) == sum(own.values())
    assert sum(number in labels for row in range(60) for labels in data.annotation(row).maps) == sum(
        own.values()
    )


def test_labels_above_255_are_written_into_the_second_channel(tmp_path):
    labels = np.array([[0, 255], [256, 1_000]])
    (tmp_path / "images").mkdir()
    assert broden_folder._write_field(tmp_path, "x.jpg", "part", labels) == "x_part.png"
    channels = np.asarray(Image.open(tmp_path / "images" / "x_part.png")).astype(int)
    np.testing.assert_array_equal(channels[..., 0] + 256 * channels[..., 1], labels)


def test_same_arguments_give_the_same_data_set(tmp_path, folder):
    again = broden_folder.write(tmp_path / "again", **OPTIONS, min_images=1, min_coverage=0)
    other = broden_folder.write(tmp_path / "other", **OPTIONS | {"seed": 8}, min_images=1, min_coverage=0)
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    assert all((folder / name).read_bytes() == (again / name).read_bytes() for name in files)
    assert (other / "label.csv").read_bytes() != (folder / "label.csv").read_bytes()
    for name in files:
        changed = (folder / name).stat().st_mtime_ns
        os.utime(again / name, ns=(changed, changed))
    assert broden.open_folder(again).fingerprint == broden.open_folder(folder).fingerprint


def test_wrong_arguments_are_refused_and_leave_nothing(tmp_path, folder):
    for wrong in ({"map_size": 65}, {"map_size": 0}, {"n": 0}, {"min_images": 61}):
        with pytest.raises(ValueError, match=r"map_size|n >= 1|no label is in 61 images"):
            broden_folder.write(tmp_path / "none", **OPTIONS | wrong)
    assert not (tmp_path / "none").exists()
    with pytest.raises(FileExistsError, match="there already"):
        broden_folder.write(folder)


def test_failure_half_way_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(broden_folder, "_write_field", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        broden_folder.write(tmp_path / "w" / "half", **OPTIONS)
    assert not list((tmp_path / "w").iterdir())


def test_by_name_it_is_drawn_once_with_all_six_categories(monkeypatch):
    data = broden.load("toyworld_broden")
    assert data.root.is_relative_to(cache_dir())
    assert broden.status("toyworld_broden")[0] == "ready"
    assert (len(data), data.map_size) == (300, (56, 56))
    assert set(data.categories) == {*FIELDS, "scene"}
    assert data.images([0]).shape == (1, 112, 112, 3)
    assert data.concepts["frequency"][1:].min() >= 10
    monkeypatch.setattr(broden_folder, "write", lambda *_, **__: pytest.fail("drawn again"))
    assert broden.load("toyworld_broden").fingerprint == data.fingerprint
