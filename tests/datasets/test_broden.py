import io
import os
import shutil
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cnninte_utils.artifacts import DataError, cache_dir
from cnninte_utils.datasets import broden, files

FILES = {
    "category.csv": "name,first,last,count,frequency\ncolor,1,1,1,2\nobject,2,300,3,4\npart,4,300,2,2\n",
    "label.csv": """\
number,name,category,frequency,coverage,syns
1,red-c,color(2),2,1.5,
2,"tree, tall",object(2),2,0.75,oak;elm
4,leaf,part(1);object(1),2,0.5,
300,wheel,object(1);part(1),2,1.25,
""",
    "c_color.csv": "code,number,name,frequency,coverage\n1,1,red-c,2,1.5\n",
    "c_object.csv": """\
code,number,name,frequency,coverage
1,2,tree,2,0.75
2,4,leaf,1,0.25
3,300,wheel,1,1.0
""",
    "c_part.csv": "code,number,name,frequency,coverage\n1,4,leaf,1,0.25\n2,300,wheel,1,0.25\n",
    "index.csv": """\
image,split,ih,iw,sh,sw,color,object,part,material
a/0.jpg,train,6,8,2,2,1,a/0_object_1.png;a/0_object_2.png,a/0_part.png,
a/1.jpg,val,6,8,2,2,,2;a/1_object.png;0,,
grey.jpg,train,6,8,2,2,,,,
""",
}
MAPS = {
    "a/0_object_1.png": [[2, 2], [0, 300]],
    "a/0_object_2.png": [[300, 4], [0, 0]],
    "a/0_part.png": [[4, 300], [0, 0]],
    "a/1_object.png": [[0, 0], [0, 4]],
}


