import io
import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image

from cnninte_utils import artifacts, datasets
from cnninte_utils.artifacts import DataError, cache_dir
from cnninte_utils.datasets import files, miniplaces
from cnninte_utils.datasets.files import ImageFiles

CATEGORIES = ("a/abbey", "b/bakery/shop", "b/bar", "y/yard")
SIZE = 32
N_TRAIN, N_HELD, N_TEST = 6, 2, 3


def grey_of(label, i, is_test=False):
    return 60 * label + 7 * i + (3 if is_test else 0)


def jpeg(grey, size=SIZE):
    stream = io.BytesIO()
    Image.fromarray(np.full((size, size, 3), grey, np.uint8)).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def contents():
    """Four scenes of plain grey images that tell scene and number apart, in MIT's layout."""
    images, lists = {}, {"train": "", "val": ""}

    def add(split, name, label, grey):
        images[f"images/{name}"] = jpeg(grey)
        lists[split] += f"{name} {label}\n"

    for label, category in enumerate(CATEGORIES):
        for i in range(N_TRAIN):
            add("train", f"train/{category}/{i + 1:08}.jpg", label, grey_of(label, i))
    for number, (i, label) in enumerate(np.ndindex(N_TEST, len(CATEGORIES)), start=1):
        add("val", f"val/{number:08}.jpg", label, grey_of(label, i, is_test=True))
    images["images/train/a/abbey/00000999.jpg"] = jpeg(250)  # in no list
    images["images/test/00000001.jpg"] = jpeg(251)
    images["objects/train/a/abbey/00000001.xml"] = b"<annotation/>"
    categories = "".join(f"/{category} {label}\n" for label, category in enumerate(CATEGORIES))
    texts = {"categories.txt": categories, "train.txt": lists["train"], "val.txt": lists["val"]}
    return images | {name: text.encode() for name, text in texts.items()}


def write_folder(folder, these):
    for name, data in these.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def write_pack(packs, these, top="miniplaces"):
    path = packs / miniplaces.ARCHIVE
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, data in these.items():
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture
def packs(tmp_path, monkeypatch):
    monkeypatch.setenv("CNNINTE_DATA", str(tmp_path / "packs"))
    monkeypatch.setattr(miniplaces, "SIZE", SIZE)
    monkeypatch.setattr(miniplaces, "_N_VALIDATION_PER_CLASS", N_HELD)
    return tmp_path / "packs"


@pytest.fixture
def folder(packs):
    return write_folder(packs / "miniplaces", contents())


def seen(split):
    greys = np.rint(split.floats()[:, 16, 16, 0] * 255).astype(int)
    return sorted(zip(split.labels.tolist(), greys.tolist(), strict=True))


def test_every_listed_image_comes_once_with_its_label(folder):
    data = datasets.load("miniplaces")
    assert data.class_names == ("abbey", "bakery/shop", "bar", "yard")
    assert np.bincount(data.train.labels).tolist() == [N_TRAIN - N_HELD] * 4
    assert np.bincount(data.validation.labels).tolist() == [N_HELD] * 4
    learned = sorted(seen(data.train) + seen(data.validation))
    assert learned == [(c, grey_of(c, i)) for c in range(4) for i in range(N_TRAIN)]
    assert seen(data.test) == [(c, grey_of(c, i, True)) for c in range(4) for i in range(N_TEST)]
    assert str(data) == "miniplaces: 16 training, 8 validation and 12 test images of 32×32×3, 4 classes"
    assert "miniplaces, split 16/8/12" in data.provenance


def test_pack_and_folder_are_one_data_set_whatever_the_order_in_the_pack(packs):
    path = write_pack(packs, dict(reversed(contents().items())))
    from_pack = datasets.load("miniplaces")
    assert from_pack.train.images.folder.is_relative_to(cache_dir() / "folders")
    assert [found for found in packs.rglob("*") if found.is_file()] == [path]
    write_folder(packs / "miniplaces", contents())
    from_folder = datasets.load("miniplaces")
    assert from_folder.train.images.folder == packs / "miniplaces" / "images"
    assert from_folder.fingerprint == from_pack.fingerprint
    assert seen(from_folder.train) == seen(from_pack.train)
    assert datasets.fetch("miniplaces50_2") == str(packs / "miniplaces")


