import numpy as np
import pytest

from cnninte_utils import datasets
from cnninte_utils.artifacts import DataError
from cnninte_utils.datasets import Split, mnist


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
    with pytest.raises(ValueError, match="'minst': choose one of digits, mnist"):
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
    assert set(rows) == set(datasets.NAMES)
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
