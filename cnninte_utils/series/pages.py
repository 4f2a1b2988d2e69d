"""The pages of a run: ``index.html`` and each notebook as HTML, loading nothing from outside."""

import ast
import platform
import re
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2

from .. import claims
from ..artifacts import DataError, atomic_path, file_digest, read_json
from . import plan

__all__ = ["with_formulas", "write_pages"]

_LIBRARIES = ("keras", "tensorflow", "scikit-learn", "numpy")
_TEMPLATES = Path(__file__).with_name("templates")
_FORMULA = re.compile(
    r"(?P<code>```.*?```|`[^`]*`)|\$\$(?P<display>.+?)\$\$|(?<!\\)\$(?P<inline>[^$\n]+?)\$(?!\d)", re.DOTALL
)
_NEEDED = {"name", "notebook", "title", "preset", "parameters", "status", "seconds", "output_sha256"}


def write_pages(folder: Path, out: Path | None = None) -> Path:
    """Write ``index.html`` and a page for each executed notebook of a run.

    A folder without ``records/`` gets its pages from what lies in it: the executed notebooks, ``claims.json``
    and ``figures/``; times and versions are not known then.

    Parameters
    ----------
    folder : Path
        Of the run.
    out : Path, optional
        Where the pages go, with copies of the notebooks and figures that they show; by default `folder`.

    Returns
    -------
    Path
        Of ``index.html``.

    Raises
    ------
    DataError
        If there is neither a record nor an executed notebook.
    """
    out = out or folder
    executions = _recorded(folder) if (folder / "records").is_dir() else _found(folder)
    if not executions:
        raise DataError(f"{folder} holds no run: expected executed notebooks (.ipynb) in it")
    covers = {n.file: n.cover for n in plan.load_series(plan.project_dir())}
    first_seed: dict[str, int] = {}
    for execution in executions:
        seed = execution["parameters"].get("seed", 0)
        execution["figures"] = _figures(folder, execution)
        execution["cover"] = _cover(execution["figures"], covers.get(execution["notebook"], ""))
        execution["is_first_seed"] = seed == first_seed.setdefault(execution["notebook"], seed)
        if (folder / f"{execution['name']}.ipynb").is_file():
            _write_notebook_page(folder, out, execution)
    if not (out.exists() and out.samefile(folder)):
        _copy_shown(folder, out, executions)
    _write(out / "index.html", "index.html.j2", **_index_values(folder, executions))
    return out / "index.html"


def _recorded(folder: Path) -> list[dict[str, Any]]:
    """Return what the runner wrote about each execution."""
    records = map(read_json, sorted((folder / "records").glob("*.json")))
    return [record for record in records if isinstance(record, dict) and record.keys() >= _NEEDED]


def _found(folder: Path) -> list[dict[str, Any]]:
    """Return what executed notebooks tell about themselves, in the form of the runner's records."""
    titles = {n.file: n.title for n in plan.load_series(plan.project_dir())}
    return [_told_by(path, titles) for path in sorted(folder.glob("*.ipynb"))]


def _told_by(path: Path, titles: dict[str, str]) -> dict[str, Any]:
    notebook = _read(path)
    name = path.stem.partition(".seed")[0]
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    failed = [output for output in outputs if output.output_type == "error"]
    parameters = _injected(notebook)
    return {
        "name": path.stem,
        "notebook": name,
        "title": titles.get(name, name),
        "preset": parameters.get("preset", "quick"),
        "parameters": parameters,
        "status": "failed" if failed else "done",
        "seconds": None,
        "output_sha256": file_digest(path),
        "failing_cell": None,
        "failing_source": "",
        "error": f"{failed[0].ename}: {failed[0].evalue}" if failed else "",
    }


def _injected(notebook) -> dict[str, Any]:
    """Return the parameters that papermill put into a notebook."""
    injected = [c.source for c in notebook.cells if "injected-parameters" in c.metadata.get("tags", [])]
    assignments = ast.parse("\n".join(injected)).body
    return {ast.unparse(a.targets[0]): ast.literal_eval(a.value) for a in assignments}


