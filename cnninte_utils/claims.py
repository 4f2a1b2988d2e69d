"""The papers' numbers beside ours: what each claims, what a run measured, and the verdict."""

import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from . import checks
from .artifacts import lock, read_json, write_json
from .measures import mean_sd
from .runs import Run

__all__ = [
    "COLORS",
    "VERDICTS",
    "Claim",
    "ClaimsTable",
    "Finding",
    "Paper",
    "catalogue",
    "judge",
    "load",
    "papers",
    "read_rows",
    "report",
    "scoreboard",
]

REPRODUCED, FAILED = "reproduced", "not reproduced"
SAME, OTHER = "same direction", "other direction"
INCOMPARABLE = "not comparable"
VERDICTS = (REPRODUCED, FAILED, SAME, OTHER, INCOMPARABLE)
"""The third and fourth are for orderings and signs at a smaller scale than the paper's, the last for bare
numbers there, and for all that was measured on other data."""
_CUT_FROM = {"miniplaces": "places365", "miniplaces50_1": "places50_1", "miniplaces50_2": "places50_2"}
"""Smaller data → the paper's, when both are cut from the same collection (here Places2): a reduced scale, no
other data."""
COLORS = dict(zip(VERDICTS, ("#00734f", "#b2182b", "#3a6ea5", "#b86200", "#666e76"), strict=True))


@dataclass(frozen=True)
class Paper:
    """A work that the series reproduces, as ``papers/papers.yaml`` has it.

    Parameters
    ----------
    letter, key : str
        What it is called in the text, and what the ids of its claims begin with.
    title, authors, year, venue, link : str
    subject : str
        In a few words.
    """

    letter: str
    key: str
    subject: str
    title: str
    authors: str
    year: int
    venue: str
    link: str = ""


@dataclass(frozen=True)
class Claim:
    """One statement of a paper, a row of ``papers/claims/*.yaml``.

    ``kind`` is ``"value"`` (a number, compared within `tolerance`), ``"ordering"`` (true or false) or
    ``"exact"`` (a list that must be equal). `dataset` is the data the paper measured on, if any.
    """

    id: str
    paper: str
    place: str
    says: str
    kind: str
    value: Any
    tolerance: float | None = None
    dataset: str | None = None


@dataclass(frozen=True)
class Finding:
    """What one notebook of one run found about one claim; a row of ``claims.json``."""

    id: str
    paper: Any
    here: Any
    verdict: str
    reason: str
    notebook: str
    dataset: str
    preset: str
    seed: int


@cache
def papers() -> dict[str, Paper]:
    """Return the papers by letter."""
    return {row["letter"]: Paper(**row) for row in _read("papers.yaml")}


def _read(name: str) -> list[dict[str, Any]]:
    path = resources.files(__package__) / "papers" / name
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else []


@cache
def catalogue() -> dict[str, Claim]:
    """Return every claim of every paper by id, in the papers' order."""
    return {
        row["id"]: Claim(paper=paper.letter, **row)
        for paper in papers().values()
        for row in _read(f"claims/{paper.key}.yaml")
    }


def judge(claim: Claim, here: Any, *, dataset: str, reduced: str = "") -> tuple[str, str]:
    """Compare one measurement with the paper.

    Parameters
    ----------
    claim : Claim
    here : number, bool, list, ``{"mean", "sd", "n"}`` or None
        None means that this run could not measure it.
    dataset, reduced
        As in :class:`Run`.

    Returns
    -------
    verdict, reason : str
        One of :data:`VERDICTS`, and the reason in a few words.
    """
    if here is None:
        return INCOMPARABLE, "not measured in this run"
    if claim.dataset and dataset != claim.dataset:
        if _CUT_FROM.get(dataset) != claim.dataset:
            return INCOMPARABLE, f"other data: {dataset}, the paper's is {claim.dataset}"
        reduced = ", ".join(filter(None, [f"{dataset}, of the same collection as {claim.dataset}", reduced]))
    if claim.dataset and reduced:
        verdict = _direction(claim, here) if claim.kind == "ordering" else INCOMPARABLE
        return verdict, f"reduced scale: {reduced}"
    if claim.kind == "value":
        distance = _mean(here) - claim.value
        holds = abs(distance) <= claim.tolerance + 1e-12
        return (REPRODUCED if holds else FAILED), f"{distance:+.3g} (tolerance ±{claim.tolerance:g})"
    holds = here == claim.value
    return (REPRODUCED if holds else FAILED), "holds" if holds else "does not hold"