def png(labels):
    labels = np.asarray(labels)
    stream = io.BytesIO()
    channels = np.stack([labels % 256, labels // 256, 0 * labels], axis=-1)
    Image.fromarray(channels.astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def jpeg(image):
    stream = io.BytesIO()
    Image.fromarray(np.asarray(image, np.uint8)).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def deep(image):
    stream = io.BytesIO()
    Image.fromarray(np.asarray(image, np.uint16)).save(stream, "PNG")
    return stream.getvalue()


def contents(**changes):
    """Return every file of a small data set; a change is (old, new) text, or None to leave a file out."""
    files = {name: text.encode() for name, text in FILES.items()}
    files |= {f"images/{name}": png(labels) for name, labels in MAPS.items()}
    files["images/a/0.jpg"] = jpeg(np.full((6, 8, 3), (204, 102, 51)))
    files["images/a/1.jpg"] = jpeg(np.full((6, 8, 3), 255))
    files["images/grey.jpg"] = jpeg(np.full((6, 8), 51))
    for name, change in changes.items():
        if change is None:
            del files[name]
        elif isinstance(change, bytes):
            files[name] = change
        else:
            old, new = (text.encode() for text in change)
            assert old in files[name]
            files[name] = files[name].replace(old, new, 1)
    return files


def write(folder, files):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


@pytest.fixture
def data(tmp_path):
    return broden.open_folder(write(tmp_path / "small", contents()))


def test_tables_are_indexed_by_label_number(data):
    assert data.categories == ("color", "object", "part")
    assert (len(data), data.n_labels, data.map_size) == (3, 301, (2, 2))
    assert [data.names[number] for number in (0, 2, 3, 300)] == ["-", "tree, tall", "-", "wheel"]
    assert data.concepts["frequency"][[0, 1, 300]].tolist() == [0, 2, 2]
    assert data.concepts["coverage"][[0, 1, 300]].tolist() == [0, 1.5, 1.25]
    assert list(data.index.columns) == ["image", "split", "ih", "iw", "sh", "sw", "color", "object", "part"]
    assert data.index["object"].tolist() == ["a/0_object_1.png;a/0_object_2.png", "2;a/1_object.png;0", ""]
    assert "3 images, 4 labels of color, object, part" in data.provenance
    assert str(data) == "small: 3 images, 4 labels in 3 categories"


def test_primary_category_covers_most_and_is_the_later_of_equals(data):
    assert data.primary.dtype == np.int64
    assert data.primary[[0, 1, 2, 3, 4, 300]].tolist() == [-1, 0, 1, -1, 2, 1]
    assert data.concepts["category"][[1, 2, 4, 300]].tolist() == ["color", "object", "part", "object"]
    assert (data.primary >= 0).sum() == 4


def test_annotation_has_several_maps_of_a_category_and_labels_above_255(data):
    first, second, third = (data.annotation(row) for row in range(3))
    assert first.maps.dtype == np.int32
    expected = [MAPS[name] for name in ("a/0_object_1.png", "a/0_object_2.png", "a/0_part.png")]
    assert first.maps.tolist() == expected
    assert first.whole.tolist() == [1]
    assert second.maps.tolist() == [MAPS["a/1_object.png"]]
    assert second.whole.dtype == np.int64
    assert second.whole.tolist() == [2]  # and not 0, which is no label
    assert third.maps.shape == (0, 2, 2)
    assert third.whole.shape == (0,)


def test_images_are_rgb_floats_in_0_1(data):
    images = data.images([2, 0])
    assert images.shape == (2, 6, 8, 3)
    assert images.dtype == np.float32
    assert np.allclose(images[0], 0.2, atol=0.01)
    assert np.allclose(images[1], [0.8, 0.4, 0.2], atol=0.015)
    assert data.images(slice(None), size=5).shape == (3, 5, 5, 3)


def test_take_gives_some_rows_which_keep_their_number(data):
    assert data.take("train").index["image"].tolist() == ["a/0.jpg", "grey.jpg"]
    validation = data.take("val")
    assert validation.annotation(0).whole.tolist() == [2]
    assert validation.index.index.tolist() == [1]
    assert len(data.take(slice(0, 2))) == len(data.take([2, 1])) == 2
    with pytest.raises(ValueError, match="split 'test': choose one of train, val"):
        data.take("test")


@pytest.mark.parametrize(("label", "left"), [(300, [1, 2]), (2, [2]), (4, [2]), (1, [1, 2])])
def test_images_with_people_are_left_out_wherever_they_are_labelled(data, label, left):
    """In a map of a category, in its second map, or for the whole image."""
    assert data.without_people() is data, "nothing is called a person"
    concepts = data.concepts.copy()
    concepts.loc[label, "name"] = "person"
    public = replace(data, concepts=concepts).without_people()
    assert public.index.index.tolist() == left


def test_fingerprint_tells_data_sets_apart(data, tmp_path):
    def unchanged_since_1970(folder):
        for path in folder.rglob("*"):
            os.utime(path, (0, 0))

    def fingerprint_with(**changes):
        folder = tmp_path / f"other{len(list(tmp_path.iterdir()))}"
        unchanged_since_1970(write(folder, contents(**changes)))
        return broden.open_folder(folder).fingerprint

    unchanged_since_1970(data.root)
    same = fingerprint_with()
    assert data.fingerprint == same
    others = [
        fingerprint_with(**{"label.csv": ("red-c", "rot-c")}),
        fingerprint_with(**{"c_color.csv": ("1.5", "1.25")}),
        fingerprint_with(**{"index.csv": ("val", "train")}),
        fingerprint_with(**{"images/a/0_part.png": png(np.zeros((2, 2), int)) + b"longer"}),
        data.take([0, 1]).fingerprint,
    ]
    assert len({same, *others}) == 6


def test_fingerprint_changes_with_a_label_map_of_as_many_bytes(data):
    before = data.fingerprint
    edited = data.root / "images" / "a" / "0_part.png"
    n_bytes = edited.stat().st_size
    edited.write_bytes(edited.read_bytes()[::-1])
    assert edited.stat().st_size == n_bytes
    assert broden.open_folder(data.root).fingerprint != before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *(({name: None}, f"has no {name}") for name in FILES),
        ({"images/a/1.jpg": None}, r"index.csv, line 3, column image: .*images/a/1.jpg is not there"),
        ({"images/a/0_part.png": None}, r"index.csv, line 2, column part: .*a/0_part.png is not there"),
        ({"index.csv": ("2;a/1", "9;a/1")}, "index.csv, line 3, column object: the label 9 is not in label"),
        ({"index.csv": ("2;a/1", "3;a/1")}, "index.csv, line 3, column object: the label 3 is not in label"),
        ({"index.csv": ("grey", "../grey")}, r"line 4, column image: \.\./grey.jpg leads out of images/"),
        ({"index.csv": ("grey", "/grey")}, r"line 4, column image: /grey.jpg leads out of images/"),
        ({"index.csv": ("a/0_part", "a/../../x")}, "line 2, column part: .* leads out of images/"),
        (
            {"index.csv": ("0_part.png,", "0_part.png,2")},
            "line 2, column material: found '2', but material is",
        ),
        ({"index.csv": ("val,6", "val,six")}, "line 3, column ih: expected a whole number.*found 'six'"),
        ({"index.csv": (",material", ",color")}, "should have the columns image, split"),
        ({"index.csv": ("grey.jpg,train,", "grey.jpg,")}, "index.csv, line 4: expected 10 fields, found 9"),
        ({"index.csv": ("image", "picture")}, "should have the columns image, split"),
        ({"index.csv": b"image,split,ih,iw,sh,sw,color,object,part\n"}, "names no image"),
        ({"category.csv": ("color,", "colour,")}, r"has no c_colour.csv"),
        ({"category.csv": ("object,", "color,")}, "should have every category once: color, color, part"),
        ({"label.csv": ("4,leaf", "2,leaf")}, "should have every label once"),
        ({"label.csv": ("4,leaf", "4.5,leaf")}, "label.csv, line 4, column number: expected a whole number"),
        ({"label.csv": ("300,", "70000,")}, "line 5, column number: expected .* to 65,535, found '70000'"),
        ({"label.csv": ("0.75", "inf")}, "label.csv, line 3, column coverage: expected a number from 0"),
        ({"label.csv": ("red-c", "\xff")}, None),
        ({"label.csv": b"\xff\xfe"}, "label.csv is damaged"),
        (
            {"c_color.csv": ("1,1,", "1,7,")},
            "c_color.csv, line 2, column number: the label 7 is not in label",
        ),
        ({"c_color.csv": b"number,coverage\n"}, "the label 1 is in none of c_color.csv, c_object.csv"),
    ],
)
def test_what_is_not_brodens_layout_is_refused_with_its_place(tmp_path, changes, message):
    folder = write(tmp_path / "wrong", contents(**changes))
    if message is None:
        assert broden.open_folder(folder).concepts["name"][1] == "\xff"
        return
    with pytest.raises(DataError, match=message):
        broden.open_folder(folder)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (png([[0, 0], [0, 299]]), "index.csv, line 2, column part: the label 299 in a/0_part.png is not in"),
        (png([[0, 0], [0, 9_999]]), "index.csv, line 2, column part: the label 9999 in a/0_part.png"),
        (png(np.zeros((2, 3), int)), "0_part.png should be 2×2, as in index.csv, found 2×3"),
        (png(MAPS["a/0_part.png"])[:50], "0_part.png is damaged"),
        (b"no picture", "0_part.png is damaged"),
        (jpeg(np.zeros((2, 2))), "0_part.png should have the channels red, green and blue"),
    ],
)
def test_wrong_label_maps_are_refused_when_they_are_read(tmp_path, data, message):
    opened = broden.open_folder(write(tmp_path / "wrong", contents(**{"images/a/0_part.png": data})))
    assert opened.annotation(1).whole.tolist() == [2]
    with pytest.raises(DataError, match=message):
        opened.take("train").annotation(0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (jpeg(np.zeros((6, 9))), "grey.jpg should be 6×8, as in index.csv, found 6×9"),
        (jpeg(np.zeros((6, 8)))[:200], "grey.jpg is damaged"),
        (deep(np.full((6, 8), 30_000)), "grey.jpg should have 8 bits a channel"),
    ],
)
def test_wrong_images_are_refused_when_they_are_read(tmp_path, data, message):
    opened = broden.open_folder(write(tmp_path / "wrong", contents(**{"images/grey.jpg": data})))
    assert opened.images([0, 1]).shape == (2, 6, 8, 3)
    with pytest.raises(DataError, match=message):
        opened.images(slice(None))


