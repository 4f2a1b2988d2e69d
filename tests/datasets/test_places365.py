import shutil

import numpy as np
import pytest
from PIL import Image

from cnninte_utils import datasets
from cnninte_utils.artifacts import DataError
from cnninte_utils.datasets import places365
from cnninte_utils.datasets.files import ImageFiles

CATEGORIES = ("a/airfield", "a/apartment_building/outdoor", "b/bazaar/indoor", "z/zen_garden")
SIZE = 32
N_TRAIN, N_HELD, N_TEST = 6, 2, 3


def grey_of(label, i, is_test=False):
    return 60 * label + 7 * i + (3 if is_test else 0)


def write_jpeg(path, grey, size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size, size, 3), grey, np.uint8)).save(path, quality=95)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Four categories of plain grey images that tell category and number apart; written once."""
    folder = tmp_path_factory.mktemp("published") / "places365"
    lines = []
    for label, category in enumerate(CATEGORIES):
        for i in range(N_TRAIN):
            write_jpeg(folder / "data_256" / category / f"{i + 1:08}.jpg", grey_of(label, i))
    for number, (i, label) in enumerate(np.ndindex(N_TEST, len(CATEGORIES)), start=1):
        name = f"Places365_val_{number:08}.jpg"
        write_jpeg(folder / "val_256" / name, grey_of(label, i, is_test=True))
        lines.append(f"{name} {label}\n")
    (folder / "places365_val.txt").write_text("".join(lines))
    categories = "".join(f"/{category} {label}\n" for label, category in enumerate(CATEGORIES))
    (folder / "categories_places365.txt").write_text(categories)
    return folder


@pytest.fixture
def folder(published, tmp_path, monkeypatch):
    monkeypatch.setenv("CNNINTE_DATA", str(tmp_path / "packs"))
    monkeypatch.setattr(places365, "SIZE", SIZE)
    monkeypatch.setattr(places365, "_N_VALIDATION_PER_CLASS", N_HELD)
    shutil.copytree(published, tmp_path / "packs" / "places365")
    return tmp_path / "packs" / "places365"


def contents(split):
    greys = np.rint(split.floats()[:, 16, 16, 0] * 255).astype(int)
    return sorted(zip(split.labels.tolist(), greys.tolist(), strict=True))


def test_every_image_comes_once_with_its_label(folder):
    data = datasets.load("places365")
    assert data.class_names == ("airfield", "apartment_building/outdoor", "bazaar/indoor", "zen_garden")
    assert np.bincount(data.train.labels).tolist() == [N_TRAIN - N_HELD] * 4
    assert np.bincount(data.validation.labels).tolist() == [N_HELD] * 4
    learned = sorted(contents(data.train) + contents(data.validation))
    assert learned == [(c, grey_of(c, i)) for c in range(4) for i in range(N_TRAIN)]
    assert contents(data.test) == [(c, grey_of(c, i, True)) for c in range(4) for i in range(N_TEST)]
    assert str(data) == "places365: 16 training, 8 validation and 12 test images of 32×32×3, 4 classes"


def test_images_are_read_only_when_wanted(folder, monkeypatch):
    monkeypatch.setattr(ImageFiles, "_decode", lambda *_: pytest.fail("read too early"))
    data = datasets.load("places365")
    assert data.fingerprint
    assert data.with_classes(2).with_train(4).train.images.shape == (4, SIZE, SIZE, 3)


def test_files_stand_for_the_array(folder):
    split = datasets.load("places365").test
    array = np.asarray(split.images)
    assert (array.shape, array.dtype) == (split.images.shape, split.images.dtype)
    rows = np.array([5, 2, 2])
    for chosen in (slice(1, 7, 2), rows, np.arange(12) % 3 == 0):
        np.testing.assert_array_equal(np.asarray(split.images[chosen]), array[chosen])
        np.testing.assert_array_equal(split.take(chosen).labels, split.labels[chosen])
    np.testing.assert_array_equal(split.images[3], array[3])
    np.testing.assert_array_equal(split.floats(), array.astype(np.float32) / 255)
    batches = list(split.batches(5, size=8))
    assert [batch.shape for batch in batches] == [(5, 8, 8, 3), (5, 8, 8, 3), (2, 8, 8, 3)]


def test_smaller_images_are_averages(folder):
    ramp = np.linspace(0, 255, SIZE).astype(np.uint8)
    picture = np.broadcast_to(ramp[:, None, None], (SIZE, SIZE, 3))
    Image.fromarray(np.ascontiguousarray(picture)).save(
        folder / "val_256/Places365_val_00000001.jpg", quality=95
    )
    small = datasets.load("places365").test.take([0]).floats(16)[0, :, :, 0]
    means = picture[..., 0].reshape(16, 2, 16, 2).mean(axis=(1, 3)) / 255
    assert np.abs(small - means).max() < 0.02


def test_grey_jpegs_become_three_channels(folder):
    Image.fromarray(np.full((SIZE, SIZE), 77, np.uint8)).save(folder / "val_256/Places365_val_00000001.jpg")
    assert datasets.load("places365").test.images[0][0, 0].tolist() == [77, 77, 77]


def test_fingerprint_follows_names_sizes_and_labels(folder):
    first = datasets.load("places365").fingerprint
    assert datasets.load("places365").fingerprint == first
    path = folder / "val_256/Places365_val_00000002.jpg"
    path.write_bytes(path.read_bytes() + b"\0")
    longer = datasets.load("places365").fingerprint
    labels = folder / "places365_val.txt"
    labels.write_text(labels.read_text().replace("01.jpg 0", "01.jpg 1"))
    assert len({first, longer, datasets.load("places365").fingerprint}) == 3


def test_subsets_are_parts_without_a_common_class(folder, monkeypatch):
    monkeypatch.setattr(datasets, "N_CLASSES_OF_A_PART", 2)
    whole, first, second = (datasets.load(name) for name in ("places365", "places50_1", "places50_2"))
    assert (first.name, second.name) == ("places50_1", "places50_2")
    assert set(first.class_names) | set(second.class_names) == set(whole.class_names)
    assert len(first.train) + len(second.train) == len(whole.train)
    for part in (first, second):
        for label, grey in contents(part.train):
            assert whole.class_names[grey // 60] == part.class_names[label]


@pytest.mark.parametrize("name", ["data_256", "val_256", "categories_places365.txt", "places365_val.txt"])
def test_missing_part_is_named(folder, name):
    folder.joinpath(name).rename(folder / "elsewhere")
    with pytest.raises(DataError, match=rf"places365 lacks {name}\. Download http://"):
        datasets.load("places365")
    state, where = places365.SOURCE.status()
    assert state == "absent"
    assert f"lacks {name}" in where


def rewrite(name, old, new):
    def change(folder):
        path = folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: shutil.rmtree(f / "data_256/b"), "bazaar/indoor should have more than 2 images, found 0"),
        (
            lambda f: [(f / f"data_256/a/airfield/{i:08}.jpg").unlink() for i in (1, 2, 3, 4)],
            "airfield should have more than 2 images, found 2",
        ),
        (
            lambda f: (f / "val_256/Places365_val_00000007.jpg").unlink(),
            "lacks 1 of 12 images, the first of them Places365_val_00000007.jpg",
        ),
        (rewrite("categories_places365.txt", "/a/airfield", "/a/../../secret"), "line 1: expected a name"),
        (rewrite("categories_places365.txt", "/a/airfield", "/etc/passwd/x"), "line 1: expected a name"),
        (
            rewrite("categories_places365.txt", "airfield 0", "airfield"),
            "line 1: expected a name and a label",
        ),
        (rewrite("categories_places365.txt", "garden 3", "garden 4"), "number its categories from 0"),
        (rewrite("categories_places365.txt", "/z/zen_garden 3\n", ""), "all 3 categories and of no other"),
        (rewrite("places365_val.txt", "Places365_val_00000001", "../../x"), "line 1: expected a name"),
        (rewrite("places365_val.txt", ".jpg 3", ".jpg 2"), "all 4 categories and of no other, found 3"),
        (rewrite("places365_val.txt", "01.jpg 0", "01.jpg -1"), "line 1: expected a name and a label"),
        (rewrite("places365_val.txt", "02.jpg", "01.jpg"), r"has Places365_val_00000001\.jpg more than once"),
        (rewrite("categories_places365.txt", "/z/zen_garden", "/a/airfield"), "airfield more than once"),
    ],
)
def test_wrong_folder_is_one_clear_error(folder, change, message):
    change(folder)
    with pytest.raises(DataError, match=message):
        datasets.load("places365")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xd8 not a picture", "00000001.jpg is damaged"),
        (None, "00000001.jpg should be 32×32, found 33×33"),
    ],
)
@pytest.mark.parametrize("size", [None, 16])
def test_wrong_image_is_one_clear_error_when_it_is_read(folder, content, message, size):
    path = folder / "val_256/Places365_val_00000001.jpg"
    write_jpeg(path, 0, size=33)
    if content:
        path.write_bytes(content)
    test = datasets.load("places365").test
    with pytest.raises(DataError, match=message):
        test.floats(size)


def test_image_that_is_gone_is_one_clear_error(folder):
    test = datasets.load("places365").test
    (folder / "val_256/Places365_val_00000001.jpg").unlink()
    with pytest.raises(DataError, match=r"00000001.jpg is damaged .*No such file"):
        test.floats()


def test_absent_places365_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("CNNINTE_DATA", str(tmp_path))
    for name in ("places365", "places50_1", "places50_2"):
        with pytest.raises(
            DataError, match=r"Places365 is not in .*train_256_places365standard.tar \(SHA-256"
        ):
            datasets.fetch(name)
