"""Table 1: on a small network, by passes, never by the clock."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from cnninte_utils import claims
from cnninte_utils.methods import attribution
from cnninte_utils.methods.attribution import selectors, shapley
from cnninte_utils.methods.evaluation.cost import Meter
from cnninte_utils.networks import builders, targets
from cnninte_utils.papers import survey_table
from cnninte_utils.papers.survey_table import Explainer

IMAGES = np.random.default_rng(0).random((3, 12, 12, 1), np.float32)
CLASSES = np.array([1, 5, 0])
WEIGHTS = np.random.default_rng(1).standard_normal((144, 10))


def predict(images):
    return softmax(np.asarray(images).reshape(len(images), -1) @ WEIGHTS, axis=1)


def few(model):
    return selectors.fit(model, IMAGES, n_selected=3, patches=4, epochs=1)


EXPLAINERS = {
    "SHAP": Explainer(lambda m, x, t: shapley.kernel_shap(m, x, t, patches=4, n_samples=200)),
    "Integrated gradients": Explainer(lambda m, x, t: attribution.integrated_gradients(m, x, t, steps=8)),
    "DeepLIFT": Explainer(attribution.deeplift),
    "LRP": Explainer(lambda m, x, t: attribution.lrp(m, x, t, rule="epsilon", bias="drop"), "score"),
    "L2X": Explainer(lambda m, x, t, s: selectors.l2x(m, x, t, selector=s), "nothing", few),
}


@pytest.fixture(scope="module")
def measured():
    meter = Meter(builders.mnist_cnn((12, 12, 1)))
    options = {"patches": 4, "near": (1, 2), "far": (5, 11), "n_sets": 30}
    return survey_table.measure(EXPLAINERS, meter, IMAGES, CLASSES, predict, **options)


def test_passes_fit_and_what_runs_on_predict_alone(measured):
    assert measured["forward"].astype(float).round().tolist() == pytest.approx([202, 8, 2, 1, 0], abs=3)
    assert measured["backward"].tolist() == [0, 8, 1, 1, 0]
    assert (measured["fit_seconds"] > 0).tolist() == [False, False, False, False, True]
    assert measured["on_predict"].tolist() == [True, False, False, False, True]


def test_what_adds_up(measured):
    residual = measured["residual"].astype(float)
    assert residual["SHAP"] < 1e-4
    assert residual["DeepLIFT"] < 1e-4
    assert residual["LRP"] < 1e-2
    assert np.isnan(residual["L2X"])
    assert measured.loc["SHAP", "far_fit"] > measured.loc["L2X", "far_fit"]


def test_words_follow_from_numbers(measured):
    words = survey_table.answers(measured)
    assert words["train"].tolist() == ["no", "no", "no", "no", "yes"]
    assert words["agnostic"].tolist() == ["yes", "no", "no", "no", "yes"]
    assert words["efficiency"].tolist() == ["low", "low", "high", "high", "high"]  # two of five
    by_hand = measured.assign(near_fit=[0.5, 0.49, 0.9, -3, np.nan])
    assert survey_table.answers(by_hand)["locality"].tolist() == ["yes", "no", "yes", "no", "no"]


def test_the_survey_has_six_methods_and_four_columns():
    assert isinstance(survey_table.SURVEY, pd.DataFrame)
    assert survey_table.SURVEY.shape == (6, 4)
    assert survey_table.SURVEY.loc["Integrated gradients"].tolist() == ["no", "high", "no", "yes"]


def test_an_error_of_another_kind_is_not_taken_for_a_no():
    def broken(model, images, targets):
        raise ValueError("something else")

    with pytest.raises(ValueError, match="something else"):
        survey_table.runs_on(Explainer(broken), predict, IMAGES, CLASSES)
    with pytest.raises(ValueError, match="unknown sums"):
        Explainer(broken, "all")


def test_the_six_give_maps_and_what_is_found_of_them_has_a_claim_each():
    images = np.random.default_rng(0).random((2, 16, 16, 1), np.float32)
    six = survey_table.explainers(n_samples=200, ig_steps=2, fit=few)
    assert list(six) == list(survey_table.SURVEY.index)
    model = builders.mnist_cnn((16, 16, 1))
    lime = six["LIME"].explain(model, images, CLASSES[:2])
    assert lime.shape == (2, 16, 16, 1)
    assert len(np.unique(lime[0])) <= 64
    for name in ("SHAP", "DeepLIFT"):
        change = six[name].explain(model, images, CLASSES[:2]).sum(axis=(1, 2, 3))
        black = targets.scores(model, 0 * images, CLASSES[:2])
        np.testing.assert_allclose(change, targets.scores(model, images, CLASSES[:2]) - black, atol=1e-3)


def test_claims_of_the_rows_are_known_and_costs_are_compared():
    rows = pd.DataFrame(
        {"forward": [501, 2, 1, 502, 32, 0], "backward": [0, 1, 1, 0, 32, 0]}, index=survey_table.SURVEY.index
    )
    found = survey_table.as_claims(rows, survey_table.SURVEY)
    assert set(found) <= set(claims.catalogue())
    assert all(found[name] == claims.catalogue()[name].value for name in found)
    dear = rows.assign(backward=[0, 1, 1, 0, 600, 0])
    assert not survey_table.as_claims(dear, survey_table.SURVEY)["survey.table1.efficiency"]