def test_tables_may_begin_with_a_byte_order_mark(data, tmp_path):
    marked = {name: b"\xef\xbb\xbf" + text.encode() for name, text in FILES.items()}
    again = broden.open_folder(write(tmp_path / "marked", contents(**marked)))
    pd.testing.assert_frame_equal(again.index, data.index)
    pd.testing.assert_frame_equal(again.concepts, data.concepts)


def test_sizes_must_agree(tmp_path):
    opened = broden.open_folder(write(tmp_path / "w", contents(**{"index.csv": ("val,6,8,2", "val,7,8,4")})))
    with pytest.raises(DataError, match="expected one sh×sw, found 2×2, 4×2"):
        _ = opened.map_size
    with pytest.raises(DataError, match="expected one ih×iw, found 6×8, 7×8"):
        opened.images(slice(None))
    with pytest.raises(DataError, match="expected one ih×iw, found no image"):
        opened.images([])


# by name


@pytest.fixture
def packs(tmp_path, monkeypatch):
    monkeypatch.setenv("CNNINTE_DATA", str(tmp_path / "packs"))
    return tmp_path / "packs"


def write_tar(path, files, **special):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for name, kind in special.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
    return path


def write_zip(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as packed:
        packed.mkdir("broden1_227")
        for name, data in files.items():
            packed.writestr(name, data)
    return path


def below(top, files):
    return {f"{top}/{name}": data for name, data in files.items()}


def unpacked():
    return [path for path in (cache_dir() / "folders").rglob("*") if path.suffix != ".lock"]


MINI = "broden_mini/broden_mini.tar.gz"
WIDE = "broden_wide/broden_wide.tar.gz"
FULL = "broden/broden1_227.zip"
PACKS = [("broden_mini", MINI, write_tar), ("broden_wide", WIDE, write_tar), ("broden", FULL, write_zip)]


@pytest.mark.parametrize(("name", "place", "pack"), PACKS)
def test_archive_is_unpacked_once_into_the_cache(packs, monkeypatch, name, place, pack):
    top = place.split("/")[1].split(".")[0]
    pack(packs / place, below(top, contents()))
    assert broden.status(name) == ("ready", str(packs / place))
    assert not cache_dir().exists()
    first = broden.load(name)
    assert first.root.is_relative_to(cache_dir() / "folders")
    assert first.annotation(0).maps.tolist()[0] == MAPS["a/0_object_1.png"]
    assert [path.name for path in packs.rglob("*") if path.is_file()] == [place.split("/")[1]]
    monkeypatch.setattr(files, "_unpack", lambda *_: pytest.fail("unpacked again"))
    assert broden.load(name).fingerprint == first.fingerprint
    (first.root / "images" / "a" / "0_part.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"is damaged .*: remove .*, and it will be made again") as caught:
        first.annotation(0)
    shutil.rmtree(str(caught.value).split("remove ")[1].split(", and")[0])
    monkeypatch.undo()
    monkeypatch.setenv("CNNINTE_CACHE", str(first.root.parents[2]))
    monkeypatch.setenv("CNNINTE_DATA", str(packs))
    assert broden.load(name).annotation(0).maps.tolist()[0] == MAPS["a/0_object_1.png"]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("broden_mini", "broden_mini"),
        ("broden_mini", "broden_mini/broden_mini"),
        ("broden_wide", "broden_wide"),
        ("broden_wide", "broden_wide/broden_wide"),
        ("broden", "broden/broden1_227"),
        ("broden", "broden/broden1_224"),
    ],
)
def test_unpacked_folder_is_opened_where_it_is(packs, name, place):
    write(packs / place, contents())
    assert broden.load(name).root == packs / place
    assert place.split("/")[-1] in broden.load(name).provenance


