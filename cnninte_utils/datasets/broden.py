"""Broden: images with concepts of several categories marked in them, by pixel or for the whole image.

The layout on disk is that of Bau, Zhou, Khosla, Oliva, Torralba, "Network Dissection: Quantifying
Interpretability of Deep Visual Representations", CVPR 2017.
"""

import csv
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from PIL import Image

from ..artifacts import DataError, data_dirs, file_digest
from .base import resize
from .folders import repair_advice, unpacked

__all__ = ["NAMES", "Annotation", "Broden", "load", "open_folder", "status"]

NAMES = ("toyworld_broden", "broden_mini", "broden")
_MAX_LABEL = 2**16 - 1  # what the red and the green channel of a label map can hold

_INDEX_COLUMNS = ("image", "split", "ih", "iw", "sh", "sw")
_PLACES = {
    "broden_mini": ("broden_mini/broden_mini", "broden_mini", "broden_mini/broden_mini.tar.gz"),
    "broden": (
        "broden/broden1_227",
        "broden/broden1_224",
        "broden/broden1_227.zip",
        "broden/broden1_224.zip",
    ),
}
_ORIGINS = {
    "toyworld_broden": "synthetic scenes drawn by cnninte_utils.datasets.toyworld, in Broden's layout",
    "broden_mini": "a stand-in for Broden in its layout: street scenes of CamVid (Brostow, Fauqueur, Cipolla "
    "2009), textures of DTD (Cimpoi et al. 2014)",
    "broden": "Broden (Bau, Zhou, Khosla, Oliva, Torralba 2017)",
}
_ADVICE = {
    "broden_mini": "Put broden_mini.tar.gz into the folder named by $CNNINTE_DATA as "
    "broden_mini/broden_mini.tar.gz.",
    "broden": "Download http://netdissect.csail.mit.edu/data/broden1_227.zip (975 MB; reported offline in "
    "2026, then the copy at https://web.archive.org/web/20240418040425id_/"
    "http://netdissect.csail.mit.edu/data/broden1_227.zip; not fetched for you, because no hash of it was "
    "published) and put it, as it is, into the folder named by $CNNINTE_DATA as broden/broden1_227.zip.",
}


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
        fields = [(category, item) for category in self.categories for item in _items(record[category])]
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
            own = [next(maps) for item in _items(record[category]) if not item.isdecimal()]
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
        for _, _, name in _files(self.index, self.categories):
            found = self._path(name).stat()
            state.update(f"{name} {found.st_size} {found.st_mtime_ns}\n".encode())
        return state.hexdigest()

    @cached_property
    def _is_known(self) -> np.ndarray:
        known = np.zeros(_MAX_LABEL + 1, bool)
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
            where = _where(self.root, row, category)
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


def load(name: str) -> Broden:
    """Load a data set by name.

    Parameters
    ----------
    name : str
        ``"toyworld_broden"`` is drawn once and kept in the cache. ``"broden_mini"`` and ``"broden"`` are
        looked for in ``$CNNINTE_DATA``, then in the cache; an archive is unpacked once, into the cache.

    Returns
    -------
    Broden

    Raises
    ------
    ValueError
        If the name is unknown.
    DataError
        If it is absent or damaged.
    """
    _check_name(name)
    if name == "toyworld_broden":
        from .toyworld import broden_folder  # which uses this module

        return open_folder(broden_folder.folder(), _ORIGINS[name])
    place = _find(name)
    if place is None:
        raise DataError(f"{name} is {status(name)[1]}")
    folder = place if place.is_dir() else unpacked(place)
    return open_folder(folder, f"{_ORIGINS[name]}, {place.name}")


def status(name: str) -> tuple[str, str]:
    """Return ("ready", where it is) or ("absent", where it was looked for and how to get it)."""
    _check_name(name)
    if name == "toyworld_broden":
        return "ready", "drawn by cnninte_utils.datasets.toyworld.broden_folder"
    place = _find(name)
    searched = " or ".join(str(directory) for directory in data_dirs())
    return ("ready", str(place)) if place else ("absent", f"not in {searched}. {_ADVICE[name]}")


