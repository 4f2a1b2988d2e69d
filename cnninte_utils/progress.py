"""Progress bars, for whoever watches."""

import os
import sys

from tqdm import tqdm

__all__ = ["bar", "is_watched"]


def is_watched() -> bool:
    """Tell whether somebody watches: a terminal, or a notebook opened by hand (not papermill's)."""
    return sys.stdout.isatty() or "JPY_SESSION_NAME" in os.environ


def bar(iterable=None, **options) -> tqdm:
    """Return a ``tqdm`` bar that shows itself only if somebody watches."""
    return tqdm(iterable, disable=not is_watched(), **options)
