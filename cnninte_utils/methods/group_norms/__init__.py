"""Filters in groups: block norm, its proximal step, and two terms on activations (paper C)."""

from .activations import observed
from .objective import Penalty
from .weights import (
    BlockNorm,
    ProximalStep,
    WeightDecay,
    block_norm,
    group_slices,
    group_strengths,
    regularized,
    shrunk_groups,
    strengths_of,
)

__all__ = [
    "BlockNorm",
    "Penalty",
    "ProximalStep",
    "WeightDecay",
    "block_norm",
    "group_slices",
    "group_strengths",
    "observed",
    "regularized",
    "shrunk_groups",
    "strengths_of",
]
