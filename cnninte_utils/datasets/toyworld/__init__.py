"""Toyworld: small colour scenes with the truth about every pixel, drawn from a seed."""

from .drawing import Scenes, fetch, load, render, status
from .paints import COLORS, MATERIALS, OBJECTS, PARTS, SCENES, TEXTURES

__all__ = [
    "COLORS",
    "MATERIALS",
    "OBJECTS",
    "PARTS",
    "SCENES",
    "TEXTURES",
    "Scenes",
    "fetch",
    "load",
    "render",
    "status",
]
