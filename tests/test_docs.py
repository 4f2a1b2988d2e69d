"""README, docs and notebooks: links lead somewhere, and what is written twice is generated."""

import json
import re
from pathlib import Path

import pytest
import yaml

from cnninte_utils import claims
from cnninte_utils.methods import card
from cnninte_utils.series import plan, tables

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def prose(path):
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    cells = json.loads(text)["cells"]
    return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_every_link_leads_somewhere(path):
    for target in LINK.findall(prose(path)):
        place, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            assert target.startswith("https://"), target
        elif place:
            assert (path.parent / place).exists(), target
        else:
            headings = re.findall(r"^#+ (.+)$", prose(path), flags=re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", h).strip().replace(" ", "-").lower() for h in headings]


def test_tables_of_readme_and_times_of_notebooks_are_generated():
    for path, text in tables.up_to_date(ROOT).items():
        assert path.read_text(encoding="utf-8") == text, f"run python -m cnninte_utils.series.tables: {path}"


def test_tables_by_hand(tmp_path):
    row = {"paper": 0.939, "verdict": "reproduced", "reason": "", "notebook": "10", "dataset": "mnist"}
    rows = [
        row | {"id": "cnn_inte.cnn_accuracy", "here": here, "preset": "standard", "seed": seed}
        for seed, here in enumerate((0.93, 0.94))
    ]
    (tmp_path / "claims.json").write_text(json.dumps(rows))
    first = tables.headline_table(tmp_path).splitlines()[2]
    assert first == "| A | test accuracy of the CNN on MNIST | 0.939 | 0.935 ± 0.007 (n=2) | reproduced |"
    assert (
        tables.time_row({"quick": 0.2, "standard": 0.2, "paper": 0.2}) == "| **Time** | 0.2 min (2 cores) |"
    )
    assert tables.time_row({"quick": 1, "standard": 25, "paper": 1500}) == (
        "| **Time** | quick 1 min · standard 25 min · paper 25 h "
        "(2 cores; hours are guesses, those of paper for one GPU) |"
    )


def test_the_table_of_methods_by_hand():
    one = card.Card(
        name="Gradient", function="attribution.gradient", question="Which?", access="gradient", output="map",
        passes="1 F + 1 B", trains=True, fails="Often.", source="Simonyan 2014",
    )  # fmt: skip
    cells = tables.method_table({"attribution.gradient": one}).splitlines()[2].strip("| ").split(" | ")
    assert cells[:3] == ["**Gradient**<br>`attribution.gradient`", "Which?", "gradient, and a fit"]
    assert cells[3:] == ["1 F + 1 B", "—", "Often.", "Simonyan 2014"]


def test_readme_is_a_front_door():
    readme = prose(ROOT / "README.md")
    assert len(re.findall(r"[\w’'-]+", re.sub(r"\]\([^)]*\)|<!--.*?-->", "", readme))) <= 700
    assert readme.index("![") < readme.index("make run") < readme.index("## The series")
    code = re.search(r"```python\n(.*?)```", readme, flags=re.DOTALL).group(1)
    compile(code, "README", "exec")
    assert len(code.splitlines()) <= 12


def test_papers_have_one_home():
    papers, citation = claims.papers(), yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert list(papers) == list("ABCD")
    assert [r["title"] for r in citation["references"]] == [p.title for p in papers.values()]
    for paper, reference in zip(papers.values(), citation["references"], strict=True):
        names = [f"{a['given-names']} {a['family-names']}" for a in reference["authors"]]
        assert paper.authors == " and ".join([", ".join(names[:-1]), names[-1]])
        assert (reference["year"], reference.get("url", "")) == (paper.year, paper.link)
        assert paper.title in prose(ROOT / "README.md")
    assert {claim.paper for claim in claims.catalogue().values()} <= set(papers)
    assert all(claim.id.startswith(papers[claim.paper].key + ".") for claim in claims.catalogue().values())
    assert {n.paper for n in plan.load_series(ROOT)} <= {*papers, "A, B, C, D"}


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", ROOT / "docs/package.md", ROOT / "docs/methods.md"], ids=lambda p: p.name
)
def test_code_on_pages_names_what_there_is(path):
    import importlib

    for code in re.findall(r"```python\n(.*?)```", prose(path), flags=re.DOTALL):
        for package, names in re.findall(r"^from ([\w.]+) import (.+)$", code, flags=re.MULTILINE):
            for name in names.split(", "):
                try:
                    module = importlib.import_module(f"{package}.{name}")
                except ModuleNotFoundError:
                    module = getattr(importlib.import_module(package), name)
                for attribute in re.findall(rf"\b{name}\.(\w+)", code.replace(f"{package}", "")):
                    assert hasattr(module, attribute), f"{name}.{attribute}"
