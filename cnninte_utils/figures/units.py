"""Drawings of what deconvnet and its kin send back to pixels (paper B, Fig. 3)."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import checks
from .common import show_image, tiled

NORMALIZATIONS = ("unit", "layer")
_SILENT, _WHITE = 0.85, 0.995


def mosaic(
    reconstructions: np.ndarray,
    ax: Axes,
    *,
    normalize: str = "unit",
    order: Sequence[int] | None = None,
    columns: int | None = None,
    block_size: int | None = None,
) -> Axes:
    """Draw the reconstructions of a layer as one block for each unit.

    Grey is zero; brighter and darker are positive and negative, colour by colour. Silent units, whose
    reconstruction is zero everywhere, are crossed out.

    Parameters
    ----------
    reconstructions : float array of shape (units, height, width, 3)
        Signed.
    normalize : {"unit", "layer"}
        Scale every block by its own magnitude (the 99.5 % quantile, so that single pixels do not decide), or
        all of them by the layer's largest, which shows which units matter.
    order : sequence of int, optional
        Of the units; by default as they are numbered.
    columns : int, optional
        Blocks in a row; by default as many as make it about square.
    block_size : int, optional
        Pixels of a block's side: larger blocks are averaged down to it, by a whole factor.
    """
    blocks, is_silent = tiles(reconstructions, normalize=normalize, block_size=block_size)
    order = np.arange(len(blocks)) if order is None else np.asarray(order)
    blocks, is_silent = blocks[order], is_silent[order]
    columns = columns or int(np.ceil(np.sqrt(len(blocks))))
    height, width = blocks.shape[1:3]
    ax.imshow(tiled(blocks, columns), interpolation="antialiased")
    for place in np.flatnonzero(is_silent):
        top, left = (place // columns) * (height + 1), (place % columns) * (width + 1)
        ax.plot([left, left + width - 1], [top, top + height - 1], color="0.5", lw=0.6)
    ax.set_axis_off()
    return ax


def tiles(
    reconstructions: np.ndarray, *, normalize: str = "unit", block_size: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Turn signed reconstructions into pictures with 0 at middle grey.

    Parameters as for :func:`mosaic`.

    Returns
    -------
    blocks : float array of shape (units, height, width, channels), in [0, 1]
    is_silent : bool array of shape (units,)
    """
    checks.choice("normalize", normalize, NORMALIZATIONS)
    blocks = reconstructions if block_size is None else _shrunk(reconstructions, block_size)
    magnitudes = np.abs(blocks)
    largest = magnitudes.max(axis=(1, 2, 3), keepdims=True)
    is_silent = largest.ravel() == 0
    scale = np.quantile(magnitudes, _WHITE, axis=(1, 2, 3), keepdims=True)
    scale = np.where(scale > 0, scale, largest)
    scale = scale if normalize == "unit" else scale.max(keepdims=True)
    blocks = np.clip(0.5 + 0.5 * blocks / np.where(scale > 0, scale, 1), 0, 1)
    blocks[is_silent] = _SILENT
    return blocks, is_silent


