"""Open a folder in Broden's layout, sure that its tables, labels and files agree."""

import csv
import os
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from ...artifacts import DataError, repair_advice
from .reader import MAX_LABEL, Broden, field_items, file_names, place

__all__ = ["open_folder"]

_INDEX_COLUMNS = ("image", "split", "ih", "iw", "sh", "sw")


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
        where = place(root, row, column, name)
        raise DataError(f"{where}: expected {kind}, found {table[column].iloc[row]!r}")
    return numbers.astype(np.int64) if np.isfinite(limit) else numbers


def _concepts(root: Path, categories: tuple[str, ...]) -> pd.DataFrame:
    table = _table(root, "label.csv", ("number", "name", "frequency", "coverage"))
    numbers = _numbers(root, "label.csv", table, "number", MAX_LABEL)
    concepts = pd.DataFrame(
        {
            "name": table["name"].to_numpy(),
            "frequency": _numbers(root, "label.csv", table, "frequency", 2**53),
            "coverage": _numbers(root, "label.csv", table, "coverage"),
        },
        index=pd.Index(numbers, name="number"),
    ).drop(0, errors="ignore")
    unnamed = concepts.index[concepts["name"] == ""]
    if len(unnamed):
        raise DataError(f"{root / 'label.csv'}: the label {unnamed[0]} has no name")
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
        numbers = _numbers(root, name, table, "number", MAX_LABEL).tolist()
        for row, coverage in enumerate(_numbers(root, name, table, "coverage")):
            number = numbers[row]
            if number not in known | {0}:
                where = place(root, row, "number", name)
                raise DataError(f"{where}: the label {number} is not in label.csv")
            if number and coverage >= best.get(number, (0.0,))[0]:
                best[number] = (coverage, category)
    return {number: category for number, (_, category) in best.items()}


def _index(root: Path, categories: tuple[str, ...]) -> pd.DataFrame:
    table = _table(root, "index.csv", (*_INDEX_COLUMNS, *categories))
    for column in table.columns.drop([*_INDEX_COLUMNS, *categories]):
        filled = np.flatnonzero(table[column] != "")
        if len(filled):
            where = place(root, filled[0], column)
            found = table[column].iloc[filled[0]]
            raise DataError(f"{where}: found {found!r}, but {column} is not in category.csv")
    sizes = {column: _numbers(root, "index.csv", table, column, 2**15) for column in _INDEX_COLUMNS[2:]}
    if not len(table):
        raise DataError(f"{root / 'index.csv'} names no image: {repair_advice(root)}")
    return table[[*_INDEX_COLUMNS, *categories]].assign(**sizes)


def _check_items(root: Path, index: pd.DataFrame, categories: tuple[str, ...], known: set[int]) -> None:
    """Refuse labels that are not in label.csv and files that are not below images/."""
    for category in categories:
        for row, field in index[category].items():
            for item in field_items(field):
                if item.isdecimal() and int(item) not in known:
                    where = place(root, row, category)
                    raise DataError(f"{where}: the label {item} is not in label.csv")
    present = _present(root / "images")
    for row, column, name in file_names(index, categories):
        if name in present:
            continue
        where, path = place(root, row, column), PurePosixPath(name)
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
