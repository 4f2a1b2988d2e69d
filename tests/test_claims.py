import json
import subprocess
import sys

import numpy as np
import pytest

from cnninte_utils import claims
from cnninte_utils.claims import Claim, judge, load, report, scoreboard
from cnninte_utils.runs import Run

ACCURACY, ORDER, IDS = "cnn_inte.cnn_accuracy", "cnn_inte.keeps_accuracy", "cnn_inte.toy_ids"
ON_MNIST = Run("10_x", "standard", "mnist", 0)


def test_catalogue_has_every_id_that_users_know():
    ids = set(claims.catalogue())
    known = {ACCURACY, "cnn_inte.meta_accuracy", IDS, "qdv.accuracy.alexnet", "qdv.accuracy.vgg19"}
    known |= {f"qdv.nh.{n}.{i}" for n in ("alexnet", "vgg19") for i in range(1, 6)}
    known |= {
        f"qdv.order.{name}"
        for name in (
            "first_two_comparable",
            "vgg19_ahead_from_third",
            "largest_gap_last",
            "nh_ranks_as_accuracy",
        )
    }
    for data in ("places365", "places50_1", "places50_2"):
        for model in ("alexnet", "alexnet_b"):
            known |= {f"block_norm.detectors.{data}.{model}.{r}" for r in ("weight_decay", "block_norm")}
            known.add(f"block_norm.gain.{data}.{model}")
    assert known <= ids


def test_catalogue_is_consistent():
    for claim in claims.catalogue().values():
        assert claim.kind in ("value", "ordering", "exact")
        assert (claim.tolerance is not None) == (claim.kind == "value")
        assert claim.kind != "ordering" or claim.value is True
    assert claims.catalogue()["qdv.nh.vgg19.5"].value == 0.80
    assert claims.catalogue()["block_norm.detectors.places365.alexnet.block_norm"].value == 187


VALUE = Claim("x", "A", "", "", "value", 0.9, 0.02, "mnist")


@pytest.mark.parametrize(
    ("here", "verdict"),
    [
        (0.92, "reproduced"),
        (0.9201, "not reproduced"),
        (0.8799, "not reproduced"),
        ({"mean": 0.91, "sd": 0.5, "n": 3}, "reproduced"),
        (None, "not comparable"),
    ],
)
def test_value_is_judged_by_its_distance(here, verdict):
    assert judge(VALUE, here, dataset="mnist")[0] == verdict


def test_other_data_and_reduced_scale_are_not_comparable_however_near():
    assert judge(VALUE, 0.9, dataset="digits") == (
        "not comparable",
        "other data: digits, the paper's is mnist",
    )
    assert judge(VALUE, 0.9, dataset="mnist", reduced="5 of 10 steps")[1] == "reduced scale: 5 of 10 steps"


def test_orderings_at_a_reduced_scale_have_a_direction():
    order, reduced = Claim("x", "A", "", "", "ordering", True, dataset="mnist"), "5 of 10 steps"
    judged = [judge(order, v, dataset="mnist", reduced=reduced) for v in (True, False)]
    assert [verdict for verdict, _ in judged] == ["same direction", "other direction"]
    assert {reason for _, reason in judged} == {"reduced scale: 5 of 10 steps"}
    assert judge(order, True, dataset="digits", reduced=reduced)[0] == "not comparable"


def test_a_part_of_the_papers_collection_is_a_reduced_scale():
    order = Claim("x", "C", "", "", "ordering", True, dataset="places50_1")
    verdict, reason = judge(order, True, dataset="miniplaces50_1", reduced="20 of 90 epochs")
    assert verdict == "same direction"
    assert reason == "reduced scale: miniplaces50_1, of the same collection as places50_1, 20 of 90 epochs"
    assert judge(order, True, dataset="miniplaces50_1")[0] == "same direction", "never reproduced"
    assert judge(order, True, dataset="miniplaces50_2")[0] == "not comparable", "the other half"


def test_one_seed_in_the_other_direction_turns_the_board():
    def finding(here, verdict, seed):
        return claims.Finding(
            ORDER, True, here, verdict, "reduced scale: x", "22", "cifar10", "standard", seed
        )

    rows = [finding(True, "same direction", 0), finding(False, "other direction", 1)]
    assert scoreboard(rows[:1]).loc[ORDER, ["here", "verdict"]].tolist() == ["yes", "same direction"]
    assert scoreboard(rows).loc[ORDER, ["here", "verdict"]].tolist() == ["no", "other direction"]


def test_ordering_and_exact():
    order, exact = Claim("x", "A", "", "", "ordering", True), Claim("x", "A", "", "", "exact", [1, 2])
    assert [judge(order, v, dataset="")[0] for v in (True, False)] == ["reproduced", "not reproduced"]
    assert [judge(exact, v, dataset="")[0] for v in ([1, 2], [2, 1])] == ["reproduced", "not reproduced"]


def test_toy_claims_hold_at_any_scale(tmp_path):
    value = claims.catalogue()[IDS].value
    table = report({IDS: np.array(value)}, Run("11_x", "quick", "digits", 0, reduced="small"))
    assert table.frame.verdict.tolist() == ["reproduced"]