def _direction(claim: Claim, here: Any) -> str:
    return SAME if here == claim.value else OTHER


@dataclass(frozen=True)
class ClaimsTable:
    """Claims with verdicts, to look at; `frame` has the values."""

    frame: pd.DataFrame

    def __str__(self) -> str:
        columns = [c for c in ("paper", "here", "verdict", "reason") if c in self.frame]
        return self.frame[columns].to_string()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return (
            self.frame.style.set_properties(**{"text-align": "left", "vertical-align": "top"})
            .map(
                lambda verdict: f"font-weight: bold; color: {COLORS.get(verdict, 'inherit')}",
                subset="verdict",
            )
            .set_table_attributes('style="font-size: 90%"')
            .to_html(uuid="claims")
        )


def report(measured: Mapping[str, Any], run: Run, reasons: Mapping[str, str] | None = None) -> ClaimsTable:
    """Judge `measured` (claim id → value), add it to the run's ``claims.json`` and return the table.

    `reasons` adds a sentence to the verdict of an id.

    Raises
    ------
    KeyError
        If an id is not in the catalogue; nothing is written then.
    ValueError
        If a value is not of its claim's kind, a finite number or a truth value; nothing is written then.
    """
    unknown = set(measured) - set(catalogue())
    if unknown:
        raise KeyError(f"no claim {sorted(unknown)}; known: {sorted(catalogue())}")
    records = []
    for name, value in measured.items():
        claim, here = catalogue()[name], _plain(value)
        if not _fits(claim, here):
            raise ValueError(f"{name} is a claim of the kind {claim.kind}, which {here!r} is not")
        verdict, reason = judge(claim, here, dataset=run.dataset, reduced=run.reduced)
        reason = "; ".join(filter(None, [reason, (reasons or {}).get(name)]))
        records.append(
            Finding(name, claim.value, here, verdict, reason, run.notebook, run.dataset, run.preset, run.seed)
        )
    _merge(run.folder / "claims.json", records)
    return ClaimsTable(_table(records))


def load(folder: Path) -> list[Finding]:
    """Return the records of a run's ``claims.json``, in the papers' order; none if there is no file."""
    order = list(catalogue())
    records = [Finding(**row) for row in read_rows(folder / "claims.json")]
    return sorted(records, key=lambda r: (order.index(r.id), r.notebook, r.seed))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a ``claims.json`` that are records of claims in the catalogue.

    What else a damaged file, or one of another version, holds is left out with a warning; the runner executes
    notebooks again whose claims are missing.
    """
    found = read_json(path, default=[])
    rows = [row for row in found if _is_finding(row)] if isinstance(found, list) else []
    n_other = len(found) - len(rows) if isinstance(found, list) else 1
    if n_other:
        warnings.warn(
            f"{path}: {n_other} of its entries are no claims of this version and are left out", stacklevel=2
        )
    return rows


def _is_finding(row: Any) -> bool:
    words = ("id", "verdict", "reason", "notebook", "dataset", "preset")
    if not checks.has_form(row, dict.fromkeys(words, str) | {"seed": int}):
        return False
    is_record = row.keys() == {field.name for field in fields(Finding)} and row["verdict"] in VERDICTS
    return is_record and row["id"] in catalogue() and _fits(catalogue()[row["id"]], row["here"])


def _fits(claim: Claim, here: Any) -> bool:
    """Tell whether a measurement is of the claim's kind; None is one that could not be made."""
    if here is None:
        return True
    if claim.kind != "value":
        return isinstance(here, bool if claim.kind == "ordering" else type(claim.value))
    number = here if isinstance(here, dict) else {"mean": here, "sd": 0.0, "n": 1}
    forms = {"mean": (int, float), "sd": (int, float), "n": int}
    return checks.has_form(number, forms) and all(math.isfinite(number[name]) for name in forms)


