"""Toyworld scenes in Broden's layout: the embedded stand-in for Broden, with all six of its categories."""

import csv
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from ...artifacts import array_digest, atomic_folder, cached_folder, key
from . import drawing

__all__ = ["folder", "write"]

_FIELDS = {
    "color": ("colors", tuple(f"{name}-c" for name in drawing.COLORS)),
    "object": ("objects", drawing.OBJECTS),
    "part": ("parts", drawing.PARTS),
    "material": ("materials", drawing.MATERIALS),
    "scene": ("scene", tuple(f"{name}-s" for name in drawing.SCENES)),
    "texture": ("textures", drawing.TEXTURES),
}
_UNLABELLED = ("plain",)
_WHOLE_IMAGE = ("scene",)
_JPEG_QUALITY = 90
_TRAIN_SHARE = 0.7
_WRITER = 1
_DEFAULTS = {"n": 300, "size": 112, "map_size": 56, "seed": 4, "n_objects": 2}


def folder() -> Path:
    """Return the folder that :func:`write` writes by default, in the cache; it is written once."""
    drawn = {name: value for name, value in _DEFAULTS.items() if name not in ("n", "map_size")}
    sample = drawing.render(4, **drawn)
    determinants = {**_DEFAULTS, "writer": _WRITER, "sample": array_digest(*vars(sample).values())}
    return cached_folder(f"toyworld-{key(determinants)}", _fill) / "toyworld_broden"


def _fill(parent: Path) -> None:
    write(parent / "toyworld_broden", **_DEFAULTS)


def write(
    folder: Path,
    *,
    n: int = _DEFAULTS["n"],
    size: int = _DEFAULTS["size"],
    map_size: int = _DEFAULTS["map_size"],
    seed: int = _DEFAULTS["seed"],
    n_objects: int = _DEFAULTS["n_objects"],
    min_images: int = 10,
    min_coverage: float = 0.5,
) -> Path:
    """Draw scenes and write them, with what is where in them, as a folder in Broden's layout.

    As in Broden (Bau, Zhou, Khosla, Oliva, Torralba 2017, "Network Dissection", CVPR): one number for each
    name, whatever its categories, by falling frequency, then coverage; rare labels are dropped; images are
    ordered and split by a hash of their names, a share of 0.7 for train. Unlike in Broden, textures are
    marked by pixel (plain surfaces have none), and frequencies and coverages are counted on the stored maps.

    Parameters
    ----------
    folder : Path
        Must not exist yet.
    n : int
        Images.
    size, map_size : int
        Height and width of the images, and of the label maps (nearest neighbour; ``map_size <= size``).
    seed, n_objects : int
        As in :func:`toyworld.render`.
    min_images, min_coverage : int, float
        What a label needs: images in which it occurs, and the sum of the shares that it covers of them.

    Returns
    -------
    Path
        `folder`. The same arguments give the same tables and label maps.

    Raises
    ------
    ValueError
        If an argument is out of range, or no label occurs often enough.
    FileExistsError
        If `folder` is there already.
    """
    folder = Path(folder)
    if not 1 <= map_size <= size:
        raise ValueError(f"1 <= map_size <= size needed: {map_size}, {size}")
    if folder.exists():
        raise FileExistsError(f"{folder} is there already: remove it or choose another name")
    scenes = drawing.render(n, size=size, seed=seed, n_objects=n_objects)
    marks = {category: _mark(scenes, category, map_size) for category in _FIELDS}
    counts = pd.concat([_count(category, marks[category]) for category in _FIELDS])
    labels = _number(counts, min_images, min_coverage)
    numbered = {category: _renumber(marks[category], category, labels) for category in _FIELDS}
    with atomic_folder(folder) as temporary:
        categories = _write_labels(temporary, labels)
        _write_index(temporary, scenes.images, {name: numbered[name] for name in categories}, map_size)
    return folder


def _mark(scenes: drawing.Scenes, category: str, map_size: int) -> np.ndarray:
    """Return Toyworld's own label, 0 for none, of every pixel (n, map_size, map_size) or image (n, 1, 1)."""
    field, names = _FIELDS[category]
    marks = getattr(scenes, field)
    if category in _WHOLE_IMAGE:
        return marks[:, None, None] + 1
    middles = ((np.arange(map_size) + 0.5) * marks.shape[1] / map_size).astype(np.intp)
    marks = marks[:, middles[:, None], middles]
    unlabelled = [names.index(name) + 1 for name in _UNLABELLED if name in names]
    return np.where(np.isin(marks, unlabelled), 0, marks)


