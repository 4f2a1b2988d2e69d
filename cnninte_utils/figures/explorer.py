"""A picture, a method and a class to choose from; without a front end, all of them side by side."""

import os
from collections.abc import Mapping, Sequence
from io import BytesIO

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
from IPython import get_ipython
from IPython.display import display
from matplotlib.figure import Figure

from .. import checks
from .common import show_image
from .evaluation import heat_map

__all__ = ["Explorer", "is_live"]

_SHOWN = 4


def is_live() -> bool:
    """Tell whether somebody sits before a notebook: there is a kernel, and no runner executes it."""
    return hasattr(get_ipython(), "kernel") and "CNNINTE_RUN_DIR" not in os.environ


class Explorer:
    """Maps that are there already, to look through.

    Parameters
    ----------
    images : float array of shape (n, height, width, 1 or 3), in [0, 1]
    names : sequence of (sequence of str)
        Of each image, the classes that can be asked about.
    heats : mapping of str to float array of shape (n, classes asked about, height, width)
        Method → maps, not negative.

    Attributes
    ----------
    picture, method, target : ipywidgets.Dropdown
        What is chosen.
    shown : ipywidgets.Image
        A PNG of it.
    panel : ipywidgets.VBox
        All together.

    Raises
    ------
    ValueError
        If there is no map, or images, names and maps do not fit each other.
    """

    def __init__(self, images: np.ndarray, names: Sequence[Sequence[str]], heats: Mapping[str, np.ndarray]):
        checks.require(bool(heats), "heats", dict(heats), "the maps of at least one method")
        for method, maps in heats.items():
            expected = (len(names), len(names[0]), *images.shape[1:3])
            if maps.shape != expected or len(images) != len(names):
                raise ValueError(
                    f"expected maps {expected} of {len(images)} images, got {maps.shape} of {method}"
                )
        self._images, self._names, self._heats = images, names, heats
        numbers = [(f"{k + 1}: {' and '.join(row)}", k) for k, row in enumerate(names)]
        self.picture = ipywidgets.Dropdown(options=numbers, description="picture")
        self.method = ipywidgets.Dropdown(options=list(heats), description="method")
        self.target = ipywidgets.Dropdown(options=self._targets(), description="class")
        self.shown = ipywidgets.Image(format="png")
        self.picture.observe(self._renamed, "value")
        for choice in (self.picture, self.method, self.target):
            choice.observe(self._drawn, "value")
        choices = ipywidgets.HBox([self.picture, self.method, self.target])
        self.panel = ipywidgets.VBox([choices, self.shown])
        self._drawn()

    def _targets(self) -> list[tuple[str, int]]:
        return [(name, k) for k, name in enumerate(self._names[self.picture.value])]

    def _renamed(self, _) -> None:
        chosen = self.target.value
        self.target.options = self._targets()
        self.target.value = chosen

    def _drawn(self, _=None) -> None:
        if self.target.value is None:  # while its names change
            return
        figure = self.figure(self.picture.value, self.method.value, self.target.value)
        stream = BytesIO()
        figure.savefig(stream, format="png", dpi=90)
        plt.close(figure)
        self.shown.value = stream.getvalue()

    def figure(self, picture: int, method: str, target: int) -> Figure:
        """Draw one picture and its map by one method for one of its classes."""
        figure, axes = plt.subplots(1, 2, figsize=(6, 3.2), layout="constrained")
        show_image(axes[0], self._images[picture]).set_title("picture", loc="center")
        title = f"{method}: “{self._names[picture][target]}”?"
        heat_map(self._heats[method][picture, target], axes[1]).set_title(title, loc="center")
        return figure

    def grid(self, n: int = _SHOWN, *, size: float = 1.3) -> Figure:
        """Draw the first pictures and classes by every method: what a page without a kernel can show."""
        rows = [(k, t) for k in range(min(n, len(self._images))) for t in range(len(self._names[k]))]
        figure, axes = plt.subplots(
            len(rows), len(self._heats) + 1, squeeze=False, layout="constrained",
            figsize=(size * (len(self._heats) + 1), size * len(rows) + 0.5),
        )  # fmt: skip
        for line, (k, target) in zip(axes, rows, strict=True):
            show_image(line[0], self._images[k]).set_ylabel(f"“{self._names[k][target]}”?", fontsize=10)
            for ax, maps in zip(line[1:], self._heats.values(), strict=True):
                heat_map(maps[k, target], ax)
        for ax, name in zip(axes[0], ["picture", *self._heats], strict=True):
            ax.set_title(name.replace(" ", "\n", 1), fontsize=9, loc="center")
        return figure

    def show(self, n: int = _SHOWN) -> Figure:
        """Show the choices where somebody can choose; return the grid, which every page can show."""
        if is_live():
            display(self.panel)
        return self.grid(n)
