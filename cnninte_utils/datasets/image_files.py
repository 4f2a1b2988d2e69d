"""Images that stay in their files until they are wanted: for data sets too large for memory."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from ..artifacts import DataError

__all__ = ["ImageFiles"]


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """JPEG files in the place of an array of images; they are decoded when they are read.

    It has the shape and type of the array, takes the same indices, and becomes the array by
    ``numpy.asarray``. A single number gives that image as an array, anything else the files chosen.

    Parameters
    ----------
    folder : Path
    names : ndarray of shape (n,), str
        Paths below `folder`.
    size : int
        Height and width that every image must have.
    """

    folder: Path
    names: np.ndarray = field(repr=False)
    size: int

    dtype: ClassVar[np.dtype] = np.dtype(np.uint8)
    ndim: ClassVar[int] = 4

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """That of the array: (n, size, size, 3)."""
        return len(self), self.size, self.size, 3

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, rows):
        if isinstance(rows, int | np.integer):
            return self._decode(self.names[rows], None)
        return replace(self, names=self.names[rows])

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self.read().astype(dtype or np.uint8, copy=False)

    def read(self, size: int | None = None) -> np.ndarray:
        """Decode the images, resized to (size, size) by averaging if asked for.

        Returns
        -------
        ndarray of shape (n, size, size, 3), uint8

        Raises
        ------
        DataError
            If a file is gone or damaged, or its image is not of the size that it should have.
        """
        images = np.empty((len(self), *[size or self.size] * 2, 3), np.uint8)
        with ThreadPoolExecutor() as pool:
            for i, image in enumerate(pool.map(lambda name: self._decode(name, size), self.names)):
                images[i] = image
        return images

    def identity(self) -> tuple[np.ndarray, np.ndarray]:
        """Return what tells these files from others without reading them: names and numbers of bytes.

        Returns
        -------
        tuple of ndarrays, uint8 and int64
        """
        names = "\n".join(self.names).encode()
        sizes = [(self.folder / name).stat().st_size for name in self.names]
        return np.frombuffer(names, np.uint8), np.array(sizes, np.int64)

    def _decode(self, name: str, size: int | None) -> np.ndarray:
        try:
            with Image.open(self.folder / name, formats=["JPEG"]) as image:
                found = image.size
                if size is not None:
                    image.draft("RGB", (size, size))
                pixels = image.convert("RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"{self.folder / name} is damaged ({error}): unpack it again") from None
        if found != (self.size, self.size):
            width, height = found
            raise DataError(
                f"{self.folder / name} should be {self.size}×{self.size}, found {height}×{width}: unpack the "
                "small version again"
            )
        if size is not None:
            pixels = pixels.resize((size, size), Image.Resampling.BILINEAR)
        return np.asarray(pixels)