@pytest.mark.parametrize(
    "member",
    ["broden_mini/../../out.txt", "../out.txt", "/tmp/out.txt", "other/out.txt", "broden_mini\\..\\out.txt"],
)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_archive_that_reaches_out_of_its_folder_is_refused(packs, tmp_path, member, kind):
    name, place, pack = ("broden_mini", MINI, write_tar) if kind == "tar" else ("broden", FULL, write_zip)
    top = place.split("/")[1].split(".")[0]
    pack(packs / place, {**below(top, contents()), member.replace("broden_mini", top): b"out"})
    with pytest.raises(DataError, match=rf"out.txt, which is not a regular file below {top}/: refused"):
        broden.load(name)
    assert not list(tmp_path.rglob("*out.txt"))
    assert not unpacked()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(packs, kind):
    write_tar(packs / MINI, below("broden_mini", contents()), **{"broden_mini/images/x.jpg": kind})
    with pytest.raises(DataError, match=r"images/x.jpg, which is not a regular file"):
        broden.load("broden_mini")


def test_link_in_a_zip_is_refused(packs):
    path = write_zip(packs / FULL, below("broden1_227", contents()))
    link = zipfile.ZipInfo("broden1_227/images/x.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as packed:
        packed.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match=r"images/x.jpg, which is not a regular file"):
        broden.load("broden")


