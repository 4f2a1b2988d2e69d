"""Toyworld: small colour scenes with the truth about every pixel, drawn from a seed."""

from .drawing import SOURCE, Scenes, load, render
from .paints import COLORS, MATERIALS, OBJECTS, PARTS, SCENES, TEXTURES

__all__ = [
    "COLORS",
    "MATERIALS",
    "OBJECTS",
    "PARTS",
    "SCENES",
    "SOURCE",
    "TEXTURES",
    "Scenes",
    "load",
    "render",
]
