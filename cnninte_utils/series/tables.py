"""What is written twice, written once: tables of README and times on the notebooks' cards.

``python -m cnninte_utils.series.tables`` brings them up to date; a test fails while they are not.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from .. import claims
from ..artifacts import atomic_path
from ..methods import card
from . import plan

__all__ = [
    "HEADLINES",
    "headline_table",
    "method_table",
    "notebook_table",
    "paper_list",
    "time_row",
    "up_to_date",
]

HEADLINES = (
    "cnn_inte.cnn_accuracy",
    "cnn_inte.meta_accuracy",
    "qdv.accuracy.alexnet",
    "qdv.accuracy.vgg19",
    "qdv.order.vgg19_ahead_from_third",
    "block_norm.gain.places50_1.alexnet",
    "block_norm.gain.places50_1.alexnet_b",
    "survey.lrp.is_deeplift_at_zero",
)
"""The claims that README shows."""

_LONG = 120


def notebook_table(series: list[plan.Notebook]) -> str:
    """Return the series as a table in Markdown: notebook, question, paper, minutes at quick and standard."""
    rows = [
        (f"[{n.file}](notebooks/{n.file}.ipynb)", n.title, n.paper,
         f"{n.minutes['quick']:g}", f"{n.minutes['standard']:g}")
        for n in series
    ]  # fmt: skip
    return _table(("notebook", "question", "paper", "quick, min", "standard, min"), rows)


def headline_table(run: Path) -> str:
    """Return the headline claims of a run as a table in Markdown, seeds averaged."""
    board = claims.scoreboard(claims.load(run)).loc[list(HEADLINES)]
    columns = (board["source"].str[0], *(board[name] for name in ("says", "paper", "here", "verdict")))
    rows = zip(*columns, strict=True)
    return _table(("", "quantity", "paper", "here", "verdict"), rows)


def method_table(cards: Mapping[str, card.Card]) -> str:
    """Return what a reader should know of each method as a table in Markdown."""
    rows = [
        (f"**{c.name}**<br>`{function}`", c.question, f"{c.access}{', and a fit' * c.trains}", c.passes,
         c.sums_to or "—", c.fails, c.source)
        for function, c in cards.items()
    ]  # fmt: skip
    return _table(("method", "asks", "needs", "passes", "adds up to", "misleads", "source"), rows)


def paper_list() -> str:
    """Return the works that the series reproduces as a list in Markdown."""
    return "\n".join(_citation(paper) for paper in claims.papers().values())


def _citation(paper: claims.Paper) -> str:
    title = f"[*{paper.title}*]({paper.link})" if paper.link else f"*{paper.title}*"
    return f"- **{paper.letter}** {paper.authors} {paper.year}:\n  {title}"


def time_row(minutes: dict[str, float]) -> str:
    """Return the row of a notebook's card that says how long it takes at each preset."""
    if len(set(minutes.values())) == 1:
        return f"| **Time** | {_duration(minutes['quick'])} (2 cores) |"
    times = " · ".join(f"{preset} {_duration(minutes[preset])}" for preset in plan.PRESETS)
    where = (
        "2 cores; hours are guesses, those of paper for one GPU"
        if max(minutes.values()) > _LONG
        else "2 cores"
    )
    return f"| **Time** | {times} ({where}) |"


def _duration(minutes: float) -> str:
    return f"{minutes / 60:g} h" if minutes > _LONG else f"{minutes:g} min"


def up_to_date(project: Path) -> dict[Path, str]:
    """Return what README, docs/methods.md and every notebook, kept runs too, should hold, by path."""
    kept = project / "results" / "standard"
    series, readme = plan.load_series(project), project / "README.md"
    text = readme.read_text(encoding="utf-8")
    parts = {
        "notebooks": notebook_table(series),
        "headlines": headline_table(kept),
        "papers": paper_list(),
    }
    for name, part in parts.items():
        text = _between(text, *_around(name), part)
    methods = project / "docs" / "methods.md"
    table = method_table(card.collected())
    atlas = _between(methods.read_text(encoding="utf-8"), *_around("methods"), table)
    notebooks = {
        path: _with_time(path, n.minutes)
        for n in series
        for path in (n.path, kept / n.path.name)
        if path.is_file()
    }
    return {readme: text, methods: atlas} | notebooks


def _around(name: str) -> tuple[str, str]:
    return f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"


def _between(text: str, start: str, end: str, part: str) -> str:
    before, _, rest = text.partition(start)
    _, _, after = rest.partition(end)
    return before + start + part + end + after


def _with_time(path: Path, minutes: dict[str, float]) -> str:
    """Return a notebook's file with its card's time, nothing else touched."""
    row = json.dumps(time_row(minutes), ensure_ascii=False)[1:-1]
    text = path.read_text(encoding="utf-8")
    return re.sub(r"\| \*\*Time\*\* \|[^|]*\|", lambda _: row, text, count=1)


def _table(header, rows) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _main() -> None:
    project = plan.project_dir()
    for path, text in up_to_date(project).items():
        if path.read_text(encoding="utf-8") != text:
            with atomic_path(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(project)}")


if __name__ == "__main__":
    _main()