def _check_name(name: str) -> None:
    if name not in NAMES:
        raise ValueError(f"unknown data set {name!r}: choose one of {', '.join(NAMES)}")


def _find(name: str) -> Path | None:
    candidates = (directory / place for directory in data_dirs() for place in _PLACES[name])
    return next((path for path in candidates if path.is_file() or (path / "index.csv").is_file()), None)


def open_folder(folder: Path | str, origin: str = "annotated images in Broden's layout") -> Broden:
    """Open a folder in Broden's layout.

    Parameters
    ----------
    folder : path
        With index.csv, category.csv, label.csv, c_<category>.csv for each category, and images/.
    origin : str
        What it is and where it came from.

    Raises
    ------
    DataError
        If one of these or a file named in the index is absent, or the index names a label that is not in
        label.csv, a file outside images/, or something in a category that is not in category.csv.
    """
    root = Path(folder)
    categories = tuple(_table(root, "category.csv", ("name",))["name"])
    if len(set(categories)) < len(categories):
        raise DataError(f"{root / 'category.csv'} should have every category once: {', '.join(categories)}")
    concepts = _concepts(root, categories)
    index = _index(root, categories)
    used = concepts.index[concepts["category"] != ""]
    _check_items(root, index, categories, {0, *used})
    provenance = f"{origin}: {len(index):,} images, {len(used):,} labels of {', '.join(categories)}"
    return Broden(root, categories, concepts, index, provenance)


