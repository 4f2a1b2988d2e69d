"""The survey's Table 1, which compares methods in words, and the same columns measured."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .. import checks
from ..methods import attribution, perturbation
from ..methods.attribution import selectors, shapley
from ..methods.evaluation.additivity import additivity
from ..methods.evaluation.cost import Meter
from ..methods.evaluation.faithfulness import completeness
from ..networks import targets as explained

__all__ = [
    "ENOUGH",
    "SUMS",
    "SURVEY",
    "Explainer",
    "answers",
    "as_claims",
    "explainers",
    "measure",
    "runs_on",
]

SURVEY = pd.DataFrame(
    {
        "LIME": ("no", "low", "yes", "yes"),
        "DeepLIFT": ("no", "high", "yes", "no"),
        "LRP": ("no", "high", "yes", "no"),
        "SHAP": ("no", "low", "yes", "yes"),
        "Integrated gradients": ("no", "high", "no", "yes"),
        "L2X": ("yes", "high", "no", "yes"),
    },
    index=["train", "efficiency", "locality", "agnostic"],
).T
"""Zhang et al. 2019, Table 1: whether it needs training; how quick one explanation is; whether it is locally
additive; whether it is for black boxes."""

SUMS = ("score", "difference", "nothing")
"""What all numbers of a map should add up to: f(x), f(x) - f(baseline); or nothing is promised."""

ENOUGH = 0.5
"""Of the falls near an image, the share of the variance that sums must explain to be called additive."""


@dataclass(frozen=True)
class Explainer:
    """A method as the table wants it.

    Parameters
    ----------
    explain : callable
        (model, images, targets) → maps; with `fit` also what was fitted, as a fourth argument.
    sums : {"score", "difference", "nothing"}
    fit : callable, optional
        (model) → whatever `explain` then needs.
    seconds : float, optional
        That `fit` took, if it was called before and remembers; by default it is timed.
    """

    explain: Callable[..., np.ndarray]
    sums: str = "difference"
    fit: Callable[[Any], Any] | None = None
    seconds: float | None = None

    def __post_init__(self):
        checks.choice("sums", self.sums, SUMS)


def explainers(
    *,
    n_samples: int,
    ig_steps: int,
    fit: Callable[[Any], selectors.Selector],
    fit_seconds: float | None = None,
    random_state: int = 0,
) -> dict[str, Explainer]:
    """Return the survey's six methods, all for a grey image of 8 × 8 patches or for its pixels.

    LIME weighs the patches, which share the weight among their pixels; it is asked about the logit, as the
    others are, and hides by black. LRP is that of the ε rule.

    Parameters
    ----------
    n_samples : int
        Of LIME and SHAP.
    ig_steps : int
        Of integrated gradients.
    fit : callable
        (model) → selector, for L2X.
    fit_seconds : float, optional
        That `fit` took, if it remembers what it fitted.
    random_state : int
    """

    def lime(model, images, targets):
        options = {"segmentation": "grid", "baseline": 0.0, "output": "logit", "random_state": random_state}
        weights = perturbation.lime_map(model, images, targets, n_samples=n_samples, **options)
        numbers = shapley.patch_numbers(*images.shape[1:3], 8)
        return weights / np.bincount(numbers.ravel())[numbers][..., None]

    def shap(model, images, targets):
        options = {"patches": 8, "n_samples": n_samples, "random_state": random_state}
        return shapley.kernel_shap(model, images, targets, **options)

    return {
        "LIME": Explainer(lime),
        "DeepLIFT": Explainer(attribution.deeplift),
        "LRP": Explainer(lambda *what: attribution.lrp(*what, rule="epsilon"), "score"),
        "SHAP": Explainer(shap),
        "Integrated gradients": Explainer(
            lambda *what: attribution.integrated_gradients(*what, steps=ig_steps)
        ),
        "L2X": Explainer(
            lambda *what: selectors.l2x(*what[:3], selector=what[3]), "nothing", fit, fit_seconds
        ),
    }


def measure(
    explainers: Mapping[str, Explainer],
    meter: Meter,
    images: np.ndarray,
    targets: np.ndarray,
    predict: Callable[[np.ndarray], np.ndarray],
    *,
    patches: int = 8,
    near: tuple[int, int] = (1, 6),
    far: tuple[int, int] = (20, 45),
    n_sets: int = 100,
    random_state: int = 0,
) -> pd.DataFrame:
    """Measure every column of the survey's table, on a network and on a classifier that can only predict.

    Parameters
    ----------
    explainers : mapping of str to Explainer
    meter : Meter
        Of the network; whoever caches what was fitted finds it under ``meter.model``.
    images : float array of shape (n, height, width, channels), in [0, 1]
    targets : int array of shape (n,)
    predict : callable
        (n, height, width, channels) → (n, classes): a classifier that is no network.
    patches, n_sets, random_state
        Of :func:`cnninte_utils.methods.evaluation.additivity.additivity`.
    near, far : (int, int)
        Patches that are hidden, the fewest and the most.

    Returns
    -------
    DataFrame
        A row for each explainer: "fit_seconds" · "ms" · "forward" · "backward" (passes an image) · "residual"
        (median; NaN where nothing is promised) · "near_r" · "near_fit" · "far_r" · "far_fit" (medians over
        images) · "on_predict" (whether it explained `predict`).
    """
    model, rows = meter.model, {}
    score = explained.scores(model, images, targets)
    black = explained.scores(model, explained.baselines(model, images), targets)
    for name, explainer in explainers.items():
        started = time.perf_counter()
        fitted = () if explainer.fit is None else (explainer.fit(model),)
        seconds = time.perf_counter() - started if explainer.seconds is None else explainer.seconds
        row = {"fit_seconds": seconds if fitted else 0.0}

        def explain(network, x, explainer=explainer, fitted=fitted):
            return explainer.explain(network, x, targets[: len(x)], *fitted)

        maps, cost = meter.measure(explain, images)
        row |= {"ms": cost.milliseconds, "forward": cost.forward, "backward": cost.backward}
        expected = {"score": score, "difference": score - black}.get(explainer.sums)
        row["residual"] = np.nan if expected is None else np.median(completeness(maps, expected))
        for place, n_hidden in {"near": near, "far": far}.items():
            options = {"patches": patches, "n_hidden": n_hidden, "n_sets": n_sets}
            found = additivity(model, images, targets, maps, **options, random_state=random_state)
            row[f"{place}_r"], row[f"{place}_fit"] = np.nanmedian(found.correlation), np.nanmedian(found.fit)
        rows[name] = row | {"on_predict": runs_on(explainer, predict, images[:1], targets[:1])}
    return pd.DataFrame(rows).T


def runs_on(explainer: Explainer, predict: Callable, images: np.ndarray, targets: np.ndarray) -> bool:
    """Tell whether a method explains a classifier that can do nothing but predict, by trying.

    Returns
    -------
    bool
        False if it asks for what only a network has; True if finite maps come back.
    """
    try:
        fitted = () if explainer.fit is None else (explainer.fit(predict),)
        maps = explainer.explain(predict, images, targets, *fitted)
    except (AttributeError, TypeError):  # no keras.Model, or what only one has
        return False
    return bool(np.isfinite(maps).all())


def answers(measured: pd.DataFrame, *, enough: float = ENOUGH) -> pd.DataFrame:
    """Put measured numbers into the survey's words.

    Parameters
    ----------
    measured : DataFrame
        Of :func:`measure`.
    enough : float
        The least "near_fit" of a method that is called locally additive.

    Returns
    -------
    DataFrame
        Rows as `measured`, columns as :data:`SURVEY`. Efficiency is "low" for the third of the methods with
        the most passes: the survey calls two of its six so.
    """
    passes = (measured["forward"] + measured["backward"]).astype(float)
    n_low = round(len(passes) / 3)
    found = {
        "train": measured["fit_seconds"].astype(float) > 0,
        "efficiency": passes.rank(ascending=False, method="first") > n_low,
        "locality": measured["near_fit"].astype(float) >= enough,
        "agnostic": measured["on_predict"].astype(bool),
    }
    words = {name: ("high", "low") if name == "efficiency" else ("yes", "no") for name in found}
    return pd.DataFrame({name: np.where(found[name], *words[name]) for name in found}, index=measured.index)


def as_claims(measured: pd.DataFrame, words: pd.DataFrame) -> dict[str, Any]:
    """Return what was found of each row of the survey's table, and of its order of costs, by claim."""
    found = {
        f"survey.{name.lower().replace(' ', '_')}.row": words.loc[name].tolist() for name in SURVEY.index
    }
    passes = (measured["forward"] + measured["backward"]).astype(float)
    is_low = SURVEY["efficiency"] == "low"
    low, high = passes[SURVEY.index[is_low]], passes[SURVEY.index[~is_low]]
    return found | {"survey.table1.efficiency": bool(low.min() > high.max())}
