"""MNIST: 70,000 handwritten digits (LeCun, Bottou, Bengio, Haffner 1998), split as in paper A."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from ..artifacts import DataError, cache_dir, data_dirs
from ..artifacts import fetch as download
from .base import ImageDataset, from_bytes

URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
RELATIVE_PATH = Path("mnist/mnist.npz")
N_TRAIN = 55_000
_LAYOUT = {
    "x_train": (60_000, 28, 28),
    "y_train": (60_000,),
    "x_test": (10_000, 28, 28),
    "y_test": (10_000,),
}


def load() -> ImageDataset:
    """Return MNIST: the first 55,000 training images, the other 5,000 as validation, 10,000 test."""
    path = Path(fetch())
    arrays = read(path)
    train = from_bytes(arrays["x_train"][:N_TRAIN], arrays["y_train"][:N_TRAIN])
    validation = from_bytes(arrays["x_train"][N_TRAIN:], arrays["y_train"][N_TRAIN:])
    test = from_bytes(arrays["x_test"], arrays["y_test"])
    provenance = f"MNIST (LeCun, Bottou, Bengio and Haffner 1998), {path.name}, split 55,000/5,000/10,000"
    return ImageDataset("mnist", train, validation, test, tuple("0123456789"), provenance)


def read(path: Path) -> dict[str, np.ndarray]:
    """Read the four arrays of ``mnist.npz`` and check that they are MNIST's.

    Raises
    ------
    DataError
        If the file is truncated or corrupted, or its arrays have other names, types or shapes.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in _LAYOUT if name in archive}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path} is damaged ({error}): remove it and run `cnninte data fetch mnist`"
        ) from None
    for name, shape in _LAYOUT.items():
        array = arrays.get(name)
        if array is None or array.shape != shape or array.dtype != np.uint8:
            found = "nothing" if array is None else f"{array.dtype} {array.shape}"
            raise DataError(
                f"{path} is not MNIST as Keras stores it: {name} should be uint8 {shape}, found {found}"
            )
    return arrays


def fetch() -> str:
    """Return the path of ``mnist.npz``, downloading it into the cache if it is nowhere."""
    found = _find()
    if found is None:
        try:
            found = download(URL, SHA256, cache_dir() / "data" / RELATIVE_PATH)
        except DataError as error:
            raise DataError(f"MNIST is not in {_places()}, and {error}. {_ADVICE}") from None
    return str(found)


def status() -> tuple[str, str]:
    """Return ("ready", path) or ("absent", how to get it)."""
    found = _find()
    return ("ready", str(found)) if found else ("absent", f"not in {_places()}. {_ADVICE}")


_ADVICE = "Run `cnninte data fetch mnist`, or put mnist/mnist.npz into the folder named by $CNNINTE_DATA."


def _find() -> Path | None:
    return next((p for p in (d / RELATIVE_PATH for d in data_dirs()) if p.is_file()), None)


def _places() -> str:
    return " or ".join(str(directory) for directory in data_dirs())
