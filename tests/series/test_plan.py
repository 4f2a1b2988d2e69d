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
