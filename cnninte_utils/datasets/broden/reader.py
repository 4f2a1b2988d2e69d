"""Read images with concepts of several categories marked in them, by pixel or for the whole image.

The layout on disk is that of Bau, Zhou, Khosla, Oliva, Torralba, "Network Dissection: Quantifying
Interpretability of Deep Visual Representations", CVPR 2017.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from ...artifacts import DataError, file_digest, repair_advice
from ..base import resize

__all__ = ["MAX_LABEL", "PEOPLE", "Annotation", "Broden", "field_items", "file_names", "place"]

PEOPLE = ("person", "face", "hair", "skin")
"""By what an image is known to show somebody from near, in the data sets of this layout."""
MAX_LABEL = 2**16 - 1  # what the red and the green channel of a label map can hold


@dataclass(frozen=True, eq=False)
class Annotation:
    """The labels of one image; a pixel may have several.

    Parameters
    ----------
    maps : ndarray of shape (n_maps, sh, sw), int32
        The label number of every pixel, 0 for none; none, one or several maps for each category.
    whole : ndarray of shape (k,), int64
        The labels of the whole image, as often as the index names them.
    """

    maps: np.ndarray
    whole: np.ndarray


@dataclass(frozen=True, eq=False)
class Broden:
    """Annotated images on disk, read when they are asked for.

    Parameters
    ----------
    root : Path
    categories : tuple of str
        In the order of category.csv.
    concepts : DataFrame of n_labels rows
        ``name``, ``category`` (the primary one: where the label covers most, the later in category.csv of
        equals), ``frequency`` (images) and ``coverage`` (sum of shares of images), as recorded in label.csv.
        Its index is the label number; 0, which is no label, and numbers not in use are named ``"-"``.
    index : DataFrame of one row for each image
        ``image``, ``split``, ``ih``, ``iw``, ``sh``, ``sw`` and one column of strings for each category.
        Its index is the row of index.csv, from 0.
    provenance : str
    """

    root: Path
    categories: tuple[str, ...]
    concepts: pd.DataFrame
    index: pd.DataFrame
    provenance: str

    def __len__(self) -> int:
        return len(self.index)

    def __str__(self) -> str:
        return (
            f"{self.root.name}: {len(self):,} images, {(self.primary >= 0).sum():,} labels in "
            f"{len(self.categories)} categories"
        )

    @property
    def n_labels(self) -> int:
        """The largest label number plus one."""
        return len(self.concepts)

    @property
    def names(self) -> list[str]:
        """The name of every label number, ``"-"`` for what is no label."""
        return self.concepts["name"].tolist()

    @cached_property
    def primary(self) -> np.ndarray:
        """The place of each label's primary category in `categories` (n_labels,); -1 for what is no label."""
        return pd.Index(self.categories).get_indexer(self.concepts["category"]).astype(np.int64)

    @property
    def map_size(self) -> tuple[int, int]:
        """Height and width of every label map.

        Raises
        ------
        DataError
            If they differ between the images.
        """
        return self._one_size(self.index, "sh", "sw")

    def take(self, rows) -> "Broden":
        """Return the data set of some images: a slice, an index array, or the name of a split.

        Raises
        ------
        ValueError
            If there is no such split.
        """
        if isinstance(rows, str):
            splits = self.index["split"].unique()
            if rows not in splits:
                raise ValueError(f"no image is of the split {rows!r}: choose one of {', '.join(splits)}")
            rows = np.flatnonzero(self.index["split"] == rows)
        return replace(self, index=self.index.iloc[rows])

    def without_people(self) -> "Broden":
        """Return the images in which nothing of :data:`PEOPLE` is labelled: those that a figure may show."""
        people = np.flatnonzero(np.isin(self.names, PEOPLE))
        if not people.size:
            return self
        annotations = (self.annotation(row) for row in range(len(self)))
        return self.take(
            [not (np.isin(a.maps, people).any() or np.isin(a.whole, people).any()) for a in annotations]
        )

    def images(self, rows, size: int | None = None) -> np.ndarray:
        """Decode images.

        Parameters
        ----------
        rows : slice or index array
        size : int, optional
            Height and width to resize them to, bilinearly; as stored by default.

        Returns
        -------
        ndarray of shape (n, size, size, 3), float32 in [0, 1]

        Raises
        ------
        DataError
            If an image is damaged or has another size than the index says, or the sizes differ.
        """
        chosen = self.index.iloc[rows]
        height, width = self._one_size(chosen, "ih", "iw")
        decoded = np.empty((len(chosen), height, width, 3), np.float32)
        for image, name in zip(decoded, chosen["image"], strict=True):
            image[:] = self._decode(name, (height, width), "RGB")
        decoded /= 255
        return decoded if size is None else resize(decoded, size)

    def annotation(self, row: int) -> Annotation:
        """Return the labels of an image.

        Raises
        ------
        DataError
            If a label map is damaged, has another size than the index says, or an unknown label.
        """
        record = self.index.iloc[row]
        size = (record["sh"], record["sw"])
        fields = [(category, item) for category in self.categories for item in field_items(record[category])]
        maps = [
            self._map(name, size, record.name, category) for category, name in fields if not name.isdecimal()
        ]
        whole = [int(item) for _, item in fields if item.isdecimal() and int(item)]
        return Annotation(np.array(maps, np.int32).reshape(-1, *size), np.array(whole, np.int64))

    def label_maps(self, row: int) -> dict[str, np.ndarray]:
        """Return an image's first label map (sh, sw) of each category that has one."""
        record, maps = self.index.iloc[row], iter(self.annotation(row).maps)
        first = {}
        for category in self.categories:
            own = [next(maps) for item in field_items(record[category]) if not item.isdecimal()]
            first |= {category: own[0]} if own else {}
        return first

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the index, the tables of labels, and what the folder says of the images and maps.

        Cheap on purpose: it takes their names, sizes and times of last change, and does not read them.
        """
        state = hashlib.sha256(self.index.to_csv(lineterminator="\n").encode())
        for name in ("label.csv", "category.csv", *(f"c_{category}.csv" for category in self.categories)):
            state.update(file_digest(self.root / name).encode())
        for _, _, name in file_names(self.index, self.categories):
            found = self._path(name).stat()
            state.update(f"{name} {found.st_size} {found.st_mtime_ns}\n".encode())
        return state.hexdigest()

    @cached_property
    def _is_known(self) -> np.ndarray:
        known = np.zeros(MAX_LABEL + 1, bool)
        known[: self.n_labels] = self.primary >= 0
        known[0] = True
        return known

    def _one_size(self, index: pd.DataFrame, *columns: str) -> tuple[int, int]:
        sizes = index[list(columns)].drop_duplicates()
        if len(sizes) != 1:
            found = ", ".join(f"{height}×{width}" for height, width in sizes.to_numpy()) or "no image"
            raise DataError(f"{self.root / 'index.csv'}: expected one {'×'.join(columns)}, found {found}")
        return tuple(sizes.iloc[0].tolist())

    def _map(self, name: str, size: tuple[int, int], row: int, category: str) -> np.ndarray:
        pixels = self._decode(name, size).astype(np.int32)
        if pixels.ndim != 3 or pixels.shape[2] < 3:
            raise DataError(
                f"{self._path(name)} should have the channels red, green and blue: {repair_advice(self.root)}"
            )
        labels = pixels[..., 0] + 256 * pixels[..., 1]
        known = self._is_known[labels]
        if not known.all():
            unknown = labels[~known][0]
            where = place(self.root, row, category)
            raise DataError(f"{where}: the label {unknown} in {name} is not in label.csv")
        return labels

    def _decode(self, name: str, size: tuple[int, int], mode: str | None = None) -> np.ndarray:
        path = self._path(name)
        try:
            with Image.open(path, formats=["JPEG", "PNG"]) as picture:
                is_deep = picture.mode[0] in "IF"
                found = (picture.height, picture.width)
                pixels = np.asarray(picture.convert(mode)) if found == tuple(size) else None
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"{path} is damaged ({error}): {repair_advice(path)}") from None
        if is_deep:
            raise DataError(f"{path} should have 8 bits a channel, its pixels are deeper")
        if pixels is None:
            wanted = "×".join(map(str, size))
            raise DataError(f"{path} should be {wanted}, as in index.csv, found {found[0]}×{found[1]}")
        return pixels

    def _path(self, name: str) -> Path:
        return self.root / "images" / name


def field_items(field: str) -> list[str]:
    """Return the label numbers and file names in a field of the index."""
    return [item for item in field.split(";") if item]


def file_names(index: pd.DataFrame, categories: tuple[str, ...]) -> Iterator[tuple[int, str, str]]:
    """Yield (row, column, name) of every file that the index names."""
    for column in ("image", *categories):
        for row, field in index[column].items():
            for item in [field] if column == "image" else field_items(field):
                if column == "image" or not item.isdecimal():
                    yield row, column, item


def place(root: Path, row: int, column: str, name: str = "index.csv") -> str:
    """Say where something is in a table, for a message."""
    return f"{root / name}, line {row + 2}, column {column}"
