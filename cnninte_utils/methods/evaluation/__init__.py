"""Whether an explanation is right: does the network follow it, does it point at the object or at edges."""

from .faithfulness import (
    aopc,
    area,
    completeness,
    deletion,
    infidelity,
    insertion,
    max_sensitivity,
    mu_fidelity,
    pixel_flipping,
)

__all__ = [
    "aopc",
    "area",
    "completeness",
    "deletion",
    "infidelity",
    "insertion",
    "max_sensitivity",
    "mu_fidelity",
    "pixel_flipping",
]
