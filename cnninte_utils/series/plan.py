"""The notebook series: what there is, and what a run of it would do."""

import ast
import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from .. import checks, runs
from ..artifacts import DataError, atomic_path, read_json

__all__ = [
    "NOTEBOOK",
    "PRESETS",
    "Notebook",
    "Parameter",
    "SeriesError",
    "Task",
    "declared_parameters",
    "figures_of",
    "injected_parameters",
    "learner_copy",
    "load_series",
    "plan",
    "project_dir",
    "select",
]

PRESETS = ("quick", "standard", "paper")
NOTEBOOK = {"cells": [{"cell_type": str, "source": (str, list), "metadata": dict}]}
"""The form of every notebook that is read."""
_KINDS = {"int": int, "float": (int, float), "bool": bool, "str": str, "None": type(None)}
_ENTRY = {
    "file": str,
    "title": str,
    "paper": str,
    "needs": [str],
    "minutes": dict.fromkeys(PRESETS, (int, float)),
}


class SeriesError(DataError):
    """A request that cannot be met; the message says what is allowed."""


@dataclass(frozen=True)
class Notebook:
    """An entry of ``series.yaml``."""

    file: str
    title: str
    paper: str
    needs: tuple[str, ...]
    minutes: dict[str, float]
    path: Path
    last: bool = False
    cover: str = ""
    """The figure that stands for it, by its slug."""


@dataclass(frozen=True)
class Task:
    """A notebook with its parameters, to be executed into the folder `out`; its seed if there are several."""

    notebook: Notebook
    preset: str
    parameters: dict[str, Any]
    out: Path
    seed: int | None = None

    @property
    def name(self) -> str:
        """What its files are called."""
        return self.notebook.file if self.seed is None else f"{self.notebook.file}.seed{self.seed}"

    @property
    def output(self) -> Path:
        """The executed notebook."""
        return self.out / f"{self.name}.ipynb"

    @property
    def record(self) -> Path:
        """What is known about the execution, written after everything else."""
        return self.out / "records" / f"{self.name}.json"


def project_dir() -> Path:
    """Return the project that the working folder belongs to, otherwise the one that this package lies in.

    Raises
    ------
    SeriesError
        If there is neither.
    """
    found = runs.project_dir()
    package = Path(__file__).resolve().parents[2]
    if found is None and not (package / "notebooks" / "series.yaml").is_file():
        raise SeriesError(f"no notebooks/series.yaml in {Path.cwd()} or above: run this inside the project")
    return found or package


def load_series(project: Path) -> list[Notebook]:
    """Read ``notebooks/series.yaml``."""
    folder = project / "notebooks"
    rows = _yaml(folder / "series.yaml", [_ENTRY])
    known = {field.name for field in fields(Notebook)}
    for row in rows:
        if row.keys() - known:
            raise SeriesError(
                f"{folder / 'series.yaml'}: {row['file']} has the unknown {min(row.keys() - known)!r}"
            )
    return [
        Notebook(**row | {"needs": tuple(row["needs"]), "path": folder / f"{row['file']}.ipynb"})
        for row in rows
    ]


def _yaml(path: Path, form: Any) -> Any:
    """Read a file of the project, sure of its form."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SeriesError(f"{path} cannot be read ({' '.join(str(error).split())}): restore it") from None
    if not checks.has_form(found, form):
        raise SeriesError(f"{path} has not the form that it should have: restore it")
    return found


def select(series: list[Notebook], names: Iterable[str]) -> list[Notebook]:
    """Return the notebooks called by number ("10"), name or file name, in the series' order; all for none."""
    wanted = set()
    for name in names:
        stem = name.removesuffix(".ipynb")
        found = [n.file for n in series if stem in (n.file, n.file.split("_")[0])]
        if not found:
            known = ", ".join(n.file for n in series)
            raise SeriesError(f"unknown notebook {name!r}: choose from {known}")
        wanted.update(found)
    return [n for n in series if n.file in wanted or not wanted]


def injected_parameters(
    notebook: Notebook, preset: str, overrides: dict[str, str] | None = None
) -> dict[str, Any]:
    """Return what a notebook gets injected at a preset; nothing for its own defaults.

    Parameters
    ----------
    overrides : dict, optional
        Name → value as text; names that the notebook does not have are left out.

    Raises
    ------
    SeriesError
        If the preset is unknown, or names a parameter that the notebook does not have, or a value is
        not of the declared type.
    """
    if preset not in PRESETS:
        raise SeriesError(f"unknown preset {preset!r}: choose from {', '.join(PRESETS)}")
    declared = declared_parameters(notebook.path)
    chosen = _preset_values(notebook, preset)
    unknown = set(chosen) - set(declared)
    if unknown:
        raise SeriesError(
            f"preset {preset} gives {notebook.file} the unknown parameter {min(unknown)!r}: "
            f"it has {', '.join(declared)}"
        )
    for name, text in (overrides or {}).items():
        if not text.isprintable():
            raise SeriesError(f"the value {text!r} of {name} is no readable text (UTF-8)")
        if name in declared:
            chosen[name] = _parsed(name, text, declared[name].type)
    return chosen