def test_pack_unpacked_beside_itself_is_read_where_it_is(packs):
    write_pack(packs, {"broken": b""})
    write_folder(packs / "miniplaces" / "miniplaces", contents())
    assert len(datasets.load("miniplaces").test) == 12
    assert not (cache_dir() / "folders").exists()


def test_pack_is_unpacked_once(packs, monkeypatch):
    write_pack(packs, contents())
    datasets.load("miniplaces")
    monkeypatch.setattr(files, "_unpack", lambda *_: pytest.fail("unpacked again"))
    assert len(datasets.load("miniplaces").train) == 16


def test_images_are_bytes_read_only_when_wanted(folder, monkeypatch):
    data = datasets.load("miniplaces")
    assert (data.train.images.dtype, np.asarray(data.test.images).dtype) == (np.uint8, np.uint8)
    monkeypatch.setattr(ImageFiles, "_decode", lambda *_: pytest.fail("read too early"))
    assert datasets.load("miniplaces").with_train(8).fingerprint


def test_halves_are_the_scenes_of_even_and_of_odd_number(folder):
    whole, even, odd = (datasets.load(f"miniplaces{part}") for part in ("", "50_1", "50_2"))
    assert even.class_names == ("abbey", "bar")
    assert odd.class_names == ("bakery/shop", "yard")
    assert (even.name, odd.name) == ("miniplaces50_1", "miniplaces50_2")
    for first, half in ((0, even), (1, odd)):
        for name in ("train", "validation", "test"):
            expected = [(c // 2, grey) for c, grey in seen(getattr(whole, name)) if c % 2 == first]
            assert seen(getattr(half, name)) == expected
    assert odd.provenance.startswith("2 of the 4 classes of miniplaces, those of odd number; MiniPlaces")
    with pytest.raises(ValueError, match="unknown part 3: choose one of 1, 2"):
        whole.half(3)


PARTS = ("images/train", "images/val", "categories.txt", "train.txt", "val.txt")


@pytest.mark.parametrize("name", PARTS)
def test_missing_part_of_a_folder_is_named(folder, name):
    (folder / name).rename(folder / "elsewhere")
    with pytest.raises(DataError, match=rf"miniplaces lacks {name}\. Put miniplaces_subset.*http://mini"):
        datasets.load("miniplaces50_1")
    assert miniplaces.SOURCE.status()[0] == "absent"
    assert f"lacks {name}" in miniplaces.SOURCE.status()[1]


@pytest.mark.parametrize("name", PARTS)
def test_missing_part_of_a_pack_is_named(packs, name):
    write_pack(packs, {path: data for path, data in contents().items() if not path.startswith(name)})
    message = (
        f"lacks (24 of 24|12 of 12) images.* {name[7:]}/" if "/" in name else f"has no file {name}: remove"
    )
    with pytest.raises(DataError, match=message):
        datasets.load("miniplaces")


def rewrite(name, old, new):
    def change(folder):
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda f: shutil.rmtree(f / "images/train/y"),
            "lacks 6 of 24 images, the first of them train/y/yard/00000001.jpg: unpack it again",
        ),
        (
            lambda f: (f / "images/val/00000007.jpg").unlink(),
            "lacks 1 of 12 images, the first of them val/00000007.jpg: unpack it again",
        ),
        (rewrite("train.txt", "train/b/bar/00000006.jpg 2\n", ""), "equally .* found 5 to 6 of 4 scenes"),
        (rewrite("train.txt", "train/", "../train/"), r"train\.txt, line 1: expected a name and a label"),
        (rewrite("train.txt", "a/abbey/00000001", "a/../../x"), r"train\.txt, line 1: expected a name"),
        (rewrite("train.txt", "1.jpg 0", "1.jpg -1"), r"train\.txt, line 1: expected a name and a label"),
        (
            lambda f: (f / "train.txt").write_text((f / "train.txt").read_text().replace("jpg 0", "jpg 9")),
            "equally many images of all 4 scenes and of no other, found 0 to 6 of 4 scenes",
        ),
        (
            lambda f: (f / "train.txt").write_text(
                (f / "train.txt").read_text().replace("abbey/00000001.jpg 0", "abbey/00000001.jpg 2")
                .replace("bar/00000001.jpg 2", "bar/00000001.jpg 0")
            ),
            r"train\.txt, line 1: train/a/abbey/00000001\.jpg has the label of b/bar",
        ),
        (lambda f: (f / "train.txt").write_text(""), "equally many .* found 0 to 0 of 0 scenes"),
        (rewrite("val.txt", "val/00000012.jpg 3\n", ""), r"val\.txt should have equally .* found 2 to 3"),
        (rewrite("categories.txt", "/y/yard 3", "/y/yard 4"), "number its categories from 0 in order"),
        (rewrite("categories.txt", "/a/abbey", "/a/../x"), r"categories\.txt, line 1: expected a name"),
        (rewrite("categories.txt", "/y/yard 3\n", ""), "of all 3 scenes and of no other"),
        (rewrite("val.txt", "00000002.jpg", "00000001.jpg"), r"has val/00000001\.jpg more than once"),
        (rewrite("train.txt", "abbey/00000002.jpg", "abbey/00000001.jpg"), "00000001.jpg more than once"),
        (rewrite("categories.txt", "/a/abbey 0", f"/a/abbey {'9' * 5_000}"), r"txt, line 1: expected a name"),
        (rewrite("categories.txt", "/a/abbey 0", "/a/abbey ٠"), r"categories\.txt, line 1: expected a name"),
    ],
)  # fmt: skip
def test_wrong_folder_is_one_clear_error(folder, change, message):
    change(folder)
    with pytest.raises(DataError, match=message) as caught:
        datasets.load("miniplaces")
    assert "\n" not in str(caught.value)


