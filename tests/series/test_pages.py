import json
import os
import re
import shutil

import pytest
from project import STAND_IN, make_project

from cnninte_utils.artifacts import DataError
from cnninte_utils.claims import report
from cnninte_utils.runs import Run
from cnninte_utils.series import plan
from cnninte_utils.series import run as runner
from cnninte_utils.series.pages import with_formulas, write_pages


@pytest.fixture
def out(tmp_path, monkeypatch):
    root = make_project(tmp_path, {"10_a": ["print('<script>alert(1)</script>')"], "20_b": ["1 / 0"]})
    out = root / "runs/quick"
    monkeypatch.setenv("CNNINTE_RUN_DIR", str(out))
    chosen = plan.select(plan.load_series(root), ["10", "20"])
    runner.run(plan.plan(chosen, "quick", out), tell=lambda line: None, command=STAND_IN)
    report(
        {"cnn_inte.cnn_accuracy": 0.5},
        Run("10_a", "quick", "mnist", 0),
        {"cnn_inte.cnn_accuracy": "<i>why</i>"},
    )
    figures = out / "figures"
    figures.mkdir()
    (figures / "10_a.seed0.curve.png").write_bytes(b"png")
    (figures / "10_a.seed0.curve.json").write_text(json.dumps({"title": "It rises", "alt": 'A "line"'}))
    write_pages(out)
    return out


def test_index_has_claims_figures_and_notebooks(out):
    page = (out / "index.html").read_text()
    assert "test accuracy of the CNN on MNIST" in page
    assert re.search(r'class="verdict not-reproduced">not reproduced<', page)
    assert '<img src="figures/10_a.seed0.curve.png" alt="A &#34;line&#34;"' in page
    assert "It rises" in page
    assert 'href="10_a.html"' in page
    assert 'href="10_a.ipynb"' in page
    assert "ZeroDivisionError: division by zero" in page
    assert "claims of AlexNet versus VGG19" in page


def test_index_says_what_decided_the_number_of_threads(out):
    page = (out / "index.html").read_text()
    shown = re.search(r"<dt>Threads</dt><dd>jobs 1, processors (\d+)", page)
    assert int(shown[1]) == os.cpu_count()
    record = out / "records" / "10_a.json"
    threads = {"jobs": 2, "processors": 16, "OMP_NUM_THREADS": "8", "TF_NUM_INTEROP_THREADS": None}
    record.write_text(json.dumps(json.loads(record.read_text()) | {"threads": threads}))
    write_pages(out)
    assert "; jobs 2, processors 16, OMP_NUM_THREADS 8 <span" in (out / "index.html").read_text()
    for path in (out / "records").glob("*.json"):  # an earlier version did not write them
        path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "threads"}))
    write_pages(out)
    assert "<dt>Threads" not in (out / "index.html").read_text()


def test_text_is_escaped(out):
    assert "&lt;i&gt;why&lt;/i&gt;" in (out / "index.html").read_text()
    assert "Is 10_a &lt;so&gt;?" in (out / "index.html").read_text()
    assert "<script>alert" not in (out / "10_a.html").read_text()


def test_pages_load_nothing_from_outside(out):
    for page in out.glob("*.html"):
        loads = re.findall(r'(?:src|href)="(?!#)([^"]+)"|@import|url\(([^)]*)\)', page.read_text())
        assert not [a or b for a, b in loads if "//" in (a or b)]


def test_notebook_pages_link_to_each_other(out):
    assert 'href="20_b.html"' in (out / "10_a.html").read_text()
    assert "← the run" in (out / "10_a.html").read_text()


def test_pages_of_a_run_without_records_are_built_from_what_is_there(out, tmp_path):
    shutil.rmtree(out / "records")
    for page in out.glob("*.html"):
        page.unlink()
    site = tmp_path / "site"
    assert write_pages(out, site) == site / "index.html"
    index = (site / "index.html").read_text()
    assert re.search(r'class="verdict not-reproduced">not reproduced<', index)
    assert 'href="10_a.html"' in index
    assert "minutes of notebooks" not in index
    assert "ZeroDivisionError" in index
    assert "alert(1)" in (site / "10_a.html").read_text()
    assert (site / "figures/10_a.seed0.curve.png").read_bytes() == b"png"
    assert not list(out.glob("*.html"))


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no run: expected executed notebooks"):
        write_pages(tmp_path)


