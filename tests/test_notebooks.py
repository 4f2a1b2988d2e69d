"""The committed notebooks: in shape, in step with series and presets, from one clean run."""

import json
import re
import statistics
from pathlib import Path

import pytest

from cnninte_utils.series import plan

ROOT = Path(__file__).resolve().parent.parent
SERIES = plan.load_series(ROOT)
PATHS = [n.path for n in SERIES]


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def code_cells(path):
    return [c for c in load(path)["cells"] if c["cell_type"] == "code"]


def tags(cell):
    return cell["metadata"].get("tags", [])


def test_series_and_folder_name_the_same_notebooks():
    assert sorted(PATHS) == sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("preset", plan.PRESETS)
def test_presets_fit_the_notebooks(preset):
    tasks = plan.plan(SERIES, preset, ROOT / "runs")
    for task in tasks:
        assert task.parameters.get("preset", "quick") == preset


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_cells_are_few_and_short(path):
    lessons = [c for c in code_cells(path) if not {"exercise", "solution", "check"} & set(tags(c))]
    lengths = [sum(bool(line.strip()) for line in "".join(c["source"]).splitlines()) for c in lessons]
    assert len(lengths) <= 30
    assert statistics.median(lengths) <= 6
    assert sorted(lengths)[int(0.9 * (len(lengths) - 1))] <= 18
    assert max(lengths) <= 40


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_parameters_are_typed_and_explained(path):
    declared = plan.declared_parameters(path)
    assert "preset" in declared
    for name, parameter in declared.items():
        assert parameter.type != "None", name
        assert parameter.help, name


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_every_notebook_has_its_parts(path):
    text = "\n".join("".join(c["source"]) for c in load(path)["cells"] if c["cell_type"] == "markdown")
    for part in ("**Aim.**", "**You will**", "| **Paper** |", "toy", "## Exercises", "**1. Predict.**",
                 "**2. Perturb.**", "**3. Extend.**", "## Recap", "**Next:**", "Paper against"):  # fmt: skip
        assert part in text, part
    assert sum("solution" in tags(c) for c in code_cells(path)) == 3
    assert any("nbval-check-output" in tags(c) for c in code_cells(path))


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_exercises_are_graded_hinted_and_check_themselves(path):
    cells = load(path)["cells"]
    exercise = [i for i, c in enumerate(cells) if "exercise" in tags(c)]
    assert len(exercise) == 3
    for i in exercise:
        question = "".join(cells[i - 1]["source"])
        assert re.search(r"\*\* ★{1,3} \d+ min", question), question
        assert "<summary>Hint</summary>" in question
        assert [tags(cells[i + k]) for k in (1, 2)] == [["solution"], ["check"]]
        assert cells[i + 1]["metadata"]["jupyter"] == {"source_hidden": True}
        stub, _, check = ("".join(c["source"]) for c in cells[i : i + 3])
        with pytest.raises(AssertionError):
            exec(stub + "\n" + check, {})


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_outputs_are_of_one_clean_run(path):
    cells = code_cells(path)
    assert [c["execution_count"] for c in cells] == list(range(1, len(cells) + 1))
    outputs = [o for c in cells for o in c["outputs"]]
    assert not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]
    assert {"image/png", "image/jpeg"} & {
        kind for c in cells[:5] for o in c["outputs"] for kind in o.get("data", {})
    }
    assert path.stat().st_size < 3 * 2**20


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_links_lead_somewhere(path):
    for cell in load(path)["cells"]:
        for target in re.findall(r"\]\(([^)#:]+)\)", "".join(cell["source"])):
            if cell["cell_type"] == "markdown":
                assert (path.parent / target).exists(), target