def test_too_few_images_for_a_validation_split_are_refused(folder, monkeypatch):
    monkeypatch.setattr(miniplaces, "_N_VALIDATION_PER_CLASS", N_TRAIN)
    with pytest.raises(DataError, match="more than 6 images of each scene, found 6"):
        datasets.load("miniplaces")


def test_truncated_pack_is_one_clear_error_and_leaves_nothing(packs):
    path = write_pack(packs, contents())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"could not unpack .*miniplaces_subset\.tar\.gz .*fetch it again"):
        datasets.load("miniplaces")
    assert not [found for found in (cache_dir() / "folders").rglob("*") if found.suffix != ".lock"]


def test_pack_of_another_thing_is_refused(packs):
    write_pack(packs, contents(), top="elsewhere")
    with pytest.raises(DataError, match="which is not a regular file below miniplaces/: refused"):
        datasets.load("miniplaces")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\xd8 not a picture", r"00000001\.jpg is damaged .*: remove .*, and it will be made again"),
        (jpeg(9, 33), r"00000001\.jpg should be 32×32, found 33×33: it is of another version"),
    ],
)
@pytest.mark.parametrize("size", [None, 16])
def test_wrong_image_is_one_clear_error_when_it_is_read(packs, data, message, size):
    write_pack(packs, contents() | {"images/val/00000001.jpg": data})
    test = datasets.load("miniplaces").test
    with pytest.raises(DataError, match=message):
        test.floats(size)


def test_absent_miniplaces_says_how_to_get_it(packs):
    for name in ("miniplaces", "miniplaces50_1", "miniplaces50_2"):
        with pytest.raises(DataError, match=r"MiniPlaces is not in .*packs or .*http://miniplaces\.csail"):
            datasets.fetch(name)


# the real one


def test_real_miniplaces(real_data):
    if miniplaces.SOURCE.status()[0] == "absent":
        pytest.skip(f"needs real data: {miniplaces.ARCHIVE} in {artifacts.data_dirs()[0]}")
    whole, even, odd = (datasets.load(f"miniplaces{part}") for part in ("", "50_1", "50_2"))
    assert len(whole.class_names) == 100
    for split in (whole.train, whole.validation, whole.test):
        assert len(set(np.bincount(split.labels, minlength=100))) == 1
    assert {"bedroom", "bathroom", "living_room", "mountain"} <= set(even.class_names)
    assert {"kitchen", "dining_room", "valley"} <= set(odd.class_names)
    assert len(set(even.class_names) | set(odd.class_names)) == 100
    images = np.asarray(whole.test.images)
    assert (images.shape[1:], images.dtype) == ((128, 128, 3), np.uint8)
    redness = {
        name: float((images[whole.test.labels == whole.class_names.index(name)] @ [1.0, 0, -1]).mean())
        for name in ("desert/sand", "iceberg")
    }
    assert redness["desert/sand"] > redness["iceberg"]
    twins = np.array(["train/b/badlands/00000103.jpg", "train/r/river/00000172.jpg"], np.dtypes.StringDType())
    first, second = np.asarray(ImageFiles(whole.train.images.folder, twins, 128))
    np.testing.assert_array_equal(first, second)  # the one pair that is identical in the published set
