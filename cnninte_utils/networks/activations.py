"""What a network and its layers put out, streamed in batches that fit into memory."""

import keras
import numpy as np

from .. import checks
from ..datasets import Split
from .lookup import chosen_layers, images_at_once

__all__ = ["SUMMARIES", "Batches", "activations", "layer_output", "predict"]

SUMMARIES = ("max", "mean")
_AT_ONCE = 2**26  # bytes that all layers together may keep of images that are not streamed


def activations(
    model: keras.Model,
    layers: str | list[str],
    images: np.ndarray | Split,
    *,
    summary: str | None = None,
    batch_size: int = 500,
) -> np.ndarray | dict[str, np.ndarray]:
    """Compute what layers put out, batch by batch.

    Parameters
    ----------
    model : keras.Model
        A functional model; it is not altered.
    layers : str or list of str
        Layer names.
    images : float array of shape (n, height, width, channels) in [0, 1], or Split
        A split is scaled, and resized to what the model takes, batch by batch.
    summary : {"max", "mean"}, optional
        Of the feature maps of a convolutional layer: each unit's spatial maximum or mean, taken while
        streaming, so that the maps of all images are never in memory.
    batch_size : int
        At most; fewer images where the largest feature maps of so many would take more than 1 GB.

    Returns
    -------
    ndarray of shape (n, units) or (n, height, width, units), float32
        A dictionary of them by layer name if `layers` is a list.

    Raises
    ------
    ValueError
        If a layer or the summary is unknown, or the images do not fit the model or are not in [0, 1].
    """
    if summary is not None:
        checks.choice("summary", summary, SUMMARIES)
    names = [layers] if isinstance(layers, str) else list(layers)
    outputs = {name: layer_output(model, name, summary) for name in names}
    arrays = predict(keras.Model(model.inputs, outputs), images, batch_size=batch_size)
    return arrays[layers] if isinstance(layers, str) else arrays


def predict(model: keras.Model, images: np.ndarray | Split, *, batch_size: int = 500) -> np.ndarray:
    """Compute the model's output, batch by batch; parameters and errors as for :func:`activations`.

    Returns
    -------
    ndarray of shape (n, n_classes), float32
    """
    checks.at_least(1, batch_size=batch_size)
    batch_size = min(batch_size, images_at_once(model))
    n_few = min(batch_size, images_at_once(model, keeps_all=True, n_bytes=_AT_ONCE))
    if isinstance(images, Split):
        batches = Batches(images, model.input_shape[1:], batch_size)
        if len(images) > n_few:
            return model.predict(batches, verbose=0)
        images = batches[0]
    else:
        images = checks.images(images, model.input_shape[1:])
        if len(images) > n_few:
            return model.predict(images, batch_size=batch_size, verbose=0)
    # For a few images Keras would take longer to trace the network than to run it
    is_list = isinstance(getattr(model, "input", None), list)  # what the model was built with
    outputs = model([images] if is_list else images, training=False)
    return keras.tree.map_structure(_writable, outputs)


def _writable(tensor) -> np.ndarray:
    return np.require(keras.ops.convert_to_numpy(tensor), requirements="W")


class Batches(keras.utils.PyDataset):
    """A split in its own order, batch by batch, as a network takes it.

    Parameters
    ----------
    split : Split
    shape : (height, width, channels)
        What the network takes; square images are resized to it.
    batch_size : int
    has_labels : bool
        Whether the labels come with the images.

    Raises
    ------
    ValueError
        If there is no image, or they have other channels, or another shape that no resizing mends.
    """

    def __init__(
        self, split: Split, shape: tuple[int, int, int], batch_size: int, *, has_labels: bool = False
    ):
        super().__init__()
        found = split.images.shape[1:]
        if not len(split) or found[2] != shape[2] or (shape[0] != shape[1] and found != shape):
            raise ValueError(f"the model takes images of shape {shape}, got {len(split)} of {found}")
        self._split, self._shape, self._batch_size, self._has_labels = split, shape, batch_size, has_labels

    def __len__(self) -> int:
        return -(-len(self._split) // self._batch_size)

    def __getitem__(self, index: int):
        start = index * self._batch_size
        batch = self._split.take(slice(start, start + self._batch_size))
        images = batch.floats(None if batch.images.shape[1:] == self._shape else self._shape[0])
        return (images, batch.labels) if self._has_labels else images


def layer_output(model: keras.Model, name: str, summary: str | None = None) -> keras.KerasTensor:
    """Return a layer's symbolic output, feature maps summarised if asked for; unknown names are refused."""
    (layer,) = chosen_layers(model, [name])
    output = layer.output
    if summary is None or len(output.shape) != 4:
        return output
    pooling = {"max": keras.layers.GlobalMaxPooling2D, "mean": keras.layers.GlobalAveragePooling2D}
    return pooling[summary]()(output)
