"""MNIST: 70,000 handwritten digits (LeCun, Bottou, Bengio, Haffner 1998), split as in paper A."""

from pathlib import Path

import numpy as np

from ..artifacts import DataError, read_arrays
from .base import ImageDataset, from_bytes
from .source import Source

SOURCE = Source(
    "MNIST",
    ("mnist/mnist.npz",),
    "Run `cnninte data fetch mnist`, or put mnist/mnist.npz into the folder named by $CNNINTE_DATA.",
    url="https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
    sha256="731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
)
N_TRAIN = 55_000
_MAX_BYTES = 2**27  # more than twice as much as there is
_LAYOUT = {
    "x_train": (60_000, 28, 28),
    "y_train": (60_000,),
    "x_test": (10_000, 28, 28),
    "y_test": (10_000,),
}


def load() -> ImageDataset:
    """Return MNIST: the first 55,000 training images, the other 5,000 as validation, 10,000 test."""
    path = SOURCE.fetch()
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
        If the file is truncated or corrupted, or its arrays have other names, types, shapes or labels.
    """
    try:
        arrays = read_arrays(path, _MAX_BYTES)
    except DataError as error:
        raise DataError(f"{error}: remove it and run `cnninte data fetch mnist`") from None
    for name, shape in _LAYOUT.items():
        array = arrays.get(name)
        if array is None or array.shape != shape or array.dtype != np.uint8:
            found = "nothing" if array is None else f"{array.dtype} {array.shape}"
            raise DataError(
                f"{path} is not MNIST as Keras stores it: {name} should be uint8 {shape}, found {found}"
            )
        if name.startswith("y") and (labels := np.unique(array).tolist()) != list(range(10)):
            raise DataError(f"{path} is not MNIST: {name} should have the labels 0 to 9, found {labels}")
    return arrays
