import gc
import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from project import STAND_IN, make_project, plan, runs_of

import cnninte_utils
from cnninte_utils.series import plan as planning
from cnninte_utils.series import run as runner
from cnninte_utils.series.sources import imported_files

PACKAGE = Path(cnninte_utils.__file__).parent
FAST = {"tell": lambda line: None, "command": STAND_IN}


@pytest.fixture
def package(tmp_path):
    """A package in which a → b.c → d, inside a function, and e is nobody's."""
    files = {
        "__init__.py": "",
        "a.py": "from .b import c\n",
        "b/__init__.py": "from .names import one\n",
        "b/names.py": "one = 1\n",
        "b/c.py": "def late():\n    from ..d import deep\n",
        "d.py": "import json\n",
        "e.py": "",
        "by_name/__init__.py": "from importlib import import_module\nimport_module('.x', __package__)\n",
        "by_name/x.py": "from ..d import deep\n",
        "claims.yaml": "",
        "e.txt": "",
    }
    for name, text in files.items():
        path = tmp_path / "small" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "small"


def found(package, *cells):
    return {path.relative_to(package).as_posix() for path in imported_files(cells, package)}


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("from small import a", {"a.py", "b/__init__.py", "b/names.py", "b/c.py", "d.py"}),
        ("import small.d as d", {"d.py"}),
        ("if True:\n    from small.b import one", {"b/__init__.py", "b/names.py"}),
        ("from small import by_name", {"by_name/__init__.py", "by_name/x.py", "d.py"}),
        ("%matplotlib inline\nfrom small.e import nothing", {"e.py"}),
        ("%%time\nfiles = !ls\nfrom small.e import nothing", {"e.py"}),
        ("from small.e import nothing\nis_odd = (\n    3\n    % 2\n)", {"e.py"}),
        ("import json, smaller", None),
        ("this is no Python", None),
    ],
)
def test_by_hand(package, cell, expected):
    everywhere = {"claims.yaml"}  # data files count always
    expected = everywhere if expected is None else everywhere | {"__init__.py"} | expected
    assert found(package, "x = 1", cell) == expected


def test_of_the_real_package_no_more_than_is_imported():
    notebooks = {n.file[:2]: n.path for n in planning.load_series(planning.project_dir())}

    def files(number):
        cells = json.loads(notebooks[number].read_text())["cells"]
        return found(PACKAGE, *("".join(c["source"]) for c in cells if c["cell_type"] == "code"))

    assert {"methods/cnn_inte/estimator.py", "networks/training.py", "figures/series.mplstyle"} <= files("11")
    assert not [
        name for name in files("11") if name.startswith(("methods/dissection", "series/", "papers/q"))
    ]
    assert {"networks/parts.py", "papers/qdv.py"} <= files("20")  # parts by way of builders
    assert "methods/dissection/counting.py" in files("31")
    assert "datasets/toyworld/drawing.py" in files("20")  # loaded by name


@pytest.mark.parametrize(
    ("changed", "n_runs"), [("methods/dissection/counting.py", 1), ("networks/parts.py", 2), ("claims.py", 2)]
)
def test_only_what_rests_on_a_changed_module_runs_again(tmp_path, monkeypatch, changed, n_runs):
    copy = shutil.copytree(PACKAGE, tmp_path / "cnninte_utils")
    monkeypatch.setattr(runner, "_PACKAGE", copy)
    imports = "if False:\n    from cnninte_utils.networks import builders; from cnninte_utils import claims"
    root = make_project(tmp_path / "project", {"10_a": [imports]})
    runner.run(plan(root, "10"), **FAST)
    with (copy / changed).open("a") as stream:
        stream.write("# a comment\n")
    runner.run(plan(root, "10"), **FAST)
    assert len(runs_of(root, "10_a")) == n_runs


def test_two_threads_may_follow_imports_at_once():
    """Python 3.11.7 gives up if another thread parses while its collector runs in the middle of a parse."""
    wanted = imported_files(["import cnninte_utils.claims"], PACKAGE)
    threshold, let_others_run = gc.get_threshold(), lambda phase, info: time.sleep(0)
    gc.callbacks.append(let_others_run)
    gc.set_threshold(50)
    try:
        with ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(imported_files, ["import cnninte_utils.claims"], PACKAGE) for _ in range(4)]
            assert all(each.result() == wanted for each in asked)
    finally:
        gc.set_threshold(*threshold)
        gc.callbacks.remove(let_others_run)
