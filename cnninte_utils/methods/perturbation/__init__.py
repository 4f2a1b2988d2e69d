"""What happens to a score when parts of an image are changed: hidden, blurred, pushed over a boundary."""

from .adversarial import deepfool, minimal_perturbation
from .lime import lime_map
from .meaningful import meaningful_perturbation
from .mip import invariant_perturbation
from .random_masks import rise
from .windows import occlusion

__all__ = [
    "deepfool",
    "invariant_perturbation",
    "lime_map",
    "meaningful_perturbation",
    "minimal_perturbation",
    "occlusion",
    "rise",
]
