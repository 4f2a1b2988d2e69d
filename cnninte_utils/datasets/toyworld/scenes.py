"""Toyworld with its scenes as classes: the embedded stand-in for Places365."""

from functools import cache

import numpy as np

from ..base import ImageDataset
from .drawing import SCENES, SOURCE, balanced_splits, render

__all__ = ["SOURCE", "load"]

_PROVENANCE = (
    "3,500 synthetic 64×64 colour images of ten kinds of scene, each with two random objects in front, drawn "
    "by cnninte_utils.datasets.toyworld from the seeds 4, 5 and 6; 200/50/100 images per class"
)


@cache
def load() -> ImageDataset:
    """Return 2,000 training, 500 validation and 1,000 test images labelled by scene, always the same."""

    def draw(scenes: np.ndarray, seed: int) -> np.ndarray:
        return render(len(scenes), seed=seed, n_objects=2, scenes=scenes).images

    return ImageDataset("toyworld_scenes", *balanced_splits("toyworld_scenes", draw, 4), SCENES, _PROVENANCE)
