"""A small project for the tests of the machinery: notebooks of a few plain cells, no Keras."""

import json
import sys
from pathlib import Path

import nbformat
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from cnninte_utils.series import plan as planning

STAND_IN = [sys.executable, str(Path(__file__).with_name("stand_in.py"))]
"""Executes a notebook in one plain process, in a tenth of the time that a kernel takes to start."""

PARAMETERS = """n: int = 3  # a number
rate: float = 0.5  # a ratio
word: str = "a"  # a word
flag: bool = False  # a switch
some: list[int] = [1, 2]  # several
seed: int = 0  # of nothing"""


def count(name):
    """Code that appends a line to a file whenever it runs."""
    return (
        "from pathlib import Path\n"
        f"with Path('../{name}.ran').open('a') as stream: print(n, word, seed, file=stream)"
    )


def write_notebook(folder: Path, stem: str, *cells: str) -> None:
    """Write a notebook with the parameters, a cell that counts its runs, and `cells`."""
    parameters = new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    solution = new_code_cell("print('the solution')", metadata={"tags": ["solution"]})
    body = [new_code_cell(count(stem)), *map(new_code_cell, cells), solution]
    notebook = new_notebook(cells=[new_markdown_cell(f"# {stem} [next](20_b.ipynb)"), parameters, *body])
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(notebook, folder / f"{stem}.ipynb")


def make_project(root: Path, cells: dict[str, list[str]] | None = None) -> Path:
    """Make a project of three notebooks: 20 needs 10, 90 is last."""
    folder = root / "notebooks"
    (folder / "presets").mkdir(parents=True)
    rows = []
    for stem, needs in (("10_a", []), ("20_b", ["10_a"]), ("90_z", [])):
        minutes = {"quick": 0.1, "standard": 1, "paper": 2}
        row = {"file": stem, "title": f"Is {stem} <so>?", "paper": "A", "needs": needs, "minutes": minutes}
        rows.append(row | ({"last": True} if stem == "90_z" else {}))
        write_notebook(folder, stem, *(cells or {}).get(stem, []))
    (folder / "series.yaml").write_text(yaml.safe_dump(rows))
    (folder / "presets" / "standard.yaml").write_text("10_a: {n: 30}\n")
    (folder / "presets" / "paper.yaml").write_text("10_a: {m: 30}\n")
    return root


def runs_of(root: Path, stem: str) -> list[str]:
    """Return one line for each time that a notebook ran."""
    path = root / f"{stem}.ran"
    return path.read_text().splitlines() if path.exists() else []


def printed(path: Path) -> str:
    """Return everything that an executed notebook printed."""
    cells = json.loads(path.read_text())["cells"]
    return "".join("".join(o.get("text", "")) for c in cells for o in c.get("outputs", []))


def plan(root: Path, *names: str, preset: str = "quick", **options) -> list[planning.Task]:
    """Return the tasks of a run of this project."""
    chosen = planning.select(planning.load_series(root), names)
    return planning.plan(chosen, preset, root / "runs" / preset, **options)
