"""The pages of a run: ``index.html`` and each notebook as HTML, loading nothing from outside."""

import ast
import platform
import re
import shutil
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2

from .. import checks, claims
from ..artifacts import DataError, atomic_path, file_digest, read_json
from . import plan
from .run import is_record

__all__ = ["with_formulas", "write_pages"]

_LIBRARIES = ("keras", "tensorflow", "scikit-learn", "numpy")
_TEMPLATES = Path(__file__).with_name("templates")
_FORMULA = re.compile(
    r"(?P<code>```.*?```|`[^`]*`)|\$\$(?P<display>.+?)\$\$|(?<!\\)\$(?P<inline>[^$\n]+?)\$(?!\d)", re.DOTALL
)
_SHOWN = {"title": str, "alt": str}
_EXECUTED = plan.NOTEBOOK | {"nbformat": int, "metadata": dict}


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
        path = folder / f"{execution['name']}.ipynb"
        notebook = _read(path) if path.is_file() else None
        if notebook is not None:
            _write_notebook_page(notebook, out, execution)
    if not (out.exists() and out.samefile(folder)):
        _copy_shown(folder, out, executions)
    _write(out / "index.html", "index.html.j2", **_index_values(folder, executions))
    return out / "index.html"


def _recorded(folder: Path) -> list[dict[str, Any]]:
    """Return what the runner wrote about each execution."""
    records = map(read_json, sorted((folder / "records").glob("*.json")))
    return [record for record in records if is_record(record)]


def _found(folder: Path) -> list[dict[str, Any]]:
    """Return what executed notebooks tell about themselves, in the form of the runner's records."""
    titles = {n.file: n.title for n in plan.load_series(plan.project_dir())}
    notebooks = {path: _read(path) for path in sorted(folder.glob("*.ipynb"))}
    return [_told_by(path, notebook, titles) for path, notebook in notebooks.items() if notebook is not None]


def _told_by(path: Path, notebook, titles: dict[str, str]) -> dict[str, Any]:
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
        {"path": f"figures/{path.name}"} | _told_of(path)
        for path in sorted((folder / "figures").glob(pattern))
    ]


def _told_of(figure: Path) -> dict[str, str]:
    """Return the title and the alternative text of a figure, from the file beside it."""
    found = read_json(figure.with_suffix(".json"))
    return found if checks.has_form(found, _SHOWN) else {"title": figure.stem, "alt": ""}


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


def _write_notebook_page(notebook, out: Path, execution: dict) -> None:
    from nbconvert import HTMLExporter
    from pygments.formatters import HtmlFormatter

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
    """Turn the LaTeX in Markdown into MathML, which browsers draw without a script.

    Code stays as it is, and so does what is no formula.
    """
    from latex2mathml.converter import convert

    def drawn(match: re.Match) -> str:
        if match["code"]:
            return match["code"]
        latex, display = (match["display"], "block") if match["display"] else (match["inline"], "inline")
        try:
            return convert(latex.strip().replace(r"\arg", r"\operatorname{arg}"), display=display)
        except Exception:  # the library has two dozen kinds, and no common one
            return match[0]

    return _FORMULA.sub(drawn, markdown)


def _read(path: Path):
    """Return an executed notebook; None, and a warning, if the file does not hold one."""
    import nbformat

    found = read_json(path)
    if checks.has_form(found, _EXECUTED) and found["nbformat"] == 4 and nbformat.validator.isvalid(found):
        return nbformat.read(path, as_version=4)
    warnings.warn(f"{path} is no executed notebook, or not all of it, and gets no page", stacklevel=2)
    return None


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
