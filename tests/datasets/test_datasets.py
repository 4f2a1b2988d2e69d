import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnninte_utils import artifacts, datasets
from cnninte_utils.artifacts import DataError
from cnninte_utils.datasets import Split, base, broden, cifar10, files, mnist, tiny_imagenet


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits")


def test_digits_are_what_they_say(digits):
    assert [len(s) for s in (digits.train, digits.validation, digits.test)] == [1_200, 200, 397]
    for split in (digits.train, digits.validation, digits.test):
        assert split.images.shape[1:] == (28, 28, 1)
        assert split.images.dtype == np.float32
        assert 0 <= split.images.min() < split.images.max() <= 1
        assert set(split.labels) == set(range(10))


def test_digits_splits_share_no_image_and_are_always_the_same(digits):
    rows = np.concatenate(
        [s.images.reshape(len(s), -1) for s in (digits.train, digits.validation, digits.test)]
    )
    assert len(np.unique(rows, axis=0)) == 1_797
    assert datasets.load("digits").fingerprint == digits.fingerprint


def test_digits_keep_the_picture(digits):
    """Averaging 28×28 back to 4×4 and the original 8×8 to 4×4 gives nearly the same picture."""
    from sklearn.datasets import load_digits

    original = load_digits().images.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)) / 16
    every = np.concatenate([s.images[..., 0] for s in (digits.train, digits.validation, digits.test)])
    small = every.reshape(-1, 4, 7, 4, 7).mean(axis=(2, 4))
    distances = np.abs(small[:100, None] - original).mean(axis=(2, 3)).min(axis=1)
    assert distances.max() < 0.05


def test_unknown_name_is_refused_naming_the_known():
    with pytest.raises(ValueError, match=r"'minst': choose one of digits, .*mnist"):
        datasets.load("minst")


def test_split_refuses_other_types_and_lengths():
    with pytest.raises(ValueError, match="must be float32"):
        Split(np.zeros((2, 28, 28, 1)), np.zeros(2, int))
    with pytest.raises(ValueError, match="2 images but labels"):
        Split(np.zeros((2, 28, 28, 1), np.float32), np.zeros(3, int))


def write_mnist(folder, **changes):
    rng = np.random.default_rng(0)
    arrays = {
        name: rng.integers(0, 10, shape, dtype=np.uint8) if name[0] == "y" else np.zeros(shape, np.uint8)
        for name, shape in mnist._LAYOUT.items()
    }
    path = folder / "mnist" / "mnist.npz"
    path.parent.mkdir(parents=True)
    np.savez_compressed(path, **arrays | changes)
    return path


@pytest.fixture
def data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CNNINTE_DATA", str(tmp_path / "packs"))
    return tmp_path / "packs"


def test_mnist_is_split_as_in_the_paper(data_folder):
    first = np.zeros((60_000, 28, 28), np.uint8)
    first[54_999], first[55_000] = 51, 255
    write_mnist(data_folder, x_train=first)
    data = datasets.load("mnist")
    assert [len(s) for s in (data.train, data.validation, data.test)] == [55_000, 5_000, 10_000]
    assert np.allclose(data.train.images[-1], 0.2)
    assert np.all(data.validation.images[0] == 1)


def test_truncated_mnist_is_one_clear_error(data_folder):
    path = write_mnist(data_folder)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"mnist\.npz is damaged .*cnninte data fetch mnist"):
        datasets.load("mnist")


def test_corrupted_mnist_is_one_clear_error(data_folder):
    path = write_mnist(data_folder)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(range(40))
    path.write_bytes(content)
    with pytest.raises(DataError, match="is damaged"):
        datasets.load("mnist")


@pytest.mark.parametrize(
    "change",
    [{"y_test": np.zeros(9_999, np.uint8)}, {"x_test": np.zeros((10_000, 28, 28))}],
)
def test_mnist_with_other_arrays_is_refused(data_folder, change):
    write_mnist(data_folder, **change)
    with pytest.raises(DataError, match=f"{next(iter(change))} should be uint8"):
        datasets.load("mnist")


@pytest.mark.parametrize("labels", [np.zeros(60_000, np.uint8), np.arange(60_000, dtype=np.uint8) % 9])
def test_mnist_without_all_ten_digits_is_refused(data_folder, labels):
    write_mnist(data_folder, y_train=labels)
    with pytest.raises(DataError, match=r"y_train should have the labels 0 to 9, found \[0"):
        datasets.load("mnist")