def scoreboard(records: list[Finding]) -> pd.DataFrame:
    """Return one row for each claim of the catalogue; seeds are averaged, claims without a run say so.

    Where several notebooks measured a claim, the first that can be compared with the paper counts, otherwise
    the first.
    """
    rows = [_summarise(claim, _deciding(claim, records)) for claim in catalogue().values()]
    return pd.DataFrame(rows).set_index("claim")


def _deciding(claim: Claim, records: list[Finding]) -> list[Finding]:
    of_claim = [r for r in records if r.id == claim.id]
    first = min(of_claim, key=lambda r: r.verdict == INCOMPARABLE, default=None)
    return [r for r in of_claim if r.notebook == first.notebook]


def _summarise(claim: Claim, records: list[Finding]) -> dict[str, Any]:
    row = {
        "claim": claim.id,
        "source": f"{claim.paper}, {claim.place}",
        "says": claim.says,
        "paper": _show(claim.value),
        "here": "—",
        "verdict": "not run",
        "reason": "",
        "data": "",
    }
    if records:
        here, verdict, reason = records[0].here, records[0].verdict, records[0].reason
        if len(records) > 1:
            here = _pool(claim, [r.here for r in records])
        if len(records) > 1 and verdict in (REPRODUCED, FAILED):
            verdict, reason = judge(claim, here, dataset=records[0].dataset)
            if claim.kind == "ordering":
                reason = f"holds with {sum(r.here == claim.value for r in records)} of {len(records)} seeds"
            detail = records[0].reason.partition("; ")[2]
            reason += f"; seed {records[0].seed}: {detail}" if detail else ""
        elif verdict in (SAME, OTHER):
            verdict = _direction(claim, here)
        data = f"{records[0].dataset}, {records[0].preset}"
        row |= {"here": _show(here), "verdict": verdict, "reason": reason, "data": data}
    return row


def _pool(claim: Claim, values: list[Any]) -> Any:
    if claim.kind != "value":
        return all(value == claim.value for value in values) if claim.kind == "ordering" else values[0]
    return mean_sd([_mean(value) for value in values if value is not None])


def _merge(path: Path, records: list[Finding]) -> None:
    def identity(row: Mapping[str, Any]) -> tuple:
        return row["id"], row["notebook"], row["dataset"], row["preset"], row["seed"]

    with lock(path):
        rows = {identity(row): row for row in read_rows(path)}
        rows |= {identity(row): row for row in map(asdict, records)}
        write_json(path, list(rows.values()))


def _table(records: list[Finding]) -> pd.DataFrame:
    rows = [
        {
            "claim": r.id,
            "says": catalogue()[r.id].says,
            "paper": _show(r.paper),
            "here": _show(r.here),
            "verdict": r.verdict,
            "reason": r.reason,
        }
        for r in records
    ]
    return pd.DataFrame(rows).set_index("claim")


def _mean(value: Any) -> float:
    return value["mean"] if isinstance(value, Mapping) else value


def _plain(value: Any) -> Any:
    """Turn NumPy values and tuples into JSON's, and NaN into null."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    value = value.tolist() if hasattr(value, "tolist") else value
    return None if isinstance(value, float) and math.isnan(value) else value


def _show(value: Any) -> str:
    if isinstance(value, Mapping):
        spread = f" ± {value['sd']:.3f} (n={value['n']})" if value["n"] > 1 else ""
        return f"{value['mean']:.3f}{spread}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "—"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