def test_archive_that_would_fill_the_disk_is_refused(packs, monkeypatch):
    write_tar(packs / MINI, below("broden_mini", contents()))
    monkeypatch.setattr(files, "_MAX_BYTES", 500)
    with pytest.raises(DataError, match="holds more than 500 bytes"):
        broden.load("broden_mini")


@pytest.mark.parametrize(("name", "place", "pack"), PACKS)
def test_truncated_archive_is_one_clear_error_and_leaves_nothing(packs, name, place, pack):
    top = place.split("/")[1].split(".")[0]
    path = pack(packs / place, below(top, contents()))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"could not unpack .*fetch it again"):
        broden.load(name)
    assert not unpacked()


def test_absent_data_say_where_they_were_looked_for_and_how_to_get_them(packs):
    with pytest.raises(
        DataError, match=r"broden is not in .*packs or .*cache.*http://netdissect.*web.archive"
    ):
        broden.load("broden")
    for name, place in (("broden_mini", MINI), ("broden_wide", WIDE)):
        assert broden.status(name)[0] == "absent"
        assert f"as {place}." in broden.status(name)[1]
    for unknown in (broden.load, broden.status):
        with pytest.raises(
            ValueError, match="'brodn': choose one of toyworld_broden, broden_mini, broden_wide, b"
        ):
            unknown("brodn")


# the real one


def recount(data):
    """Return, for every label, the images with it and the sum of the shares that it covers, category-wise."""
    frequency, coverage = np.zeros(data.n_labels, int), np.zeros(data.n_labels)
    for row in range(len(data)):
        annotation = data.annotation(row)
        for labels in annotation.maps:
            pixels = np.bincount(labels.ravel(), minlength=data.n_labels)
            frequency += pixels > 0
            coverage += pixels / labels.size
        np.add.at(frequency, annotation.whole, 1)
        np.add.at(coverage, annotation.whole, 1)
    return frequency[1:], coverage[1:]


def test_real_broden_mini(real_data):
    if broden.status("broden_mini")[0] == "absent":
        pytest.skip(f"needs real data: {broden.status('broden_mini')[1]}")
    data = broden.load("broden_mini")
    assert (len(data), data.n_labels, data.map_size) == (1_301, 34, (113, 113))
    assert data.categories == ("color", "scene", "object", "texture")
    assert (len(data.take("train")), len(data.take("val"))) == (895, 406)
    assert_recount_agrees(data)
    assert data.images([0, 900]).shape == (2, 227, 227, 3)


def test_real_broden_wide(real_data):
    if broden.status("broden_wide")[0] == "absent":
        pytest.skip(f"needs real data: {broden.status('broden_wide')[1]}")
    data = broden.load("broden_wide")
    assert (len(data), data.n_labels, data.map_size) == (6_851, 265, (64, 64))
    assert set(data.categories) == {"color", "object", "part", "scene", "material", "texture"}
    assert (len(data.take("train")), len(data.take("val"))) == (4_767, 2_084)
    counts = data.concepts["category"].value_counts()[list(data.categories)].to_dict()
    assert counts == {"color": 11, "object": 139, "part": 21, "scene": 78, "material": 5, "texture": 10}
    assert_recount_agrees(data)
    assert data.images([0, 6_850]).shape == (2, 128, 128, 3)
    faces = next(row for row, image in enumerate(data.index["image"]) if image.startswith("fasseg/"))
    head = data.names.index("head")
    assert data.index["part"].iloc[faces].count(";") == 1
    assert (data.annotation(faces).maps == head).any()
    second = data.annotation(faces).maps[-1]  # the parts come last of what a face has
    assert set(np.unique(second)) <= {0, head}


def assert_recount_agrees(data):
    """As often and as much as label.csv records, counted on the stored maps."""
    frequency, coverage = recount(data)
    assert frequency.tolist() == data.concepts["frequency"][1:].tolist()
    assert np.allclose(coverage, data.concepts["coverage"][1:], rtol=0, atol=1e-6)


def test_label_maps_are_the_first_of_each_category(data):
    first, second, third = (data.label_maps(row) for row in range(3))
    assert {category: labels.tolist() for category, labels in first.items()} == {
        "object": MAPS["a/0_object_1.png"],
        "part": MAPS["a/0_part.png"],
    }
    assert list(second) == ["object"]
    assert third == {}
