"""pyproject.toml, requirements.lock and environment.yml name the same things; the wheel holds them all."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ENVIRONMENT_TEXT = (ROOT / "environment.yml").read_text()


def declared():
    extras = PYPROJECT["project"]["optional-dependencies"]["test"]
    return {
        canonicalize_name(r.name): r for r in map(Requirement, PYPROJECT["project"]["dependencies"] + extras)
    }


def locked():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def environment():
    dependencies = yaml.safe_load(ENVIRONMENT_TEXT)["dependencies"]
    pip_lines = next(d["pip"] for d in dependencies if isinstance(d, dict))
    from_pip = [Requirement(line) for line in pip_lines if not line.startswith("--editable")]
    names = {"matplotlib-base": "matplotlib"}
    conda = {}
    for line in dependencies:
        if isinstance(line, str):
            requirement = Requirement(line.replace(" ", ""))
            conda[names.get(requirement.name, requirement.name)] = requirement.specifier
    return conda, {r.name: r.specifier for r in from_pip}


def test_every_declared_package_is_locked_at_a_version_it_allows():
    pins = {}
    for pin in locked():
        pins.setdefault(canonicalize_name(pin.name), []).append(next(iter(pin.specifier)).version)
    for name, requirement in declared().items():
        assert all(requirement.specifier.contains(v) for v in pins[name]), name


def test_lock_is_exact_and_names_no_registry():
    assert all([s.operator for s in pin.specifier] == ["=="] for pin in locked())
    assert not re.search(r"://|--(extra-)?index-url", (ROOT / "requirements.lock").read_text())


def test_torch_stays_out():
    assert not {"torch", "jax"} & {canonicalize_name(pin.name) for pin in locked()}


def test_installed_versions_are_the_locked_ones():
    for pin in locked():
        if pin.marker is None or pin.marker.evaluate():
            assert pin.specifier.contains(version(pin.name)), pin.name


def test_environment_names_the_same_packages_with_the_same_bounds():
    conda, from_pip = environment()
    together = {canonicalize_name(n): s for n, s in (conda | from_pip).items()}
    assert together.pop("python") == PYPROJECT["project"]["requires-python"]
    together.pop("pip")
    assert together == {name: requirement.specifier for name, requirement in declared().items()}
    assert set(from_pip) >= {"tensorflow", "keras"}


def test_every_dependency_of_the_environment_has_a_comment():
    lines = ENVIRONMENT_TEXT.split("dependencies:")[1].splitlines()
    items = [line for line in lines if line.strip().startswith("-") and not line.strip().endswith("pip:")]
    assert not [line for line in items if "#" not in line]


@pytest.mark.parametrize("name", ["CITATION.cff", "notebooks/series.yaml"])
def test_yaml_files_are_yaml(name):
    assert yaml.safe_load((ROOT / name).read_text())


def test_version_is_the_same_everywhere():
    import cnninte_utils

    assert cnninte_utils.__version__ == PYPROJECT["project"]["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == PYPROJECT["project"]["version"]
    assert f"## {PYPROJECT['project']['version']}" in (ROOT / "CHANGES.md").read_text()


def test_wheel_holds_every_module_and_data_file(tmp_path):
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    package = shutil.copytree(ROOT / "cnninte_utils", tmp_path / "cnninte_utils", ignore=ignore)
    build = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", "out", "."]
    subprocess.run([sys.executable, *build], cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "out").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    files = {p.relative_to(package) for p in package.rglob("*") if p.is_file()}
    installed = tmp_path / "installed" / "cnninte_utils"
    assert files == {p.relative_to(installed) for p in installed.rglob("*") if p.is_file()}
    modules = [".".join(("cnninte_utils", *p.with_suffix("").parts)) for p in files if p.suffix == ".py"]
    code = (
        "import importlib, sys; sys.path.insert(0, sys.argv[1]); "
        "found = [importlib.import_module(m.removesuffix('.__init__')) for m in sys.argv[2:]]; "
        "assert all(m.__file__.startswith(sys.argv[1]) for m in found)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "installed"), *modules]
    done = subprocess.run(command, cwd=tmp_path / "out", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
