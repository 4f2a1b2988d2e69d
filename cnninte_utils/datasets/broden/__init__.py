"""Broden: images with concepts of several categories marked in them (paper C)."""

from .finder import NAMES, load, status
from .reader import Annotation, Broden
from .validation import open_folder

__all__ = ["NAMES", "Annotation", "Broden", "load", "open_folder", "status"]
