"""Data sets by name, all in one form: images in [0, 1], integer labels, provenance."""

from importlib import import_module

from .base import ImageDataset, Split

__all__ = ["NAMES", "ImageDataset", "Split", "fetch", "load", "status"]

NAMES = ("digits", "toyworld", "mnist", "cifar10", "tiny_imagenet")


def load(name: str) -> ImageDataset:
    """Load a data set by name.

    Parameters
    ----------
    name : str
        One of :data:`NAMES`. ``"digits"`` and ``"toyworld"`` are embedded; ``"mnist"`` is
        looked for in ``$CNNINTE_DATA``, then in the cache, and otherwise downloaded with a pinned SHA-256.

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
    return _module(name).load()


def fetch(name: str) -> str:
    """Make sure that a data set is on this machine (downloading it if need be); return where it is."""
    return _module(name).fetch()


def status() -> list[tuple[str, str, str]]:
    """Return (name, ``"ready"`` or ``"absent"``, where it is or how to get it) for every data set."""
    return [(name, *_module(name).status()) for name in NAMES]


def _module(name: str):
    if name not in NAMES:
        raise ValueError(f"unknown data set {name!r}: choose one of {', '.join(NAMES)}")
    return import_module(f".{name}", __package__)
