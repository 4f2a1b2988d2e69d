"""Network dissection: which units of a network detect a concept that has a name (Bau et al. 2017)."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from ...artifacts import atomic_path, read_arrays, write_json

__all__ = [
    "UNIONS",
    "Concepts",
    "Dissection",
    "Probe",
    "counts_with_nulls",
    "detectors_by_threshold",
    "read_all",
    "unique_detectors",
    "write_all",
]

UNIONS = ("category", "dataset")
_ARRAYS = ("thresholds", "both", "area", "mask", "label")


@dataclass(frozen=True)
class Probe:
    """One way of looking at one layer.

    Parameters
    ----------
    layer : str
    quantile : float
        Share of all positions in all images above a unit's activation threshold.
    rotation : int, optional
        Seed of a random rotation of the layer's units, which keeps what the layer says and loses its axes.
    permutation : int, optional
        Seed of a random permutation of the labels over the images.
    """

    layer: str
    quantile: float = 0.005
    rotation: int | None = None
    permutation: int | None = None

    def __post_init__(self):
        if not 0 < self.quantile < 1:
            raise ValueError(f"quantile must be between 0 and 1, got {self.quantile}")

    @property
    def view(self) -> tuple[str, int | None]:
        """What is looked at, whatever is made of it: layer and rotation."""
        return self.layer, self.rotation


@dataclass(frozen=True)
class Concepts:
    """Names of labels by number (0 for none), of categories, and each label's primary category."""

    names: tuple[str, ...]
    categories: tuple[str, ...]
    primary: tuple[int, ...] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Dissection:
    r"""What one layer's units have in common with concepts, counted over a data set.

    .. math:: \mathrm{IoU}(u, l) = |M_u \cap L_l| \, / \, |M_u \cup L_l|

    summed over all images; :math:`M_u` are the pixels where the resized feature map exceeds the threshold
    that the unit's top share of positions exceeds.

    Parameters
    ----------
    probe : Probe
    concepts : Concepts
    n_images : int
    thresholds : float32 array of shape (units,)
    both : int64 array of shape (units, labels)
        Pixels of a label under a unit's mask.
    area : int64 array of shape (units, categories)
        Pixels of the mask in images where a label with that primary category lies under the mask.
    mask : int64 array of shape (units,)
        Pixels of the mask in all images.
    label : int64 array of shape (labels,)
        Pixels of a label in all images.

    References
    ----------
    Bau, Zhou, Khosla, Oliva, Torralba 2017, "Network Dissection: Quantifying Interpretability of Deep Visual
    Representations", Section 2; paper C, eq. 3; counted as NetDissect-Lite does.
    """

    probe: Probe
    concepts: Concepts
    n_images: int
    thresholds: np.ndarray = field(repr=False)
    both: np.ndarray = field(repr=False)
    area: np.ndarray = field(repr=False)
    mask: np.ndarray = field(repr=False)
    label: np.ndarray = field(repr=False)

    def iou(self, union: str = "category") -> np.ndarray:
        """Return the IoU (units, labels), 0 to 1, of every unit with every label.

        Parameters
        ----------
        union : {"category", "dataset"}
            The mask's part of the union: over images in which something of the label's category lies under
            the mask (NetDissect-Lite), or over all images (paper C, eq. 3); the second IoU is never larger.
        """
        if union not in UNIONS:
            raise ValueError(f"unknown union {union!r}: choose one of {', '.join(UNIONS)}")
        primary = np.maximum(self.concepts.primary, 0)
        mask = self.area[:, primary] if union == "category" else self.mask[:, None]
        return self.both / (mask + self.label - self.both + 1e-10)

    def under_mask(self, unit: int) -> pd.Series:
        """Return what lies under a unit's mask: concept → share of the mask's pixels, the largest first.

        Shares may add up to more than 1, for a pixel may have several labels; labels that never lie under
        the mask are left out.
        """
        shares = pd.Series(self.both[unit] / max(int(self.mask[unit]), 1), index=self.concepts.names)
        return shares[shares > 0].sort_values(ascending=False, kind="stable")

    def best(self, union: str = "category") -> pd.DataFrame:
        """Return each unit's best concept in every category.

        Returns
        -------
        DataFrame
            Columns unit, category, concept, iou; categories in order, those without labels left out; the
            first label on ties.
        """
        iou, primary = self.iou(union), np.array(self.concepts.primary)
        rows = []
        for number, category in enumerate(self.concepts.categories):
            labels = np.flatnonzero(primary == number)
            if not len(labels):
                continue
            winner = labels[iou[:, labels].argmax(axis=1)]
            names = np.array(self.concepts.names, dtype=object)[winner]
            units = np.arange(len(iou))
            columns = {"unit": units, "category": category, "concept": names, "iou": iou[units, winner]}
            rows.append(pd.DataFrame(columns))
        return pd.concat(rows).sort_values("unit", kind="stable", ignore_index=True)

    def units(self, iou_threshold: float = 0.04, union: str = "category") -> pd.DataFrame:
        """Return what each unit detects best.

        Returns
        -------
        DataFrame
            One row a unit: unit, category, concept, iou, is_detector (its IoU is at least `iou_threshold`).
        """
        best = self.best(union)
        winners = best.loc[best.groupby("unit")["iou"].idxmax()].reset_index(drop=True)
        return winners.assign(is_detector=winners["iou"] >= iou_threshold)

    def save(self, path: Path) -> None:
        """Write the arrays as `path` (.npz) and the rest beside it as JSON; nothing is pickled."""
        with atomic_path(path) as temporary:
            _write_arrays(temporary, self.arrays())
        write_json(path.with_suffix(".json"), self.description())

    @classmethod
    def load(cls, path: Path) -> "Dissection":
        """Read what :meth:`save` wrote.

        Raises
        ------
        cnninte_utils.artifacts.DataError
            If the arrays are absent or damaged.
        """
        description = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return cls.of(description, read_arrays(path))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by name."""
        return {name: getattr(self, name) for name in _ARRAYS}

    def description(self) -> dict:
        """Return the rest as JSON values."""
        return {"probe": asdict(self.probe), "concepts": asdict(self.concepts), "n_images": self.n_images}

    @classmethod
    def of(cls, description: dict, arrays: dict[str, np.ndarray]) -> "Dissection":
        """Put :meth:`description` and :meth:`arrays` together."""
        concepts = {name: tuple(values) for name, values in description["concepts"].items()}
        return cls(Probe(**description["probe"]), Concepts(**concepts), description["n_images"], **arrays)


def write_all(path: Path, dissections: Sequence[Dissection]) -> list[dict]:
    """Write the arrays of several dissections as one file; return what else there is to keep."""
    arrays = {f"{i}/{name}": array for i, d in enumerate(dissections) for name, array in d.arrays().items()}
    _write_arrays(path, arrays)
    return [dissection.description() for dissection in dissections]


def read_all(path: Path, descriptions: Sequence[dict]) -> list[Dissection]:
    """Read what :func:`write_all` wrote, with what it returned."""
    arrays = read_arrays(path)
    return [
        Dissection.of(description, {name: arrays[f"{i}/{name}"] for name in _ARRAYS})
        for i, description in enumerate(descriptions)
    ]


def _write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with path.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def unique_detectors(
    dissections: Sequence[Dissection], iou_threshold: float = 0.04, union: str = "category"
) -> pd.DataFrame:
    """Count the distinct concepts that the units of each layer detect (paper C, Table 1).

    Returns
    -------
    DataFrame
        One row a dissection: layer, quantile, rotation, permutation, a column for each category, and `sum`.
    """
    rows = []
    for dissection in dissections:
        units = dissection.units(iou_threshold, union)
        detectors = units[units["is_detector"]]
        counts = detectors.groupby("category")["concept"].nunique()
        counts = counts.reindex(dissection.concepts.categories, fill_value=0)
        rows.append(asdict(dissection.probe) | counts.to_dict() | {"sum": int(counts.sum())})
    return pd.DataFrame(rows)


def counts_with_nulls(
    dissections: Sequence[Dissection], iou_threshold: float = 0.04, union: str = "category"
) -> pd.DataFrame:
    """Count unique detectors, summed over layers, once for the units themselves and once for each null draw.

    Returns
    -------
    DataFrame
        ``kind`` ("detectors", "rotated" or "permuted"), ``draw`` (seed of the null; 0 for the units
        themselves) and ``detectors``; one row for each kind and draw, the units themselves first.

    Raises
    ------
    ValueError
        If there is more than one quantile: their detectors would be added up.
    """
    quantiles = {dissection.probe.quantile for dissection in dissections}
    if len(quantiles) > 1:
        raise ValueError(f"expected dissections of one quantile, got {sorted(quantiles)}")
    table = unique_detectors(dissections, iou_threshold, union)
    sums = {}
    for probe, detectors in zip((d.probe for d in dissections), table["sum"], strict=True):
        if probe.permutation is not None:
            key = "permuted", probe.permutation
        elif probe.rotation is not None:
            key = "rotated", probe.rotation
        else:
            key = "detectors", 0
        sums[key] = sums.get(key, 0) + detectors
    order = ("detectors", "rotated", "permuted")
    rows = sorted(sums.items(), key=lambda item: (order.index(item[0][0]), item[0][1]))
    return pd.DataFrame([{"kind": kind, "draw": draw, "detectors": n} for (kind, draw), n in rows])


def detectors_by_threshold(
    dissections: Sequence[Dissection], iou_thresholds: Sequence[float], union: str = "category"
) -> pd.DataFrame:
    """Count unique detectors, summed over layers, as a map: quantiles down, IoU thresholds across.

    Raises
    ------
    ValueError
        If there are nulls among the dissections: their detectors would be added to the others'.
    """
    nulls = [d.probe for d in dissections if (d.probe.rotation, d.probe.permutation) != (None, None)]
    if nulls:
        raise ValueError(f"expected dissections without rotation or permutation, got {nulls[0]}")
    columns = {
        threshold: unique_detectors(dissections, threshold, union).groupby("quantile")["sum"].sum()
        for threshold in iou_thresholds
    }
    return pd.DataFrame(columns).rename_axis(columns="iou_threshold")