def _count(category: str, marks: np.ndarray) -> pd.DataFrame:
    """Count the images in which each label of a category occurs, and what it covers of them."""
    names = _FIELDS[category][1]
    n, n_pixels, n_codes = len(marks), marks[0].size, len(names) + 1
    codes = marks.reshape(n, -1) + n_codes * np.arange(n)[:, None]
    pixels = np.bincount(codes.ravel(), minlength=n * n_codes).reshape(n, n_codes)[:, 1:]
    frequency, coverage = (pixels > 0).sum(axis=0), pixels.sum(axis=0) / n_pixels
    return pd.DataFrame({"name": names, "category": category, "frequency": frequency, "coverage": coverage})


def _number(counts: pd.DataFrame, min_images: int, min_coverage: float) -> pd.DataFrame:
    """Number the names that occur often enough in all categories together; leave out the other rows."""
    totals = counts.groupby("name")[["frequency", "coverage"]].sum()
    totals = totals[(totals["frequency"] >= max(1, min_images)) & (totals["coverage"] >= min_coverage)]
    if totals.empty:
        raise ValueError(
            f"no label is in {min_images} images with a coverage of {min_coverage}: draw more images"
        )
    totals = totals.sort_values(["frequency", "coverage", "name"], ascending=[False, False, True])
    numbers = pd.Series(range(1, len(totals) + 1), totals.index, name="number")
    occurring = counts[counts["name"].isin(totals.index) & (counts["frequency"] > 0)]
    return occurring.assign(number=occurring["name"].map(numbers)).sort_values("number", kind="stable")


def _renumber(marks: np.ndarray, category: str, labels: pd.DataFrame) -> np.ndarray:
    of_category = labels[labels["category"] == category].set_index("name")["number"]
    return np.array([0, *(of_category.get(name, 0) for name in _FIELDS[category][1])])[marks]


def _write_labels(folder: Path, labels: pd.DataFrame) -> list[str]:
    """Write all tables but the index; return the categories, by their first label."""
    categories = list(labels["category"].unique())
    rows = []
    for (number, name), group in labels.groupby(["number", "name"]):
        group = group.sort_values("frequency", ascending=False, kind="stable")
        counts = ";".join(f"{c}({f})" for c, f in zip(group["category"], group["frequency"], strict=True))
        rows.append((number, name, counts, group["frequency"].sum(), f"{group['coverage'].sum():.6f}", ""))
    _write_table(folder / "label.csv", "number,name,category,frequency,coverage,syns", rows)
    summary = []
    for category in categories:
        own = labels[labels["category"] == category]
        order = own.sort_values(["frequency", "coverage"], ascending=False, kind="stable")
        coding = zip(
            order["number"], order["name"], order["frequency"], order["coverage"].round(9), strict=True
        )
        rows = [(code, *row) for code, row in enumerate(coding, start=1)]
        _write_table(folder / f"c_{category}.csv", "code,number,name,frequency,coverage", rows)
        numbers = own["number"]
        summary.append((category, numbers.min(), numbers.max(), len(own), own["frequency"].sum()))
    _write_table(folder / "category.csv", "name,first,last,count,frequency", summary)
    return categories


def _write_index(folder: Path, images: np.ndarray, labels: dict[str, np.ndarray], map_size: int) -> None:
    """Write the images, the label maps and the index, which is ordered by the hash of the images' names."""
    (folder / "images" / "toyworld").mkdir(parents=True)
    names = [f"toyworld/{i:05d}.jpg" for i in range(len(images))]
    rows = []
    for i in sorted(range(len(names)), key=lambda i: _hashed(names[i])):
        Image.fromarray(images[i]).save(folder / "images" / names[i], quality=_JPEG_QUALITY)
        split = "train" if _hashed(names[i]) <= _TRAIN_SHARE else "val"
        fields = [_write_field(folder, names[i], category, labels[category][i]) for category in labels]
        rows.append((names[i], split, *images.shape[1:3], map_size, map_size, *fields))
    _write_table(folder / "index.csv", ",".join(("image,split,ih,iw,sh,sw", *labels)), rows)


def _hashed(name: str) -> float:
    """Return a number from 0 to 1 that depends on a name only."""
    return int.from_bytes(hashlib.md5(name.encode(), usedforsecurity=False).digest()[:8]) / 2**64


def _write_field(folder: Path, image: str, category: str, labels: np.ndarray) -> str:
    """Return the field of the index: empty, a label number, or the name of the label map then written."""
    if not labels.any():
        return ""
    if category in _WHOLE_IMAGE:
        return str(labels.item())
    name = image.replace(".jpg", f"_{category}.png")
    channels = np.stack([labels % 256, labels // 256, np.zeros_like(labels)], axis=-1).astype(np.uint8)
    Image.fromarray(channels).save(folder / "images" / name)
    return name


def _write_table(path: Path, header: str, rows: list[tuple]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header.split(","))
        writer.writerows(rows)
