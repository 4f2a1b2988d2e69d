import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from project import STAND_IN, make_project, printed, runs_of

from cnninte_utils.networks import pretraining
from cnninte_utils.series import run
from cnninte_utils.series.cli import main


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(make_project(tmp_path / "project"))
    return tmp_path / "project"


@pytest.fixture
def fast(monkeypatch):
    """Let notebooks be executed without a kernel."""
    monkeypatch.setattr(run, "run", partial(run.run, command=STAND_IN))


def call(*arguments):
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


def test_list_shows_the_series(root):
    result = call("list")
    assert result.exit_code == 0
    assert "20_b" in result.stdout
    assert "needs 10_a" in result.stdout
    assert "quick 0.1 · standard 1 · paper 2" in result.stdout


def test_run_tells_what_it_does_and_where_the_page_is(root, fast):
    result = call("run", "10", "20", "--seeds", "0,1")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "running 4 notebooks at quick → runs/quick"
    assert sum("done" in line for line in lines) == 4
    assert lines[-1] == "open runs/quick/index.html"
    assert (root / "runs/quick/index.html").is_file()
    again = call("run", "10", "20", "--seeds", "0,1")
    assert "nothing had to run" in again.stdout
    assert len(runs_of(root, "10_a")) == 2


def test_failure_shows_the_cell_and_exits_with_one(tmp_path, monkeypatch, fast):
    monkeypatch.chdir(make_project(tmp_path, {"10_a": ["undefined_name"]}))
    result = call("run", "10", "20")
    assert result.exit_code == 1
    assert "FAILED  cell 3: NameError" in result.stdout
    assert "undefined_name\n→ NameError" in result.stderr
    assert len(runs_of(tmp_path, "20_b")) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "30"], "unknown notebook '30'"),
        (["run", "--preset", "fast"], "unknown preset 'fast'"),
        (["run", "-p", "m", "1"], "unknown parameter 'm'"),
        (["run", "-p", "n", "x"], "parameter n is 'x': its type is int"),
        (["run", "--seeds", "0;1"], "--seeds is '0;1'"),
        (["data", "status", "minst"], "unknown data set 'minst': choose from digits, toyworld, "),
        (["data", "fetch", "minst"], "unknown data set 'minst': choose from digits, toyworld, "),
    ],
)
def test_mistakes_are_one_line_and_nothing_starts(root, arguments, message):
    result = call(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (root / "runs").exists()


def test_params_are_yaml_for_papermill(root, tmp_path):
    result = call("params", "10", "--preset", "standard")
    assert yaml.safe_load(result.stdout) == {
        "n": 30, "rate": 0.5, "word": "a", "flag": False, "some": [1, 2], "seed": 0,
    }  # fmt: skip
    (tmp_path / "p.yaml").write_text(result.stdout)
    command = [
        sys.executable,
        "-m",
        "papermill",
        "10_a.ipynb",
        str(tmp_path / "out.ipynb"),
        "-f",
        str(tmp_path / "p.yaml"),
    ]
    subprocess.run(command, cwd=root / "notebooks", check=True, capture_output=True)
    assert runs_of(root, "10_a") == ["30 a 0"]


def test_sheets_have_no_solutions_and_no_outputs(root, fast):
    call("run", "10")
    call("refresh", "10")
    assert "the solution" in printed(root / "notebooks/10_a.ipynb")
    assert call("sheets").exit_code == 0
    sheet = (root / "sheets/10_a.ipynb").read_text()
    assert "solution" not in sheet
    assert printed(root / "sheets/10_a.ipynb") == ""
    assert "the solution" in printed(root / "notebooks/10_a.ipynb")


def test_refresh_needs_a_finished_run(root):
    assert "10_a has no finished run" in call("refresh", "10").stderr


def test_data_status_and_fetch(root):
    assert "digits          ready    embedded" in call("data", "status").stdout
    assert "broden_mini     absent   not in" in call("data", "status").stdout
    assert "`cnninte data status broden_mini` says how to get it\n" in call("data", "status").stdout
    assert max(map(len, call("data", "status").stdout.splitlines())) < 110
    advice = call("data", "status", "broden_mini").stdout
    assert advice.startswith("absent: not in ")
    assert "as broden_mini/broden_mini.tar.gz." in advice
    assert call("data", "status", "digits").stdout == "ready: embedded in scikit-learn\n"
    assert call("data", "fetch", "digits").stdout == "embedded in scikit-learn\n"
    assert call("data", "fetch", "toyworld_broden").stdout.endswith("toyworld_broden\n")


def test_clean_removes_runs_and_trained_networks(root, tmp_path, fast):
    call("run", "10")
    network = tmp_path / "cache/artifacts/network.keras"
    network.parent.mkdir(parents=True)
    network.touch()
    result = call("clean")
    assert "removed runs" in result.stdout
    assert not (root / "runs").exists()
    assert not network.exists()


def test_outside_a_project_it_uses_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "11_cnn_inte" in call("list").stdout


def test_list_imports_nothing_heavy(root):
    script = (
        "import sys; from cnninte_utils.series.cli import main\n"
        "try: main(['list'])\nexcept SystemExit: pass\n"
        "heavy = {'keras', 'tensorflow', 'matplotlib', 'sklearn', 'distributed', 'papermill'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_pretrain_says_where_the_weights_are_and_how_good(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = []

    def train(architecture, folder, *, is_full):
        asked.append((architecture, folder, is_full))
        return {"top1": 0.25, "top5": 0.5}

    monkeypatch.setattr(pretraining, "pretrain", train)
    result = call("pretrain", "vgg19", "--out", "there")
    assert asked == [("vgg19", Path("there"), False)]
    assert result.stdout == "there/vgg19.npz: test accuracy 25.0%, 50.0% among the first five\n"
    assert call("pretrain", "vgg19", "--full").stdout.startswith("weights/vgg19_tiny_imagenet.npz: test ")
    assert asked[1] == ("vgg19", Path("weights"), True)
    assert "'alexnet', 'vgg19'" in call("pretrain", "resnet").stderr


def test_pages_are_built_where_one_wants_them(root, tmp_path, fast):
    call("run", "10")
    result = call("pages", "runs/quick", "--out", str(tmp_path / "site"))
    assert result.stdout == f"open {tmp_path}/site/index.html\n"
    assert (tmp_path / "site/10_a.html").is_file()
    assert "does not exist" in call("pages", "nowhere").stderr


def test_folders_that_cannot_be_are_one_sentence(root, fast, tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for out in ("x" * 300, str(loop), str(tmp_path / "a" / ("y" * 300)), "/proc/nothing"):
        result = call("run", "10", "--out", out)
        assert result.exit_code == 2, out
        assert re.fullmatch(r"Error: .+\n", result.stderr), result.stderr


@pytest.mark.parametrize("variable", ["CNNINTE_CACHE", "CNNINTE_DATA"])
def test_folders_of_the_environment_that_cannot_be_are_one_sentence(root, tmp_path, monkeypatch, variable):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for folder in (str(loop), "~nobody-of-this-name/x"):
        monkeypatch.setenv(variable, folder)
        result = call("data", "fetch", "mnist")
        assert result.exit_code == 2
        assert re.fullmatch(rf"Error: \${variable} is '.+', which names no folder .+\n", result.stderr)


def test_seeds_out_of_range_are_one_sentence(root, fast):
    result = call("run", "10", "--seeds=-1")
    assert result.exit_code == 2
    assert result.stderr == "Error: seed is -1: expected a whole number from 0 to 4,294,967,295\n"


def test_refresh_wants_a_record_of_the_right_form(root, fast):
    call("run", "10")
    record = root / "runs/quick/records/10_a.json"
    record.write_text("[1]")
    result = call("refresh", "10")
    assert (result.exit_code, result.stderr) == (
        2,
        "Error: 10_a has no finished run in runs/quick: run it first\n",
    )


@pytest.mark.parametrize("backend", ["torch_of_no_version", "nonsense", "no.such.module"])
def test_a_backend_that_is_not_there_is_one_sentence(root, monkeypatch, backend):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    result = call("run", "10")
    assert result.exit_code == 2
    assert result.stderr == (
        f"Error: $KERAS_BACKEND is '{backend}', which is not installed: install it, or unset it\n"
    )
