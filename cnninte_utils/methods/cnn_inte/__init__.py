"""Explain predictions through clusters of hidden neurons, forests and a small tree (paper A)."""

from .estimator import CNNINTE, cluster_factors, cluster_ids
from .explanations import Explanation, Explanations
from .meta_learners import CRITERIA, Condition, DecisionSet, MetaTree

__all__ = [
    "CNNINTE",
    "CRITERIA",
    "Condition",
    "DecisionSet",
    "Explanation",
    "Explanations",
    "MetaTree",
    "cluster_factors",
    "cluster_ids",
]