def _table(root: Path, name: str, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a table of strings that has at least these columns, and something in every column of a row."""
    path = root / name
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            header, *rows = [row for row in csv.reader(stream, strict=True) if row] or [[]]
    except FileNotFoundError:
        raise DataError(
            f"{root} has no {name}: it is not in Broden's layout, or not all of it ({repair_advice(root)})"
        ) from None
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} is damaged ({error}): {repair_advice(path)}") from None
    absent = [column for column in columns if column not in header]
    if absent or len(set(header)) < len(header):
        raise DataError(f"{path} should have the columns {', '.join(columns)}, found {', '.join(header)}")
    ragged = next((i for i, row in enumerate(rows) if len(row) != len(header)), None)
    if ragged is not None:
        raise DataError(
            f"{path}, line {ragged + 2}: expected {len(header)} fields, found {len(rows[ragged])}"
        )
    return pd.DataFrame(rows, columns=header, dtype=object)


def _numbers(root: Path, name: str, table: pd.DataFrame, column: str, limit: float = np.inf) -> np.ndarray:
    """Return a column as numbers from 0 to `limit`, whole ones if there is a limit."""
    numbers = pd.to_numeric(table[column], errors="coerce").to_numpy(np.float64)
    good = np.isfinite(numbers) & (numbers >= 0) & (numbers <= limit)
    if np.isfinite(limit):
        good &= numbers == np.floor(np.nan_to_num(numbers))
    if not good.all():
        row = np.flatnonzero(~good)[0]
        kind = f"a whole number from 0 to {limit:,}" if np.isfinite(limit) else "a number from 0"
        where = _where(root, row, column, name)
        raise DataError(f"{where}: expected {kind}, found {table[column].iloc[row]!r}")
    return numbers.astype(np.int64) if np.isfinite(limit) else numbers


def _concepts(root: Path, categories: tuple[str, ...]) -> pd.DataFrame:
    table = _table(root, "label.csv", ("number", "name", "frequency", "coverage"))
    numbers = _numbers(root, "label.csv", table, "number", _MAX_LABEL)
    concepts = pd.DataFrame(
        {
            "name": table["name"].to_numpy(),
            "frequency": _numbers(root, "label.csv", table, "frequency", 2**53),
            "coverage": _numbers(root, "label.csv", table, "coverage"),
        },
        index=pd.Index(numbers, name="number"),
    ).drop(0, errors="ignore")
    if not len(concepts) or concepts.index.has_duplicates:
        raise DataError(f"{root / 'label.csv'} should have every label once, and at least one label")
    best = _primary_categories(root, categories, set(concepts.index))
    homeless = [number for number in concepts.index if number not in best]
    if homeless:
        raise DataError(
            f"{root / 'label.csv'}: the label {homeless[0]} is in none of "
            f"{', '.join(f'c_{category}.csv' for category in categories)}"
        )
    concepts.insert(1, "category", pd.Series(best))
    filler = {"name": "-", "category": "", "frequency": 0, "coverage": 0.0}
    everything = pd.RangeIndex(concepts.index.max() + 1, name="number")
    return concepts.reindex(everything).fillna(filler).astype({"frequency": np.int64})


def _primary_categories(root: Path, categories: tuple[str, ...], known: set[int]) -> dict[int, str]:
    """Return label number → the category in which it covers most, the later one of equals."""
    best: dict[int, tuple[float, str]] = {}
    for category in categories:
        name = f"c_{category}.csv"
        table = _table(root, name, ("number", "coverage"))
        numbers = _numbers(root, name, table, "number", _MAX_LABEL).tolist()
        for row, coverage in enumerate(_numbers(root, name, table, "coverage")):
            number = numbers[row]
            if number not in known | {0}:
                where = _where(root, row, "number", name)
                raise DataError(f"{where}: the label {number} is not in label.csv")
            if number and coverage >= best.get(number, (0.0,))[0]:
                best[number] = (coverage, category)
    return {number: category for number, (_, category) in best.items()}


def _index(root: Path, categories: tuple[str, ...]) -> pd.DataFrame:
    table = _table(root, "index.csv", (*_INDEX_COLUMNS, *categories))
    for column in table.columns.drop([*_INDEX_COLUMNS, *categories]):
        filled = np.flatnonzero(table[column] != "")
        if len(filled):
            where = _where(root, filled[0], column)
            found = table[column].iloc[filled[0]]
            raise DataError(f"{where}: found {found!r}, but {column} is not in category.csv")
    sizes = {column: _numbers(root, "index.csv", table, column, 2**15) for column in _INDEX_COLUMNS[2:]}
    if not len(table):
        raise DataError(f"{root / 'index.csv'} names no image: {repair_advice(root)}")
    return table[[*_INDEX_COLUMNS, *categories]].assign(**sizes)


def _items(field: str) -> list[str]:
    """Return the label numbers and file names in a field of the index."""
    return [item for item in field.split(";") if item]


def _files(index: pd.DataFrame, categories: tuple[str, ...]) -> Iterator[tuple[int, str, str]]:
    """Yield (row, column, name) of every file that the index names."""
    for column in ("image", *categories):
        for row, field in index[column].items():
            for item in [field] if column == "image" else _items(field):
                if column == "image" or not item.isdecimal():
                    yield row, column, item


def _check_items(root: Path, index: pd.DataFrame, categories: tuple[str, ...], known: set[int]) -> None:
    """Refuse labels that are not in label.csv and files that are not below images/."""
    for category in categories:
        for row, field in index[category].items():
            for item in _items(field):
                if item.isdecimal() and int(item) not in known:
                    where = _where(root, row, category)
                    raise DataError(f"{where}: the label {item} is not in label.csv")
    present = _present(root / "images")
    for row, column, name in _files(index, categories):
        if name in present:
            continue
        where, path = _where(root, row, column), PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise DataError(f"{where}: {name} leads out of images/, where every file must be")
        raise DataError(f"{where}: expected a label number or a file, but images/{name} is not there")


def _present(folder: Path) -> set[str]:
    """Return the names, relative to a folder, of all files below it."""
    names = set()
    for parent, _, files in os.walk(folder):
        prefix = Path(parent).relative_to(folder).as_posix()
        names.update(files if prefix == "." else (f"{prefix}/{file}" for file in files))
    return names


def _where(root: Path, row: int, column: str, name: str = "index.csv") -> str:
    return f"{root / name}, line {row + 2}, column {column}"
