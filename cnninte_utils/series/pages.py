"""The pages of a run: ``index.html`` and each notebook as HTML, loading nothing from outside."""

import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2

from .. import claims
from ..artifacts import atomic_path, read_json

__all__ = ["write_pages"]

_PAPERS = {
    "A": "CNN-INTE (Liu, Wang, Matwin 2018)",
    "B": "AlexNet versus VGG19: deconvnet and neighbourhood hit",
    "C": "Block-norm regularised AlexNet and network dissection",
}
_LIBRARIES = ("keras", "tensorflow", "scikit-learn", "numpy")


def write_pages(out: Path) -> Path:
    """Write ``index.html`` and a page for each executed notebook of the run in `out`.

    Returns
    -------
    Path
        Of ``index.html``.
    """
    records = [r for r in map(read_json, sorted((out / "records").glob("*.json"))) if r]
    for record in records:
        if (out / f"{record['name']}.ipynb").is_file():
            _write_notebook_page(out, record)
    _write(out / "index.html", "index.html.j2", **_index_values(out, records))
    return out / "index.html"


def _index_values(out: Path, records: list[dict]) -> dict[str, Any]:
    found = claims.load(out)
    board = claims.scoreboard(found).reset_index()
    rows = board.to_dict("records")
    return {
        "preset": ", ".join(sorted({r["preset"] for r in records})),
        "datasets": sorted({r.dataset for r in found}),
        "seeds": sorted({r.seed for r in found}),
        "seconds": sum(r["seconds"] for r in records),
        "versions": {name: version(name) for name in _LIBRARIES} | {"Python": platform.python_version()},
        "measured": [r for r in rows if r["verdict"] != "not run"],
        "not_run": {
            title: [r for r in rows if r["verdict"] == "not run" and r["source"].startswith(paper)]
            for paper, title in _PAPERS.items()
        },
        "counts": {v: int((board["verdict"] == v).sum()) for v in claims.VERDICTS},
        "notebooks": [record | {"figures": _figures(out, record)} for record in records],
    }


def _figures(out: Path, record: dict) -> list[dict[str, str]]:
    """Return the figures that an execution saved; without a parameter its seed is 0."""
    pattern = f"{record['notebook']}.seed{record['parameters'].get('seed', 0)}.*.png"
    return [
        {"path": f"figures/{path.name}"}
        | read_json(path.with_suffix(".json"), {"title": path.stem, "alt": ""})
        for path in sorted((out / "figures").glob(pattern))
    ]


def _write_notebook_page(out: Path, record: dict) -> None:
    import nbformat
    from nbconvert import HTMLExporter
    from pygments.formatters import HtmlFormatter

    notebook = nbformat.read(out / f"{record['name']}.ipynb", as_version=4)
    body, _ = HTMLExporter(template_name="basic").from_notebook_node(notebook)
    body = re.sub(r'(href="[^":#]*)\.ipynb(["#])', r"\1.html\2", body)
    styles = HtmlFormatter().get_style_defs(".highlight")
    _write(
        out / f"{record['name']}.html", "notebook.html.j2", title=record["title"], body=body, highlight=styles
    )


def _write(path: Path, template: str, **values) -> None:
    loader = jinja2.PackageLoader(__package__)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    with atomic_path(path) as temporary:
        temporary.write_text(environment.get_template(template).render(**values), encoding="utf-8")