def _shrunk(blocks: np.ndarray, size: int) -> np.ndarray:
    factor = max(1, blocks.shape[1] // size)
    n, height, width, n_channels = blocks.shape
    height, width = height // factor, width // factor
    blocks = blocks[:, : height * factor, : width * factor]
    return blocks.reshape(n, height, factor, width, factor, n_channels).mean(axis=(2, 4))


def mosaic_row(image: np.ndarray, layers: Mapping[str, np.ndarray], **options) -> Figure:
    """Draw an image and the mosaics of its layers in two rows; `options` go to :func:`mosaic`."""
    n_columns = -(-(len(layers) + 1) // 2)
    figure, axes = plt.subplots(2, n_columns, figsize=(2.4 * n_columns, 5.5), squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    show_image(axes.flat[0], image)
    axes.flat[0].set_title("image")
    for ax, (name, reconstructions) in zip(axes.flat[1:], layers.items(), strict=False):
        mosaic(reconstructions, ax, **options)
        n_silent = int((np.abs(reconstructions).max(axis=(1, 2, 3)) == 0).sum())
        silent = f", {n_silent} silent here" if n_silent else ""
        ax.set_title(f"{name}\n{len(reconstructions)} units{silent}", fontsize=11)
    return figure


def signed_matrix(matrix: np.ndarray, ax: Axes) -> Axes:
    """Draw a small matrix with its numbers written in; colours are pale, and white is zero."""
    limit = 2.5 * max(np.abs(matrix).max(), 1e-12)
    ax.imshow(matrix, cmap="PuOr_r", vmin=-limit, vmax=limit)
    for (row, column), value in np.ndenumerate(matrix):
        ax.text(column, row, f"{value:g}", ha="center", va="center", color="0.65" if value == 0 else "black")
    height, width = matrix.shape
    ax.set_xticks(np.arange(width + 1) - 0.5, [])
    ax.set_yticks(np.arange(height + 1) - 0.5, [])
    ax.grid(color="0.85", lw=0.8)
    ax.tick_params(length=0)
    return ax


def large_blocks(rows: Mapping[str, tuple[Sequence[int], np.ndarray]], *, size: float = 1.45) -> Figure:
    """Draw a few units' reconstructions large, row by row, each scaled by itself.

    Parameters
    ----------
    rows : mapping of str to (units, reconstructions)
        Name of the row → the units' numbers and their reconstructions (units, height, width, 3), signed.
    size : float
        Of a block, in inches.
    """
    n_columns = max(len(units) for units, _ in rows.values())
    figure, axes = plt.subplots(
        len(rows), n_columns, figsize=(size * n_columns, (size + 0.18) * len(rows)), squeeze=False
    )
    for line, (name, (units, reconstructions)) in zip(axes, rows.items(), strict=True):
        blocks, _ = tiles(reconstructions)
        for ax, unit, block in zip(line, units, blocks, strict=False):
            show_image(ax, block).set_title(f"unit {unit}", fontsize=10, pad=2)
            ax.images[0].set_interpolation("bilinear")
        line[0].set_ylabel(name, fontsize=11)
        for ax in line[len(units) :]:
            ax.set_axis_off()
    return figure


def preferred_images(rows: Mapping[str, np.ndarray], columns: Sequence[str]) -> Figure:
    """Draw images that units like, a row for each unit.

    Parameters
    ----------
    rows : mapping of str to array of shape (k, height, width, 3), in [0, 1]
    columns : sequence of k str
        What stands over the images; empty for none.
    """
    figure, axes = plt.subplots(
        len(rows), len(columns), figsize=(1.3 * len(columns), 1.35 * len(rows) + 0.3), squeeze=False
    )
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        for ax, image in zip(line, images, strict=True):
            show_image(ax, image)
        line[0].set_ylabel(name, fontsize=10)
    for ax, title in zip(axes[0], columns, strict=True):
        ax.set_title(title, fontsize=10)
    return figure


def strongest_images(images: np.ndarray, reconstructions: np.ndarray, names: Sequence[str]) -> Figure:
    """Draw each unit's strongest images, and below them what the unit sees in each.

    Parameters
    ----------
    images : array of shape (units, k, height, width, 3), in [0, 1]
    reconstructions : array of the same shape, signed
    names : sequence of str
        Of the units.
    """
    n_units, k = images.shape[:2]
    figure, axes = plt.subplots(2 * n_units, k, figsize=(k, 2.1 * n_units), squeeze=False)
    for row, name in enumerate(names):
        for column in range(k):
            show_image(axes[2 * row, column], images[row, column])
            block, _ = tiles(reconstructions[row, column][None])
            show_image(axes[2 * row + 1, column], block[0])
        axes[2 * row, 0].set_ylabel(name, fontsize=9)
        axes[2 * row + 1, 0].set_ylabel("sees", fontsize=8, color="0.4")
    return figure


def image_grid(images: np.ndarray, titles: Sequence[str], *, columns: int = 8, size: float = 1.2) -> Figure:
    """Draw images (n, height, width, channels) in [0, 1] under their titles, row by row."""
    rows = -(-len(images) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(size * columns, (size + 0.25) * rows), squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, image, title in zip(axes.flat, images, titles, strict=False):
        ax.set_axis_on()
        show_image(ax, image)
        ax.set_title(title, fontsize=8, loc="center")
    return figure


def similarity_by_layer(frame: pd.DataFrame, ax: Axes, *, baseline: float | None = None) -> Axes:
    """Draw how alike explanations stay as more layers are randomised.

    Parameters
    ----------
    frame : DataFrame
        Columns n_randomized, similarity, rule, direction.
    baseline : float, optional
        The similarity of two different units of the trained network.
    """
    sns.lineplot(
        frame,
        x="n_randomized",
        y="similarity",
        hue="rule",
        style="direction",
        markers=True,
        errorbar="sd",
        ax=ax,
    )
    if baseline is not None:
        ax.axhline(baseline, color="0.4", ls=":", lw=1, label=f"two units of one network ({baseline:.2f})")
    ax.set(xticks=sorted(frame["n_randomized"].unique()))
    ax.set(xlabel="convolutions with shuffled weights", ylabel="rank correlation with the trained network's")
    ax.legend(fontsize=9, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return ax
