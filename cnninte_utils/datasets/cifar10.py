"""CIFAR-10: 60,000 small photographs in ten classes (Krizhevsky 2009)."""

import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np

from ..artifacts import DataError
from .base import ImageDataset, Split, hold_out
from .files import read_files, read_images
from .source import Source

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIZE = 32
N_TRAIN, N_TEST = 50_000, 10_000
BINARY, IMAGES = "cifar10/cifar-10-binary.tar.gz", "cifar10/cifar10_images.tar.gz"
_N_VALIDATION_PER_CLASS = 500
_RECORD = 1 + 3 * SIZE * SIZE
_N_BATCHES = 6
_MAX_BATCH_BYTES = 10_000 * _RECORD
_ADVICE = (
    f"Put {BINARY} (from www.cs.toronto.edu/~kriz, about 170 MB; the server is slow, at times 50 kB/s) into "
    "the folder named by $CNNINTE_DATA, or run `cnninte data fetch cifar10`, which lets Keras download its "
    "copy."
)


@dataclass(frozen=True)
class _OrOfKeras(Source):
    """Files of a data folder, or the copy in Keras's own cache, or its download."""

    def find(self) -> Path | None:
        return super().find() or (_keras_path() if _keras_path().exists() else None)

    def fetch(self) -> Path:
        if self.find() is None:
            _keras_splits()
        return self.find() or _keras_path()

    def _searched(self) -> str:
        return f"{super()._searched()} or {_keras_path().parent}"


SOURCE = _OrOfKeras("CIFAR-10", (BINARY, IMAGES), _ADVICE)


def load() -> ImageDataset:
    """Return CIFAR-10: 45,000 training, 5,000 validation (500 of each class) and 10,000 test images.

    The source is the first there is of: the binary version, the images as JPEG files, Keras's cache.
    """
    path = SOURCE.find()
    if path is None:
        raise DataError(f"CIFAR-10 is {SOURCE.status()[1]}")
    readers = {Path(BINARY).name: _read_binary, Path(IMAGES).name: _read_jpeg}
    splits = readers.get(path.name, _read_keras)(path)
    train, validation = hold_out(Split(*splits["train"]), _N_VALIDATION_PER_CLASS)
    note = ", a JPEG re-encoding of it" if path.name == Path(IMAGES).name else ""
    provenance = f"CIFAR-10 (Krizhevsky 2009), {path.name}{note}, split 45,000/5,000/10,000"
    return ImageDataset("cifar10", train, validation, Split(*splits["test"]), CLASSES, provenance)


def _keras_path() -> Path:
    """Return where Keras keeps its copy: in ``$KERAS_HOME`` or the home folder, or /tmp if that is closed."""
    home = Path("~").expanduser()
    folder = os.environ.get("KERAS_HOME", (home if os.access(home, os.W_OK) else Path("/tmp")) / ".keras")
    return Path(folder) / "datasets" / "cifar-10-batches-py-target"


def _read_keras(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return _checked(path, _keras_splits())


def _keras_splits() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    import keras

    try:
        train, test = keras.datasets.cifar10.load_data()
    except Exception as error:  # of the network, the archive or its pickles: Keras documents none
        raise DataError(f"Keras could not get CIFAR-10 ({error}). {_ADVICE}") from None
    return {
        split: (images, labels[:, 0].astype(np.int64))
        for split, (images, labels) in {"train": train, "test": test}.items()
    }


def _read_jpeg(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    def label_of(name: str) -> tuple[str, int] | None:
        match PurePosixPath(name).parts:
            case (*_, "train" | "test" as split, class_name, file_name):
                is_image = file_name.endswith(".jpg") and class_name in CLASSES
                return (split, CLASSES.index(class_name)) if is_image else None
        return None

    return _checked(path, read_images(path, SIZE, label_of))


def _read_binary(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read records of one label byte and 3,072 pixel bytes, channel by channel."""
    parts: dict[str, list[bytes]] = {"train": [], "test": []}
    found = read_files(path, lambda name: name.endswith(".bin"), _MAX_BATCH_BYTES)
    batches = list(islice(found, _N_BATCHES + 1))
    if len(batches) > _N_BATCHES:
        raise DataError(f"{path} should have {_N_BATCHES} files of records, found more: fetch it again")
    for name, data in sorted(batches):
        parts["test" if "test" in PurePosixPath(name).name else "train"].append(data)
    return _checked(path, {split: _records(path, b"".join(chunks)) for split, chunks in parts.items()})


def _records(path: Path, data: bytes) -> tuple[np.ndarray, np.ndarray]:
    if len(data) % _RECORD:
        raise DataError(f"{path} is damaged: {len(data):,} bytes are not whole records of {_RECORD:,}")
    records = np.frombuffer(data, np.uint8).reshape(-1, _RECORD)
    images = records[:, 1:].reshape(-1, 3, SIZE, SIZE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), records[:, 0].astype(np.int64)


def _checked(path: Path, splits: dict) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Refuse what is not CIFAR-10: so many images, equally many of each class."""
    for split, n_images in (("train", N_TRAIN), ("test", N_TEST)):
        labels = splits[split][1] if split in splits else np.empty(0, np.int64)
        counts = np.bincount(labels, minlength=len(CLASSES))
        if counts.tolist() != [n_images // len(CLASSES)] * len(CLASSES):
            raise DataError(
                f"{path} should have {n_images:,} {split} images, equally many of each class, "
                f"found {len(labels):,}: fetch it again"
            )
    return splits