def test_report_writes_and_replaces_rows_of_the_same_notebook_and_seed():
    report({ACCURACY: np.float64(0.94), ORDER: np.bool_(True)}, ON_MNIST)
    report({ACCURACY: 0.5}, ON_MNIST, {ACCURACY: "because"})
    report({ACCURACY: 0.93}, Run("10_x", "standard", "mnist", 1))
    rows = load(ON_MNIST.folder)
    assert [(r.id, r.seed, r.here, r.verdict) for r in rows] == [
        (ACCURACY, 0, 0.5, "not reproduced"),
        (ACCURACY, 1, 0.93, "reproduced"),
        (ORDER, 0, True, "reproduced"),
    ]
    assert rows[0].reason.endswith("; because")
    raw = json.loads((ON_MNIST.folder / "claims.json").read_text())
    assert set(raw[0]) == {
        "id",
        "paper",
        "here",
        "verdict",
        "reason",
        "notebook",
        "dataset",
        "preset",
        "seed",
    }


def test_unknown_id_is_refused_and_nothing_written():
    with pytest.raises(KeyError, match=r"no claim \['cnn_inte.acuracy'\]"):
        report({ACCURACY: 0.9, "cnn_inte.acuracy": 0.9}, ON_MNIST)
    assert load(ON_MNIST.folder) == []


def test_tuples_and_arrays_are_lists():
    value = claims.catalogue()[IDS].value
    for same in (tuple(map(tuple, value)), np.array(value), [np.array(row) for row in value]):
        report({IDS: same}, ON_MNIST)
        assert load(ON_MNIST.folder)[0].here == value


def test_nan_becomes_null_and_not_comparable():
    report({ACCURACY: float("nan")}, ON_MNIST)
    assert (load(ON_MNIST.folder)[0].here, load(ON_MNIST.folder)[0].verdict) == (None, "not comparable")


def test_two_processes_lose_no_row():
    script = (
        "import sys; from cnninte_utils.claims import report; from cnninte_utils.runs import Run\n"
        "for i in range(20): report({'cnn_inte.cnn_accuracy': 0.9}, Run('nb' + sys.argv[1], 'p', 'mnist', i))"
    )
    started = [subprocess.Popen([sys.executable, "-c", script, n]) for n in "ab"]
    assert [process.wait() for process in started] == [0, 0]
    assert len(load(ON_MNIST.folder)) == 40


def test_scoreboard_has_every_claim_and_pools_seeds():
    for seed, value in enumerate((0.92, 0.94, 0.96)):
        report({ACCURACY: value, ORDER: seed < 2}, Run("10_x", "standard", "mnist", seed))
    board = scoreboard(load(ON_MNIST.folder))
    assert list(board.index) == list(claims.catalogue())
    assert board.loc[ACCURACY, ["here", "verdict"]].tolist() == ["0.940 ± 0.020 (n=3)", "reproduced"]
    assert board.loc[ORDER, "verdict"] == "not reproduced"
    assert board.loc[ORDER, "reason"].startswith("holds with 2 of 3 seeds")
    assert board.loc["qdv.accuracy.vgg19", ["here", "verdict"]].tolist() == ["—", "not run"]


def test_of_two_notebooks_the_one_that_can_be_compared_decides():
    accuracy = "qdv.accuracy.alexnet"
    small, full = (
        Run("20_x", "standard", "cifar10", 0, reduced="small"),
        Run("23_x", "standard", "cifar10", 0),
    )
    report({accuracy: 0.6}, small)
    report({accuracy: 0.7}, Run("23_x", "standard", "cifar10", 0, reduced="5 of 10 epochs"))
    assert scoreboard(load(small.folder)).loc[accuracy, ["here", "verdict"]].tolist() == [
        "0.600",
        "not comparable",
    ]
    report({accuracy: 0.785}, full)
    assert scoreboard(load(small.folder)).loc[accuracy, ["here", "verdict"]].tolist() == [
        "0.785",
        "reproduced",
    ]


def test_table_is_readable_as_text_and_as_html():
    table = report({ACCURACY: 0.94}, ON_MNIST, {ACCURACY: "<b>"})
    assert "0.939" in str(table)
    assert "reproduced" in str(table)
    assert "test accuracy of the CNN on MNIST" in table._repr_html_()


def test_run_folder_without_the_variable_is_the_projects(tmp_path, monkeypatch):
    monkeypatch.delenv("CNNINTE_RUN_DIR")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "series.yaml").write_text("[]")
    monkeypatch.chdir(tmp_path / "notebooks")
    assert ON_MNIST.folder == tmp_path / "runs" / "standard"


@pytest.mark.parametrize(
    ("id", "value"),
    [
        (ACCURACY, float("inf")),
        (ACCURACY, "good"),
        (ACCURACY, {"mean": 0.9}),
        (ACCURACY, True),
        (ORDER, 0.5),
        (IDS, {"mean": "a"}),
    ],
)
def test_a_value_of_another_kind_is_refused_and_nothing_written(id, value):
    with pytest.raises(ValueError, match=f"{id} is a claim of the kind"):
        report({id: value}, ON_MNIST)
    assert load(ON_MNIST.folder) == []


@pytest.mark.parametrize(
    "change",
    [
        {"id": ["a"]},
        {"id": {}},
        {"here": {"sd": 1.0}},
        {"here": {"mean": "a", "sd": "b", "n": "c"}},
        {"dataset": None},
        {"dataset": ["mnist"]},
        {"preset": 5},
        {"seed": True},
        {"reason": None},
    ],
)
def test_rows_of_another_form_are_left_out_with_a_warning(change):
    report({ACCURACY: 0.9, ORDER: True}, ON_MNIST)
    path = ON_MNIST.folder / "claims.json"
    rows = json.loads(path.read_text())
    path.write_text(json.dumps([rows[0] | change, rows[1]]))
    with pytest.warns(UserWarning, match="1 of its entries are no claims of this version"):
        assert [r.id for r in load(ON_MNIST.folder)] == [ORDER]