def change_zip(path, place, value):
    """Write a number into the local header of a zip's first member, and into the directory."""
    content = bytearray(path.read_bytes())
    for start in (place, content.index(b"PK\x01\x02") + place + 2):
        content[start : start + 2] = value.to_bytes(2, "little")
    path.write_bytes(content)


def bare_array(path):
    with path.open("wb") as stream:
        np.save(stream, np.zeros(3))


def encrypted(path):
    change_zip(path, 6, 1)


def unknown_compression(path):
    change_zip(path, 8, 77)


def a_tebibyte(path):
    """Say so in the array's header, and by a zip64 field in the zip's directory."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2**40,)})
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("x_train.npy", header.getvalue() + bytes(8))
    content = bytearray(path.read_bytes())
    entry, end = content.index(b"PK\x01\x02"), content.rindex(b"PK\x05\x06")
    sizes = len(header.getvalue()) + np.array([2**40, 8])
    extra = np.array([1, 16], "<u2").tobytes() + sizes.astype("<u8").tobytes()
    content[end + 12] += len(extra)
    content[entry + 20 : entry + 28] = b"\xff" * 8
    content[entry + 30] = len(extra)
    content[end:end] = extra
    path.write_bytes(content)


def header_without_end(path):
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("x_train.npy", b"\x93NUMPY\x01\x00\x0a\x00{'shape': (")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (bare_array, "not a zip file"),
        (encrypted, "encrypted"),
        (unknown_compression, "compression method"),
        (a_tebibyte, "1,099,511,627,904 bytes where at most 134,217,728 are expected"),
        (header_without_end, "EOF in multi-line statement|header"),
    ],
)
def test_what_is_only_called_mnist_is_one_sentence(data_folder, damage, reason):
    path = write_mnist(data_folder)
    damage(path)
    with pytest.raises(DataError, match=rf"npz is damaged or no .*({reason}).*cnninte data fetch mnist") as e:
        datasets.load("mnist")
    assert "\n" not in str(e.value)


def test_labels_that_are_no_digits_are_refused(data_folder):
    labels = np.zeros(60_000, np.uint8)
    labels[59_999] = 77
    write_mnist(data_folder, y_train=labels)
    with pytest.raises(DataError, match=r"y_train should have the labels 0 to 9, found \[0, 77\]"):
        datasets.load("mnist")


def test_image_too_large_to_be_one_is_refused_before_it_is_read(data_folder):
    path = data_folder / "cifar10" / "cifar10_images.tar.gz"
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        member = tarfile.TarInfo("train/cat/0000.jpg")
        member.size = 2**24 + 1
        tar.addfile(member, io.BytesIO(bytes(member.size)))
    with pytest.raises(DataError, match=r"train/cat/0000\.jpg in .* has 16,777,217 bytes: it is not what"):
        datasets.load("cifar10")


def test_batch_too_large_to_be_one_is_refused_before_it_is_read(small_cifar10, monkeypatch):
    folder, greys = small_cifar10
    write_tar(folder / cifar10.BINARY, cifar10_binary(greys))
    monkeypatch.setattr(cifar10, "_MAX_BATCH_BYTES", 20 * 3_073 - 1)
    with pytest.raises(DataError, match=r"_batch(_1)?\.bin in .* has 61,460 bytes: it is not what"):
        datasets.load("cifar10")
    monkeypatch.setattr(cifar10, "_MAX_BATCH_BYTES", 20 * 3_073)
    assert len(datasets.load("cifar10").test) == 20


def test_published_batches_are_not_too_large():
    assert cifar10._MAX_BATCH_BYTES == 30_730_000  # bytes of data_batch_1.bin, as its page says


def test_pickled_arrays_are_never_loaded(data_folder):
    write_mnist(data_folder, y_test=np.array([print] * 10_000, dtype=object))
    with pytest.raises(DataError, match="is damaged"):
        datasets.load("mnist")


def test_absent_mnist_says_where_it_was_looked_for_and_writes_nothing(data_folder, tmp_path, monkeypatch):
    def no_network(*args, **options):
        raise OSError("no network")

    monkeypatch.setattr("pooch.retrieve", no_network)
    with pytest.raises(DataError, match=r"MNIST is not in .*packs or .*cache.*no network.*CNNINTE_DATA"):
        datasets.load("mnist")
    assert not list((tmp_path / "cache").rglob("*.npz"))


def test_status_names_every_data_set(data_folder):
    rows = {name: (state, where) for name, state, where in datasets.status()}
    assert set(rows) == {*datasets.NAMES, *broden.NAMES}
    assert rows["digits"][0] == "ready"
    assert rows["mnist"][0] == "absent"
    path = write_mnist(data_folder)
    assert dict((name, where) for name, _, where in datasets.status())["mnist"] == str(path)


def test_real_mnist(real_data):
    data = datasets.load("mnist")
    every = np.concatenate([data.train.labels, data.validation.labels])
    assert np.bincount(every).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert data.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert data.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert abs(data.train.images.mean() - 0.1307) < 5e-4


# image archives: CIFAR-10 and Tiny ImageNet


def jpeg(image):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def write_tar(path, files, mode="w:gz"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def write_zip(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.mkdir("tiny-imagenet-200")
        for name, data in files.items():
            packed.writestr(name, data)
    return path


@pytest.fixture
def small_cifar10(data_folder, monkeypatch, tmp_path):
    """Three training images and two test images of each class, plain ones of a grey that tells them apart."""
    monkeypatch.setattr(cifar10, "N_TRAIN", 30)
    monkeypatch.setattr(cifar10, "N_TEST", 20)
    monkeypatch.setattr(cifar10, "_N_VALIDATION_PER_CLASS", 1)
    monkeypatch.setattr(cifar10, "_keras_path", lambda: tmp_path / "keras" / "none")
    greys = {
        (split, c, i): 8 * c + 80 * i + (4 if split == "test" else 0)
        for split, n in (("train", 3), ("test", 2))
        for c in range(10)
        for i in range(n)
    }
    return data_folder, greys


def plain(grey, size=32):
    return np.full((size, size, 3), grey, np.uint8)


def cifar10_jpegs(greys):
    return {f"{s}/{cifar10.CLASSES[c]}/{i:04}.jpg": jpeg(plain(grey)) for (s, c, i), grey in greys.items()}


def cifar10_binary(greys):
    def records(split, numbers):
        wanted = [(c, g) for (s, c, i), g in greys.items() if s == split and i in numbers]
        return b"".join(bytes([c]) + plain(g).transpose(2, 0, 1).tobytes() for c, g in wanted)

    return {
        "cifar-10-batches-bin/test_batch.bin": records("test", (0, 1)),
        "cifar-10-batches-bin/data_batch_1.bin": records("train", (0, 1)),
        "cifar-10-batches-bin/data_batch_2.bin": records("train", (2,)),
        "cifar-10-batches-bin/readme.html": b"<html>",
    }


def contents(split):
    """Return the pairs (label, grey of the middle), in no order."""
    return sorted(zip(split.labels.tolist(), split.images[:, 16, 16, 0].tolist(), strict=True))


def test_binary_and_jpeg_cifar10_are_the_same_images_with_the_same_labels(small_cifar10):
    folder, greys = small_cifar10
    write_tar(folder / cifar10.IMAGES, cifar10_jpegs(greys))
    from_jpegs = datasets.load("cifar10")
    write_tar(folder / cifar10.BINARY, cifar10_binary(greys))
    from_records = datasets.load("cifar10")
    for data, note in ((from_jpegs, "a JPEG re-encoding"), (from_records, "cifar-10-binary.tar.gz")):
        assert note in data.provenance
        assert [len(s) for s in (data.train, data.validation, data.test)] == [20, 10, 20]
        assert data.train.images.shape[1:] == (32, 32, 3)
        assert contents(data.test) == sorted((c, g) for (s, c, _), g in greys.items() if s == "test")
        learned = sorted(contents(data.train) + contents(data.validation))
        assert learned == sorted((c, g) for (s, c, _), g in greys.items() if s == "train")
        assert np.bincount(data.validation.labels).tolist() == [1] * 10


def test_no_more_records_are_read_than_cifar10_has(small_cifar10):
    folder, greys = small_cifar10
    more = {f"cifar-10-batches-bin/data_batch_{i}.bin": b"" for i in range(3, 8)}
    write_tar(folder / cifar10.BINARY, cifar10_binary(greys) | more)
    with pytest.raises(DataError, match="should have 6 files of records, found more"):
        datasets.load("cifar10")


def test_labels_beyond_the_classes_are_refused():
    split = Split(np.zeros((2, 4, 4, 1), np.float32), np.array([0, 5]))
    with pytest.raises(ValueError, match="few has 2 classes, got the label 5"):
        datasets.ImageDataset("few", split, split, split, ("a", "b"), "made up")
    with pytest.raises(ValueError, match="images and labels must be arrays, got list and ndarray"):
        Split([[1.0]], np.zeros(1, int))
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        next(split.batches(-1))


def test_binary_cifar10_is_stored_channel_by_channel(small_cifar10):
    folder, greys = small_cifar10
    files = cifar10_binary(greys)
    record = bytearray(files["cifar-10-batches-bin/test_batch.bin"])
    record[1 + 2 * 1024 + 3 * 32 + 5] = 255  # blue, row 3, column 5
    write_tar(folder / cifar10.BINARY, files | {"cifar-10-batches-bin/test_batch.bin": bytes(record)})
    image = datasets.load("cifar10").test.images[0]
    assert np.argwhere(image == 255).tolist() == [[3, 5, 2]]


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda g: {"readme": b"nothing"}, "has none of the images expected"),
        (lambda g: dict(list(cifar10_jpegs(g).items())[:-1]), "should have 20 test images, .* found 19"),
        (
            lambda g: cifar10_jpegs(g) | {"train/dog/0000.jpg": b"\xff\xd8 not a picture"},
            "dog/0000.jpg .*damaged",
        ),
        (lambda g: cifar10_jpegs(g) | {"train/dog/0001.jpg": jpeg(plain(9))[:400]}, "dog/0001.jpg .*damaged"),
        (
            lambda g: cifar10_jpegs(g) | {"test/cat/0000.jpg": jpeg(plain(9, 33))},
            "test/cat/0000.jpg .*should be 32×32, found 33×33",
        ),
        (
            lambda g: {name.replace("cat", "lynx"): data for name, data in cifar10_jpegs(g).items()},
            "should have 30 train images, equally many of each class, found 27",
        ),
    ],
)
def test_wrong_jpegs_of_cifar10_are_one_clear_error(small_cifar10, make, message):
    folder, greys = small_cifar10
    write_tar(folder / cifar10.IMAGES, make(greys))
    with pytest.raises(DataError, match=message):
        datasets.load("cifar10")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_batch.bin": b"123"}, "3 bytes are not whole records"),
        ({"test_batch.bin": b""}, "should have 20 test images, equally many of each class, found 0"),
        ({"data_batch_2.bin": bytes([99] + [0] * 3072) * 10}, "should have 30 train images"),
    ],
)
def test_wrong_records_of_cifar10_are_one_clear_error(small_cifar10, change, message):
    folder, greys = small_cifar10
    change = {f"cifar-10-batches-bin/{name}": data for name, data in change.items()}
    write_tar(folder / cifar10.BINARY, cifar10_binary(greys) | change)
    with pytest.raises(DataError, match=message):
        datasets.load("cifar10")


@pytest.mark.parametrize("source", ["BINARY", "IMAGES"])
def test_truncated_cifar10_is_one_clear_error(small_cifar10, source):
    folder, greys = small_cifar10
    files = {"BINARY": cifar10_binary, "IMAGES": cifar10_jpegs}[source](greys)
    truncated(write_tar(folder / getattr(cifar10, source), files))
    with pytest.raises(DataError, match=r"is damaged|should have"):
        datasets.load("cifar10")


def test_absent_cifar10_says_where_it_was_looked_for_and_keras_failure_is_passed_on(
    small_cifar10, monkeypatch
):
    def no_network():
        raise Exception("URL fetch failure")

    monkeypatch.setattr("keras.datasets.cifar10.load_data", no_network)
    with pytest.raises(DataError, match=r"CIFAR-10 is not in .*packs or .*keras.*cifar-10-binary.tar.gz"):
        datasets.load("cifar10")
    with pytest.raises(DataError, match=r"URL fetch failure.*cifar10/cifar-10-binary.tar.gz"):
        datasets.fetch("cifar10")


def test_keras_copy_is_looked_for_where_keras_puts_it(monkeypatch, tmp_path):
    from keras.src.backend.config import keras_home  # what keras.datasets calls; nothing public tells it

    assert cifar10._keras_path().parents[1] == Path(keras_home())
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert cifar10._keras_path() == tmp_path / "datasets" / "cifar-10-batches-py-target"


def test_cifar10_of_keras_is_the_last_resort(small_cifar10, monkeypatch):
    folder, greys = small_cifar10
    arrays = {
        s: (
            np.stack([plain(g) for (t, _, _), g in greys.items() if t == s]),
            [c for t, c, _ in greys if t == s],
        )
        for s in ("train", "test")
    }
    pair = [(x, np.array(y, np.uint8)[:, None]) for x, y in arrays.values()]
    monkeypatch.setattr("keras.datasets.cifar10.load_data", lambda: pair)
    cifar10._keras_path().mkdir(parents=True)
    assert contents(datasets.load("cifar10").test)[:2] == [(0, 4), (0, 84)]
    write_tar(folder / cifar10.BINARY, cifar10_binary(greys))
    assert "cifar-10-binary" in datasets.load("cifar10").provenance


WNIDS = ("n03", "n01", "n02")


def tiny_imagenet_files(n_train=12, n_val=2):
    """Three classes; the train images are of the greys 0 …, the val images of 200 …; one is grey only."""
    root = "tiny-imagenet-200"
    files = {
        f"{root}/wnids.txt": "\n".join(WNIDS).encode(),
        f"{root}/words.txt": b"n01\tfish, water animal\nn02\tbird\nn03\tapple\nn04\tnothing here\n",
        f"{root}/test/images/test_0.JPEG": jpeg(plain(7, 64)),
    }
    annotations = []
    for c, wnid in enumerate(sorted(WNIDS)):
        for i in range(n_train):
            files[f"{root}/train/{wnid}/images/{wnid}_{i}.JPEG"] = jpeg(plain(60 * c + 5 * i, 64))
        for i in range(n_val):
            files[f"{root}/val/images/val_{9 * i + c}.JPEG"] = jpeg(plain(200 + 20 * c + 5 * i, 64))
            annotations.append(f"val_{9 * i + c}.JPEG\t{wnid}\t{c}\t{10 * i}\t{9 + c}\t63")
    files[f"{root}/train/n01/images/n01_0.JPEG"] = jpeg(np.zeros((64, 64), np.uint8))
    files[f"{root}/val/val_annotations.txt"] = "\n".join(annotations).encode()
    return files


TINY_WRITERS = {
    "tiny-imagenet-200.zip": write_zip,
    "tiny-imagenet-200.tar": lambda path, files: write_tar(path, files, "w"),
    "tiny_imagenet_subset.tar.gz": write_tar,
}


def write_tiny_imagenet(folder, files, name="tiny-imagenet-200.zip"):
    return TINY_WRITERS[name](folder / "tiny_imagenet" / name, files)


@pytest.mark.parametrize("name", TINY_WRITERS)
def test_tiny_imagenet_out_of_every_archive(data_folder, name):
    write_tiny_imagenet(data_folder, tiny_imagenet_files(), name)
    data = datasets.load("tiny_imagenet")
    assert data.class_names == ("fish", "bird", "apple")
    assert name in data.provenance
    assert [len(s) for s in (data.train, data.validation, data.test)] == [6, 30, 6]
    assert contents(data.test) == [(c, 200 + 20 * c + 5 * i) for c in range(3) for i in range(2)]
    learned = sorted(contents(data.train) + contents(data.validation))
    assert learned == [(c, 60 * c + 5 * i) for c in range(3) for i in range(12)]
    assert not [path for path in data_folder.rglob("*") if path.suffix == ".JPEG"]


def test_zip_as_published_comes_first(data_folder):
    for name in reversed(TINY_WRITERS):
        write_tiny_imagenet(data_folder, tiny_imagenet_files(), name)
        assert datasets.fetch("tiny_imagenet").endswith(name)


def without(*ends):
    return {name: data for name, data in tiny_imagenet_files().items() if not name.endswith(ends)}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (without("words.txt"), "has no tiny-imagenet-200/words.txt"),
        (without("wnids.txt"), "has no tiny-imagenet-200/wnids.txt"),
        (without("n02_3.JPEG"), "is incomplete: its 3 classes have 11 to 12 train images"),
        (without("val_0.JPEG"), "is incomplete: its 3 classes have 1 to 2 test images"),
        (without(*(f"n03_{i}.JPEG" for i in range(12))), "its 3 classes have 0 to 12 train images"),
        (
            tiny_imagenet_files() | {"tiny-imagenet-200/val/images/val_77.JPEG": jpeg(plain(1, 64))},
            "has tiny-imagenet-200/val/images/val_77.JPEG, which is of none of the classes",
        ),
        (
            tiny_imagenet_files() | {"tiny-imagenet-200/train/n02/images/n02_3.JPEG": b"not a picture"},
            "n02_3.JPEG in .* is damaged",
        ),
        (
            tiny_imagenet_files() | {"tiny-imagenet-200/train/n02/images/n02_3.JPEG": jpeg(plain(1, 32))},
            "n02_3.JPEG in .* should be 64×64, found 32×32",
        ),
    ],
)
def test_wrong_tiny_imagenet_is_one_clear_error(data_folder, files, message):
    write_tiny_imagenet(data_folder, files)
    with pytest.raises(DataError, match=message):
        datasets.load("tiny_imagenet")


@pytest.mark.parametrize("name", TINY_WRITERS)
def test_truncated_tiny_imagenet_is_one_clear_error(data_folder, name):
    truncated(write_tiny_imagenet(data_folder, tiny_imagenet_files(), name))
    with pytest.raises(DataError, match=r"is damaged|is incomplete|has no tiny-imagenet"):
        datasets.load("tiny_imagenet")


def test_boxes_lie_beside_the_test_images(data_folder):
    """The i-th image of class c is of the grey 200 + 20 c + 5 i, and has the box (c, 10 i, 9 + c, 63)."""
    write_tiny_imagenet(data_folder, tiny_imagenet_files())
    test = datasets.load("tiny_imagenet").test
    expected = []
    for c, grey in zip(test.labels.tolist(), test.images[:, 16, 16, 0].tolist(), strict=True):
        expected.append([c, 10 * ((grey - 200 - 20 * c) // 5), 9 + c, 63])
    assert tiny_imagenet.boxes().tolist() == expected
    assert len({tuple(box) for box in expected}) == 6


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("n01\t0\t0\t9", "an image in val/val_annotations.txt without a box of four numbers"),
        ("n01\t0\t0\tx\t9", "without a box of four numbers"),
        ("n01\t0\t-1\t9\t9", "without a box of four numbers"),
        ("n01\t0\t0\t64\t9", "a box in val/val_annotations.txt that lies outside of its image"),
        ("n01\t9\t0\t8\t9", "lies outside of its image"),
    ],
)
def test_wrong_boxes_are_one_clear_error(data_folder, row, message):
    files = tiny_imagenet_files()
    name = "tiny-imagenet-200/val/val_annotations.txt"
    lines = files[name].decode().splitlines()
    files[name] = "\n".join([f"val_0.JPEG\t{row}", *lines[1:]]).encode()
    write_tiny_imagenet(data_folder, files)
    with pytest.raises(DataError, match=message):
        tiny_imagenet.boxes()


def test_boxes_without_their_image_are_one_clear_error(data_folder):
    files = tiny_imagenet_files()
    files["tiny-imagenet-200/val/val_annotations.txt"] += b"\nval_77.JPEG\tn01\t0\t0\t9\t9"
    write_tiny_imagenet(data_folder, files)
    with pytest.raises(DataError, match="other images than those in its val/"):
        tiny_imagenet.boxes()


def test_damage_inside_a_zip_is_found_by_its_checksum(data_folder):
    path = write_tiny_imagenet(data_folder, tiny_imagenet_files())
    content = bytearray(path.read_bytes())
    place = content.index(b"n02_3.JPEG") + 60
    content[place : place + 4] = bytes(255 - b for b in content[place : place + 4])
    path.write_bytes(content)
    with pytest.raises(DataError, match="is damaged"):
        datasets.load("tiny_imagenet")


def test_other_pictures_than_jpegs_are_refused(data_folder):
    stream = io.BytesIO()
    Image.fromarray(plain(3, 64)).save(stream, "PNG")
    name = "tiny-imagenet-200/train/n02/images/n02_3.JPEG"
    write_tiny_imagenet(data_folder, tiny_imagenet_files() | {name: stream.getvalue()})
    with pytest.raises(DataError, match=r"n02_3.JPEG in .* is damaged"):
        datasets.load("tiny_imagenet")


def test_second_time_the_archive_is_not_decoded_again(data_folder, monkeypatch):
    write_tiny_imagenet(data_folder, tiny_imagenet_files())
    first = datasets.load("tiny_imagenet")
    monkeypatch.setattr(files, "_decode", lambda *_: pytest.fail("decoded again"))
    assert datasets.load("tiny_imagenet").fingerprint == first.fingerprint


def test_images_come_in_the_order_of_their_names_whatever_the_archive(data_folder):
    files = tiny_imagenet_files()
    write_tiny_imagenet(data_folder, dict(reversed(files.items())), "tiny_imagenet_subset.tar.gz")
    backwards = datasets.load("tiny_imagenet")
    write_tiny_imagenet(data_folder, files)
    assert datasets.load("tiny_imagenet").fingerprint == backwards.fingerprint


def test_absent_tiny_imagenet_says_how_to_get_it(data_folder):
    with pytest.raises(
        DataError, match=r"not in .*packs or .*Download http://.*tiny_imagenet/tiny-imagenet-200.zip"
    ):
        datasets.load("tiny_imagenet")


# what every split can do


def split_of(images, labels=None):
    return Split(images, np.zeros(len(images), np.int64) if labels is None else np.array(labels, np.int64))


def test_resizing_is_bilinear_between_the_middles_of_pixels():
    """2 → 4: the new middles are at −¼, ¼, ¾ and 1¼ of the old, the outer ones held at the border."""
    images = np.array([[0, 1], [2, 3]], np.float32)[None, :, :, None] / 4
    by_hand = [[0, 0.25, 0.75, 1], [0.5, 0.75, 1.25, 1.5], [1.5, 1.75, 2.25, 2.5], [2, 2.25, 2.75, 3]]
    assert np.allclose(4 * split_of(images).floats(4)[0, :, :, 0], by_hand, atol=1e-6)


def test_floats_are_in_0_1_of_whatever_is_stored():
    bytes_ = np.array([0, 51, 255, 102], np.uint8).reshape(1, 2, 2, 1)
    floats = split_of(bytes_).floats()
    assert floats.dtype == np.float32
    assert np.allclose(floats.ravel(), [0, 0.2, 1, 0.4])
    assert np.array_equal(split_of(floats).floats(2), floats)


def test_batches_are_the_split_in_order():
    images = np.arange(5 * 4, dtype=np.uint8).reshape(5, 2, 2, 1)
    parts = list(split_of(images).batches(2, size=4))
    assert [len(part) for part in parts] == [2, 2, 1]
    assert np.array_equal(np.concatenate(parts), split_of(images).floats(4))


def test_as_many_of_every_class_drawn_at_random():
    labels = [0] * 30 + [1] * 5 + [2] * 10
    split = split_of(np.zeros((45, 1, 1, 1), np.uint8), labels)
    rows = split.per_class(4, seed=0)
    assert np.array_equal(rows, np.unique(rows))
    assert np.bincount(split.labels[rows]).tolist() == [4, 4, 4]
    assert np.array_equal(rows, split.per_class(4, seed=0))
    draws = [set(split.per_class(4, seed=seed)) for seed in range(40)]
    assert set.union(*draws) == set(range(45))
    with pytest.raises(ValueError, match="6 images of class 1, there are 5"):
        split.per_class(6, seed=0)


def test_fewer_training_images_are_as_many_of_every_class():
    images = np.arange(40, dtype=np.uint8).reshape(40, 1, 1, 1)
    full = split_of(images, np.arange(40) % 4)
    data = datasets.ImageDataset("d", full, full, full, tuple("abcd"), "")
    fewer = data.with_train(12)
    assert np.bincount(fewer.train.labels).tolist() == [3] * 4
    assert np.array_equal(fewer.train.images.ravel() % 4, fewer.train.labels)
    assert (len(fewer.validation), len(fewer.test)) == (40, 40)
    assert fewer.fingerprint != data.fingerprint == data.with_train(0).fingerprint
    assert len(data.with_train(43).train) == 40
    for n in (-4, 3, 44, 8.0, "8", True, None):
        with pytest.raises(ValueError, match="n_train, must be 0 for all or a whole number from 4 to 43, as"):
            data.with_train(n)


def test_what_is_held_out_is_gone_from_the_rest():
    images = np.arange(40, dtype=np.uint8).reshape(40, 1, 1, 1)
    rest, held = base.hold_out(split_of(images, np.arange(40) % 4), 3, seed=1)
    assert np.bincount(held.labels).tolist() == [3] * 4
    assert np.bincount(rest.labels).tolist() == [7] * 4
    assert sorted([*rest.images.ravel(), *held.images.ravel()]) == list(range(40))
    assert np.array_equal(held.images.ravel() % 4, held.labels)


def eight_classes():
    images = np.arange(80, dtype=np.uint8).reshape(80, 1, 1, 1)
    full = split_of(images, np.arange(80) % 8)
    return datasets.ImageDataset(
        "d", full, full.take(slice(40)), full.take(slice(16)), tuple("abcdefgh"), "Made."
    )


def test_some_classes_are_numbered_anew_and_keep_their_images():
    data = eight_classes()
    part = data.with_classes(3, seed=1)
    kept = [data.class_names.index(name) for name in part.class_names]
    assert kept == sorted(kept)
    for whole, split in (
        (data.train, part.train),
        (data.validation, part.validation),
        (data.test, part.test),
    ):
        expected = [i for i in whole.images.ravel() if i % 8 in kept]
        assert split.images.ravel().tolist() == expected
        assert [kept[label] for label in split.labels] == [i % 8 for i in expected]
    assert part.train.labels.dtype == np.int64
    assert part.name == "d_3_1"
    assert part.provenance == "3 of the 8 classes of d, part 1 of those drawn with seed 1; Made."


def test_parts_share_no_class_and_depend_on_the_seed():
    data = eight_classes()
    parts = [data.with_classes(4, part=part, name=f"part{part}") for part in (1, 2)]
    assert sorted(parts[0].class_names + parts[1].class_names) == list("abcdefgh")
    assert [part.name for part in parts] == ["part1", "part2"]
    assert data.with_classes(4).fingerprint == parts[0].fingerprint != parts[1].fingerprint
    assert len({data.with_classes(4, seed=seed).class_names for seed in range(10)}) > 5


@pytest.mark.parametrize("options", [{"n": 9}, {"n": 4, "part": 3}, {"n": 0}, {"n": 4, "part": 0}])
def test_more_classes_than_there_are_is_refused(options):
    with pytest.raises(ValueError, match=r"n \* part <= 8 \(the classes of d\) needed"):
        eight_classes().with_classes(**options)


# the real ones


def real_pack(*names):
    """Skip unless the data folder has one of the files."""
    folder = artifacts.data_dirs()[0]
    if not any((folder / name).is_file() for name in names):
        pytest.skip(f"needs real data: one of {', '.join(names)} in $CNNINTE_DATA")


def test_real_cifar10(real_data):
    real_pack(cifar10.BINARY, cifar10.IMAGES)
    data = datasets.load("cifar10")
    for split, n in ((data.train, 4_500), (data.validation, 500), (data.test, 1_000)):
        assert np.bincount(split.labels).tolist() == [n] * 10
    every = np.concatenate([data.train.images, data.validation.images]).reshape(-1, 3)
    assert np.allclose(every.mean(axis=0) / 255, [0.4914, 0.4822, 0.4465], atol=1e-3)


def test_real_tiny_imagenet(real_data):
    real_pack(*tiny_imagenet.ARCHIVES)
    data = datasets.load("tiny_imagenet")
    assert data.class_names[:2] == ("goldfish", "European fire salamander")
    for split in (data.train, data.validation, data.test):
        assert len(set(np.bincount(split.labels, minlength=200))) == 1
    pixels = data.train.images[::10].reshape(-1, 3)
    assert np.allclose(pixels.mean(axis=0) / 255, [0.480, 0.448, 0.398], atol=0.005)  # as commonly given
    is_goldfish = data.test.labels == 0
    goldfish = data.test.images[is_goldfish].astype(float)
    red, green, blue = goldfish.mean(axis=(0, 1, 2))
    assert red > green > blue
    boxes = tiny_imagenet.boxes()
    assert boxes.shape == (len(data.test), 4)
    place = np.arange(64)
    left, top, right, bottom = boxes[is_goldfish].T[:, :, None]
    inside = ((top <= place) & (place <= bottom))[:, :, None] & ((left <= place) & (place <= right))[:, None]
    redness = goldfish[..., 0] - goldfish[..., 2]
    assert redness[inside].mean() > 1.5 * redness[~inside].mean()


def test_real_parts_of_tiny_imagenet(real_data):
    real_pack(*tiny_imagenet.ARCHIVES)
    whole, *parts = (datasets.load(name) for name in ("tiny_imagenet", "tiny50_1", "tiny50_2"))
    assert len(set(parts[0].class_names) | set(parts[1].class_names)) == 100
    for part in parts:
        for split, all_of_it in (
            (part.train, whole.train),
            (part.validation, whole.validation),
            (part.test, whole.test),
        ):
            assert np.bincount(split.labels).tolist() == [len(all_of_it) // 200] * 50


@pytest.mark.parametrize("labels", [np.array([0, -1]), np.array([0.0, 1.0]), np.array(["a", "b"])])
def test_labels_that_count_nothing_are_refused(labels):
    with pytest.raises(ValueError, match="labels must be whole numbers from 0 on"):
        datasets.Split(np.zeros((2, 4, 4, 1), np.float32), labels)
