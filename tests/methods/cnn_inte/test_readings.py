import numpy as np

from cnninte_utils import datasets
from cnninte_utils.methods.cnn_inte.estimator import CNNINTE
from cnninte_utils.methods.cnn_inte.meta_learners import MetaTree
from cnninte_utils.methods.cnn_inte.readings import compare, scores


def test_each_reading_is_a_fit_of_its_own():
    data = datasets.load("digits")
    train, test = data.train.take(slice(150)), data.test.take(slice(60))
    hidden = train.floats().reshape(150, -1)[:, 200:260]
    base = CNNINTE(3, 4, meta_learner=MetaTree(3), n_trees=3, random_state=0)
    readings = {"as it is": ({}, hidden), "two factors": ({"n_factors": 2}, hidden)}
    table = compare(base, readings, train, test)
    assert table["factors"].tolist() == [3, 2]
    fitted = CNNINTE(3, 4, meta_learner=MetaTree(3), n_trees=3, random_state=0)
    fitted.fit(train.images, train.labels, hidden)
    assert table.loc["as it is", "ordered tree"] == np.mean(fitted.predict(test.images) == test.labels)
    nominal = MetaTree(3, splits="nominal").fit(fitted.ids_, train.labels)
    assert table.loc["as it is", "nominal tree"] == nominal.score(fitted.transform(test.images), test.labels)
    assert base.n_factors == 3
    assert not hasattr(base, "ids_")


def test_scores_have_a_row_for_each_model_and_a_column_for_each_source():
    ids, labels = np.array([[0], [0], [1], [1]]), np.array([0, 0, 1, 0])
    tree, stump = MetaTree(1).fit(ids, labels), MetaTree(1).fit(ids, np.zeros(4, dtype=int))
    table = scores(
        {"one": tree, "many": [stump, tree]}, {"train": (ids, labels), "first": (ids[:2], labels[:2])}
    )
    assert table["method"].tolist() == ["one", "many", "many"]
    assert table["train"].tolist() == [0.75] * 3
    assert table["first"].tolist() == [1.0] * 3
