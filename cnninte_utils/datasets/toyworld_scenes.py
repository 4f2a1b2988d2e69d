"""Toyworld with its scenes as classes: the embedded stand-in for Places365."""

from functools import cache

import numpy as np

from .base import ImageDataset, Split
from .toyworld import SCENES, fetch, render, status

__all__ = ["fetch", "load", "status"]

_PROVENANCE = (
    "3,500 synthetic 64×64 colour images of ten kinds of scene, each with two random objects in front, drawn "
    "by cnninte_utils.datasets.toyworld from the seeds 4, 5 and 6; 200/50/100 images per class"
)


@cache
def load() -> ImageDataset:
    """Return 2,000 training, 500 validation and 1,000 test images labelled by scene, always the same."""
    parts = (_balanced_split(per_class, seed) for seed, per_class in enumerate((200, 50, 100), start=4))
    return ImageDataset("toyworld_scenes", *parts, SCENES, _PROVENANCE)


def _balanced_split(per_class: int, seed: int) -> Split:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(SCENES)), per_class))
    scenes = render(len(labels), seed=seed, n_objects=2, scenes=labels)
    return Split(scenes.images, scenes.scene)