@dataclass(frozen=True)
class Parameter:
    """A notebook's parameter as its cell declares it."""

    type: str
    default: Any
    help: str


def figures_of(notebook: str, parameters: dict[str, Any]) -> str:
    """Return how the names of an execution's figures begin; without a parameter its seed is 0."""
    return runs.prefix(notebook, parameters.get("seed", 0))


def declared_parameters(path: Path) -> dict[str, Parameter]:
    """Read a notebook's parameter cell, by papermill's rules.

    Raises
    ------
    SeriesError
        If the file holds no notebook, or a parameter is not written out.
    """
    from papermill import inspect_notebook

    _source(path)
    try:
        return {
            name: Parameter(p["inferred_type_name"], ast.literal_eval(p["default"]), p["help"])
            for name, p in inspect_notebook(str(path)).items()
        }
    except (ValueError, SyntaxError) as error:
        raise SeriesError(f"a parameter of {path} is not written out as a value ({error})") from None


def _source(path: Path) -> dict[str, Any]:
    """Return a notebook of the series as JSON, sure of its form."""
    found = read_json(path)
    if not checks.has_form(found, NOTEBOOK):
        raise SeriesError(f"{path} is absent, or no notebook: restore it")
    return found


def _preset_values(notebook: Notebook, preset: str) -> dict[str, Any]:
    if preset == "quick":
        return {}
    values = _yaml(notebook.path.parent / "presets" / f"{preset}.yaml", dict).get(notebook.file) or {}
    if not isinstance(values, dict):
        raise SeriesError(f"preset {preset} gives {notebook.file} no parameters, but {values!r}")
    return values


def _parsed(name: str, text: str, declared: str) -> Any:
    """Read `text` as a value of the declared type."""
    value = text if declared == "str" else _literal(text)
    for kind in map(str.strip, declared.split("|")):
        if checks.has_form(value, _form(kind)):
            return float(value) if kind == "float" else value
    raise SeriesError(f"parameter {name} is {text!r}: its type is {declared}")


def _form(kind: str) -> Any:
    """Return what a declared type asks of a value: "list[int]" is a list of whole numbers."""
    outer, _, inner = kind.partition("[")
    if outer == "list":
        return [_form(inner.removesuffix("]"))] if inner else list
    return _KINDS.get(outer, ())


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval({"true": "True", "false": "False", "null": "None"}.get(text, text))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def plan(
    notebooks: list[Notebook],
    preset: str,
    out: Path,
    *,
    overrides: dict[str, str] | None = None,
    seeds: list[int] | None = None,
) -> list[Task]:
    """Return the tasks of a run, everything checked, nothing started.

    Raises
    ------
    SeriesError
        As :func:`injected_parameters`, and if no selected notebook has a parameter that `overrides` names.
    """
    declared = {n.file: declared_parameters(n.path) for n in notebooks}
    for name in overrides or {}:
        if not any(name in of_notebook for of_notebook in declared.values()):
            known = sorted(set().union(*declared.values()))
            raise SeriesError(f"unknown parameter {name!r}: the selected notebooks have {', '.join(known)}")
    tasks = []
    for notebook in notebooks:
        values = injected_parameters(notebook, preset, overrides)
        has_seeds = seeds and "seed" in declared[notebook.file]
        for seed in seeds if has_seeds else [None]:
            extra = {} if seed is None else {"seed": seed}
            _check_seed((values | extra).get("seed", 0))
            tasks.append(Task(notebook, preset, values | extra, out, seed))
    return tasks


def _check_seed(seed: int) -> None:
    if not 0 <= seed <= runs.LARGEST_SEED:
        raise SeriesError(f"seed is {seed}: expected a whole number from 0 to {runs.LARGEST_SEED:,}")


def learner_copy(source: Path, target: Path) -> None:
    """Write a notebook without its solutions and outputs; answer cells and their checks stay."""
    notebook = _source(source)
    cells = [c for c in notebook["cells"] if "solution" not in c["metadata"].get("tags", [])]
    for cell in cells:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    with atomic_path(target) as temporary:
        temporary.write_text(
            json.dumps(notebook | {"cells": cells}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
