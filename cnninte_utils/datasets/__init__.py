"""Data sets by name, all in one form: images in [0, 1], integer labels, provenance."""

from importlib import import_module

from .. import checks
from . import broden
from .base import ImageDataset, Split

__all__ = ["NAMES", "ImageDataset", "Split", "fetch", "load", "status"]

NAMES = (
    "digits",
    "toyworld",
    "toyworld_scenes",
    "mnist",
    "cifar10",
    "tiny_imagenet",
    "tiny50_1",
    "tiny50_2",
    "places365",
    "places50_1",
    "places50_2",
    "miniplaces",
    "miniplaces50_1",
    "miniplaces50_2",
)
_MODULES = {"toyworld_scenes": "toyworld.scenes"}
PARTS = {
    "tiny50_1": ("tiny_imagenet", 1),
    "tiny50_2": ("tiny_imagenet", 2),
    "places50_1": ("places365", 1),
    "places50_2": ("places365", 2),
}
"""Parts of larger data sets, in the manner of paper C's Places50₁ and Places50₂. Which classes the paper took
is not published; these are drawn at random, and no class is in both parts."""
N_CLASSES_OF_A_PART = 50
HALVES = {"miniplaces50_1": ("miniplaces", 1), "miniplaces50_2": ("miniplaces", 2)}
"""Stand-ins for the same parts in which nothing is drawn: the scenes of even and those of odd number."""


def load(name: str) -> ImageDataset:
    """Load a data set by name.

    Parameters
    ----------
    name : str
        One of :data:`NAMES`. ``"digits"``, ``"toyworld"`` and ``"toyworld_scenes"`` are embedded; the
        others are looked for in ``$CNNINTE_DATA``, then in the cache, and otherwise downloaded with a pinned
        SHA-256 where that is possible. Those with ``50_1`` and ``50_2`` are parts of 50 classes.

    Returns
    -------
    ImageDataset

    Raises
    ------
    ValueError
        If the name is unknown.
    cnninte_utils.artifacts.DataError
        If its files are absent and cannot be downloaded, or are damaged.

    Examples
    --------
    >>> load("digits").test.images.shape
    (397, 28, 28, 1)
    """
    checks.choice("data set", name, NAMES)
    if name in PARTS:
        whole, part = PARTS[name]
        return load(whole).with_classes(N_CLASSES_OF_A_PART, part=part, name=name)
    if name in HALVES:
        whole, part = HALVES[name]
        return load(whole).half(part, name)
    return _module(name).load()


def fetch(name: str) -> str:
    """Make sure that a data set is on this machine (downloading it if need be); return where it is.

    `name` may also be one of :data:`cnninte_utils.datasets.broden.NAMES`.
    """
    return str(broden.load(name).root if name in broden.NAMES else _module(name).SOURCE.fetch())


def status() -> list[tuple[str, str, str]]:
    """Return (name, ``"ready"`` or ``"absent"``, where it is or how to get it) for every data set."""
    labelled = [(name, *_module(name).SOURCE.status()) for name in NAMES]
    return labelled + [(name, *broden.status(name)) for name in broden.NAMES]


def _module(name: str):
    checks.choice("data set", name, NAMES)
    whole, _ = (PARTS | HALVES).get(name, (name, 0))
    return import_module(f".{_MODULES.get(whole, whole)}", __package__)
