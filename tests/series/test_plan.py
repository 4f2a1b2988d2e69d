import pytest
from project import make_project, plan

from cnninte_utils.series.plan import SeriesError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"overrides": {"m": "1"}},
            r"unknown parameter 'm': the selected notebooks have flag, n, rate, seed",
        ),
        ({"overrides": {"n": "many"}}, "parameter n is 'many': its type is int"),
        ({"overrides": {"n": "1.5"}}, "parameter n is '1.5': its type is int"),
        ({"overrides": {"flag": "3"}}, "parameter flag is '3': its type is bool"),
        ({"overrides": {"rate": "true"}}, "parameter rate is 'true': its type is float"),
        ({"preset": "fast"}, "unknown preset 'fast': choose from quick, standard, paper"),
        ({"preset": "paper"}, "preset paper gives 10_a the unknown parameter 'm': it has n, rate"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(tmp_path, options, message):
    root = make_project(tmp_path)
    with pytest.raises(SeriesError, match=message):
        plan(root, **options)
    assert not (root / "runs").exists()


def test_unknown_notebook_is_refused_naming_the_known(tmp_path):
    with pytest.raises(SeriesError, match="unknown notebook '30': choose from 10_a, 20_b, 90_z"):
        plan(make_project(tmp_path), "30")


def test_values_are_read_by_their_declared_type(tmp_path):
    given = {"n": "7", "rate": "2", "word": "12", "flag": "true", "some": "[3]"}
    (task,) = plan(make_project(tmp_path), "10_a.ipynb", overrides=given)
    assert task.parameters == {"n": 7, "rate": 2.0, "word": "12", "flag": True, "some": [3]}
    assert isinstance(task.parameters["rate"], float)


def test_presets_are_parameters(tmp_path):
    root = make_project(tmp_path)
    assert [t.parameters for t in plan(root, preset="standard")] == [{"n": 30}, {}, {}]
    assert [t.parameters for t in plan(root)] == [{}, {}, {}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[1]]", r"parameter some is '\[\[1\]\]': its type is list\[int\]"),
        ("['a', 1]", "parameter some is"),
        ("{[]: 1}", "parameter some is"),
        ("-" * 10_000 + "1", "parameter some is"),
        ("3", r"its type is list\[int\]"),
    ],
)
def test_what_is_in_a_list_has_its_declared_type(tmp_path, text, message):
    with pytest.raises(SeriesError, match=message):
        plan(make_project(tmp_path), overrides={"some": text})


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_that_no_generator_takes_are_refused(tmp_path, seed):
    root = make_project(tmp_path)
    with pytest.raises(
        SeriesError, match=rf"seed is {seed}: expected a whole number from 0 to 4,294,967,295"
    ):
        plan(root, overrides={"seed": str(seed)})
    with pytest.raises(SeriesError, match="expected a whole number from 0"):
        plan(root, seeds=[0, seed])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("series.yaml", "- file: [x", "series.yaml cannot be read"),
        ("series.yaml", "", "series.yaml has not the form"),
        ("series.yaml", "[1, 2]", "series.yaml has not the form"),
        ("presets/standard.yaml", "a: [1", "standard.yaml cannot be read"),
        ("presets/standard.yaml", "[10_a]", "standard.yaml has not the form"),
        ("presets/standard.yaml", "10_a: 5", "preset standard gives 10_a no parameters, but 5"),
        ("presets/standard.yaml", None, "standard.yaml cannot be read"),
        ("10_a.ipynb", '{"cells": [', "10_a.ipynb is absent, or no notebook"),
        ("10_a.ipynb", "[]", "10_a.ipynb is absent, or no notebook"),
        ("10_a.ipynb", None, "10_a.ipynb is absent, or no notebook"),
        ("10_a.ipynb", "<<<<<<< HEAD\n{}", "10_a.ipynb is absent, or no notebook"),
    ],
)
def test_damaged_files_of_the_project_are_one_sentence(tmp_path, name, content, message):
    root = make_project(tmp_path)
    path = root / "notebooks" / name
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(SeriesError, match=message):
        plan(root, preset="standard")


def test_a_parameter_that_is_not_written_out_is_refused(tmp_path):
    root = make_project(tmp_path)
    path = root / "notebooks" / "10_a.ipynb"
    path.write_text(path.read_text().replace("n: int = 3", "n: int = 3 + 4"))
    assert "3 + 4" in path.read_text()
    with pytest.raises(SeriesError, match=r"a parameter of .*10_a.ipynb is not written out as a value"):
        plan(root)