def _index_values(folder: Path, executions: list[dict]) -> dict[str, Any]:
    found = claims.load(folder)
    board = claims.scoreboard(found).reset_index()
    rows = board.to_dict("records")
    seconds = [e["seconds"] for e in executions if e["seconds"] is not None]
    versions = {name: version(name) for name in _LIBRARIES} | {"Python": platform.python_version()}
    return {
        "preset": ", ".join(sorted({e["preset"] for e in executions})),
        "datasets": sorted({r.dataset for r in found}),
        "seeds": sorted({r.seed for r in found}),
        "seconds": sum(seconds),
        "versions": versions if seconds else {},
        "threads": sorted({_told_threads(e["threads"]) for e in executions if e.get("threads")}),
        "measured": [r for r in rows if r["verdict"] != "not run"],
        "not_run": {
            paper.subject: [r for r in rows if r["verdict"] == "not run" and r["source"].startswith(letter)]
            for letter, paper in claims.papers().items()
        },
        "counts": {v: int((board["verdict"] == v).sum()) for v in claims.VERDICTS},
        "notebooks": executions,
    }


def _told_threads(threads: dict[str, Any]) -> str:
    """Say what decided the number of threads, leaving out the limits that were not set."""
    return ", ".join(f"{name} {value}" for name, value in threads.items() if value is not None)


def _figures(folder: Path, execution: dict) -> list[dict[str, str]]:
    """Return the figures that an execution saved."""
    pattern = f"{plan.figures_of(execution['notebook'], execution['parameters'])}.*.png"
    return [
        {"path": f"figures/{path.name}"}
        | read_json(path.with_suffix(".json"), {"title": path.stem, "alt": ""})
        for path in sorted((folder / "figures").glob(pattern))
    ]


def _cover(figures: list[dict[str, str]], slug: str) -> dict[str, str] | None:
    """Return the figure that stands for a notebook: the series' choice, otherwise its first."""
    chosen = [figure for figure in figures if slug and figure["path"].endswith(f".{slug}.png")]
    return next(iter(chosen + figures), None)


def _copy_shown(folder: Path, out: Path, executions: list[dict]) -> None:
    """Copy what the pages link to."""
    (out / "figures").mkdir(parents=True, exist_ok=True)
    shown = [figure["path"] for execution in executions for figure in execution["figures"]]
    for name in shown + [f"{execution['name']}.ipynb" for execution in executions]:
        if (folder / name).is_file():
            shutil.copy(folder / name, out / name)


def _write_notebook_page(folder: Path, out: Path, execution: dict) -> None:
    from nbconvert import HTMLExporter
    from pygments.formatters import HtmlFormatter

    notebook = _read(folder / f"{execution['name']}.ipynb")
    _describe_figures(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = with_formulas(cell.source)
    exporter = HTMLExporter(template_name="lesson", extra_template_basedirs=[str(_TEMPLATES)])
    body, _ = exporter.from_notebook_node(notebook)
    body = re.sub(r'(href="[^":#]*)\.ipynb(["#])', r"\1.html\2", body)
    body = re.sub(r"<table.*?</table>", r'<div class="wide">\g<0></div>', body, flags=re.DOTALL)
    styles = HtmlFormatter().get_style_defs(".highlight")
    page = out / f"{execution['name']}.html"
    _write(page, "notebook.html.j2", title=execution["title"], body=body, highlight=styles)


def with_formulas(markdown: str) -> str:
    """Turn the LaTeX in Markdown into MathML, which browsers draw without a script; code stays as it is."""
    from latex2mathml.converter import convert

    def drawn(match: re.Match) -> str:
        if match["code"]:
            return match["code"]
        latex, display = (match["display"], "block") if match["display"] else (match["inline"], "inline")
        return convert(latex.strip().replace(r"\arg", r"\operatorname{arg}"), display=display)

    return _FORMULA.sub(drawn, markdown)


def _read(path: Path):
    import nbformat

    return nbformat.read(path, as_version=4)


def _describe_figures(notebook) -> None:
    """Give every cell's images an alternative text: the cell's own, otherwise the section they are in."""
    heading = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            heading = (re.findall(r"^#+ (.+)", cell.source, flags=re.MULTILINE) or [heading])[-1]
        else:
            cell.metadata["alt"] = _alternative_text(cell.source) or f"Figure of the section “{heading}”"


def _alternative_text(source: str) -> str:
    """Return what a cell assigns to ``alt`` or gives ``figures.save`` last, if that is written out."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except SyntaxError:  # a magic command
        return ""
    texts = [n.value for n in nodes if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "alt"]
    calls = [n for n in nodes if isinstance(n, ast.Call) and ast.unparse(n.func) == "figures.save"]
    texts += [call.args[-1] for call in calls if call.args]
    written = [t.value for t in texts if isinstance(t, ast.Constant) and isinstance(t.value, str)]
    return written[0] if written else ""


def _write(path: Path, template: str, **values) -> None:
    loader = jinja2.PackageLoader(__package__)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    with atomic_path(path) as temporary:
        temporary.write_text(environment.get_template(template).render(**values), encoding="utf-8")