def test_formulas_become_mathml_and_code_stays():
    page = with_formulas(
        "Let $x_1$ be, as in `$HOME`,\n\n$$\\frac{a}{b}$$\n\n```text\n$5 and $6\n```\nfor 3 \\$."
    )
    assert page.startswith(
        'Let <math xmlns="http://www.w3.org/1998/Math/MathML" display="inline"><mrow><msub>'
    )
    assert "<mfrac><mi>a</mi><mi>b</mi></mfrac>" in page.replace("<mrow>", "").replace("</mrow>", "")
    for code in ("`$HOME`", "$5 and $6", "3 \\$."):
        assert code in page


def test_formulas_of_all_notebooks_are_understood():
    for path in (plan.project_dir() / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "markdown":
                for formula in re.findall(r"<math.*?</math>", with_formulas("".join(cell["source"]))):
                    assert "\\" not in formula, (path.name, formula)
                assert "$$" not in re.sub(r"```.*?```|`[^`]*`", "", with_formulas("".join(cell["source"])))


def test_solutions_are_folded_and_notebooks_have_a_picture(out):
    notebook = json.loads((out / "10_a.ipynb").read_text())
    notebook["cells"][-1]["metadata"]["tags"] = ["solution"]
    (out / "10_a.ipynb").write_text(json.dumps(notebook))
    write_pages(out)
    assert '<details class="solution"><summary>Solution</summary>' in (out / "10_a.html").read_text()
    card = re.search(
        r'<a class="card" href="10_a.html">(.*?)</a>', (out / "index.html").read_text(), re.DOTALL
    )
    assert 'src="figures/10_a.seed0.curve.png"' in card[1]


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "[]",
        "{}",
        '{"cells": 5}',
        '{"nbformat": 4, "metadata": {}, "cells": [5]}',
        '{"nbformat": 3, "metadata": {}, "worksheets": []}',
        '{"nbformat": 9, "nbformat_minor": 0, "metadata": {}, "cells": []}',
        '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": '
        '[{"id": "a", "cell_type": "markdown", "metadata": {}, "source": null}]}',
        b"\x80\x81",
    ],
)
@pytest.mark.parametrize("has_records", [True, False])
def test_a_damaged_notebook_gets_no_page_and_the_others_do(out, damage, has_records):
    (out / "10_a.html").unlink()
    (out / "20_b.html").unlink()
    (out / "10_a.ipynb").write_bytes(damage if isinstance(damage, bytes) else damage.encode())
    if not has_records:
        shutil.rmtree(out / "records")
    with pytest.warns(UserWarning, match=r"10_a.ipynb is no executed notebook, or not all of it"):
        write_pages(out)
    assert not (out / "10_a.html").exists()
    assert (out / "20_b.html").is_file()
    assert "20_b" in (out / "index.html").read_text()


@pytest.mark.parametrize("text", ["[1]", "5", "{}", '{"title": 3, "alt": ""}', "{"])
def test_a_figure_without_its_words_is_called_by_its_file(out, text):
    (out / "figures" / "10_a.seed0.curve.json").write_text(text)
    write_pages(out)
    assert "10_a.seed0.curve</figcaption>" in (out / "index.html").read_text().replace("\n", "")


@pytest.mark.parametrize("field", ["parameters", "seconds", "notebook", "preset", "status"])
def test_a_record_of_another_form_is_left_out(out, field):
    path = out / "records" / "10_a.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: [1]}))
    write_pages(out)
    page = (out / "index.html").read_text()
    assert "20_b.html" in page
    assert "10_a.html" not in page


def test_what_is_no_formula_stays_as_it_was_written():
    assert with_formulas(r"so $\frac{1}{$ and $x$").startswith(r"so $\frac{1}{$ and <math")
    assert with_formulas(r"$$\left( x$$") == r"$$\left( x$$"
