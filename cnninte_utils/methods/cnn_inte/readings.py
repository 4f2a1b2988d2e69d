"""Other readings of paper A's text, and other layers, measured alike."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from ...datasets import Split
from .estimator import CNNINTE

__all__ = ["compare", "scores"]


def scores(models: Mapping[str, Any], sources: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> pd.DataFrame:
    """Return the accuracy of fitted meta-learners on IDs from several sources.

    Parameters
    ----------
    models : mapping
        Name → fitted meta-learner, or a list of them.
    sources : mapping
        Name → IDs (n, factors) and labels (n,).

    Returns
    -------
    DataFrame
        Column "method", and one for each source; a row for each model.
    """
    rows = []
    for method, fitted in models.items():
        for model in fitted if isinstance(fitted, list) else [fitted]:
            rows.append({"method": method} | {name: model.score(*pair) for name, pair in sources.items()})
    return pd.DataFrame(rows)


def compare(
    base: CNNINTE, readings: Mapping[str, tuple[dict[str, Any], np.ndarray]], train: Split, test: Split
) -> pd.DataFrame:
    """Fit one variant after the other on the same images and test it through its forests.

    Parameters
    ----------
    base : CNNINTE
        What all variants share, random state included; its meta-learner is a MetaTree. It is not changed.
    readings : mapping
        Name → parameters of CNNINTE that differ, and the activations (n, units) of the training images.
    train, test : Split

    Returns
    -------
    DataFrame
        A row for each reading: how many factors it has, and the test accuracies of an ordered and of a
        nominal tree on its IDs. Only the second does not depend on how the clusters happen to be numbered.
    """
    rows = {}
    for name, (options, activations) in readings.items():
        variant = clone(base).set_params(**options).fit(train.images, train.labels, activations)
        ids = variant.transform(test.images)
        row = {"factors": ids.shape[1]}
        for splits in ("ordered", "nominal"):
            tree = clone(variant.meta_learner_).set_params(splits=splits).fit(variant.ids_, variant.labels_)
            row[f"{splits} tree"] = tree.score(ids, test.labels)
        rows[name] = row
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("reading")
