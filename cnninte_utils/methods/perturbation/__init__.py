"""What happens to a score when parts of an image are changed: hidden, blurred, pushed over a boundary."""

from .adversarial import deepfool
from .meaningful import meaningful_perturbation
from .random_masks import rise
from .windows import occlusion

__all__ = ["deepfool", "meaningful_perturbation", "occlusion", "rise"]
