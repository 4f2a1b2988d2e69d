"""Bad parameters are refused by name in a notebook's first two cells, before anything is trained."""

import contextlib
import io
import json
import traceback
from pathlib import Path

import pytest

from cnninte_utils import datasets
from cnninte_utils.artifacts import DataError
from cnninte_utils.datasets import broden
from cnninte_utils.series import plan

ROOT = Path(__file__).resolve().parent.parent
CELL = "<second cell>"
SERIES = plan.load_series(ROOT)

BAD = {
    "int": [-1, 0, 2.5, "3", None],
    "float": [-1.0, 0.0, float("nan"), "0.1", None],
    "str": ["", "no_such_name", "../elsewhere", 3, None],
    "bool": ["yes", 2],
    "list": [[], ["no_such_name"], "text", 3],
}
"""By declared type: zero, below zero, no number, empty, unknown, of another type."""

TOO_LARGE = {
    "seed": 2**32, "n_train": 10**9, "path_images": 10**9, "n_groups": 10**9, "width": 50.0,
    "learning_rate": 50.0, "quantile": 2.0, "iou_threshold": 2.0, "tolerance": 2.0, "largest_overlap": 2.0,
    "n_factors": 10**9, "n_lime": 10**9,
}  # fmt: skip
"""What has a bound, wherever a notebook has a parameter of that name."""

VALID = {
    "seed": [0],  # the first of the random sequences
    "preset": ["no_such_name"],  # any name: whoever sets parameters by hand calls the set as they like
    "n_train": [0],  # all images
    "n_images": [0],  # all images
    "learning_rate": [0.0],  # nothing is learnt: a control
    "tolerance": [0.0],  # nothing may be left
    "largest_overlap": [0.0],  # clouds that do not touch
    "slip_networks": [[]],  # none is trained once more
    "strength": [0.0], "activation": [0.0], "spatial": [0.0],  # terms that are switched off
    "sample_seed": [0],  # a seed
    "refine_train": [0],  # all images
}  # fmt: skip
"""What looks bad and is meant."""


def first_cells(notebook):
    cells = json.loads(notebook.path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"][:2]


def cases(notebook):
    for name, parameter in plan.declared_parameters(notebook.path).items():
        kind = parameter.type.split("[")[0]
        large = [TOO_LARGE[name]] if name in TOO_LARGE else []
        for value in BAD[kind] + large:
            if not any(type(value) is type(valid) and value == valid for valid in VALID.get(name, ())):
                yield name, value


@pytest.fixture(scope="module")
def loaded():
    return {}


@pytest.fixture(autouse=True)
def _data_are_drawn_once(loaded, monkeypatch):
    for module in (datasets, broden):

        def load(name, own=module.load, key=module.__name__):
            if (key, repr(name)) not in loaded:
                loaded[key, repr(name)] = own(name)
            return loaded[key, repr(name)]

        monkeypatch.setattr(module, "load", load)


def outcome(cells, name, value):
    """Return "by name", "accepted", or what was said instead; a TypeError names what its line shows."""
    space = {}
    exec(cells[0], space)
    space[name] = value
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(cells[1], CELL, "exec"), space)
    except (ValueError, TypeError, DataError) as error:
        said = str(error)
        if isinstance(error, TypeError):
            (line,) = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == CELL][:1]
            said += f", in: {cells[1].splitlines()[line - 1]}"
        has_name = name in said or (name in ("dataset", "labelled") and "unknown data set" in said)
        return "by name" if has_name else f"{type(error).__name__}: {said}"
    return "accepted"


@pytest.mark.parametrize("notebook", SERIES, ids=lambda n: n.file)
def test_bad_parameters_are_refused_by_name_before_anything_is_trained(notebook, monkeypatch):
    from cnninte_utils.networks import training

    monkeypatch.setattr(training, "fit_or_load", lambda *_, **__: pytest.fail("something was trained"))
    cells = first_cells(notebook)
    found = {(name, repr(value)): outcome(cells, name, value) for name, value in cases(notebook)}
    missed = {case: said for case, said in found.items() if said != "by name"}
    assert not missed, "\n".join(f"{name} = {value}: {said}" for (name, value), said in missed.items())


def test_the_defaults_pass():
    for notebook in SERIES:
        cells = first_cells(notebook)
        assert outcome(cells, "preset", "quick") == "accepted", notebook.file
