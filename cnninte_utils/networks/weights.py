"""Weights apart from their network: taken out, put in, folded, kept as plain arrays."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import keras
import numpy as np

from .. import checks
from ..artifacts import DataError, array_digest, atomic_path, read_arrays

__all__ = ["Weights", "bundled", "fold_batch_norm", "randomized"]


@dataclass(frozen=True, eq=False)
class Weights:
    """Arrays by layer, and what the network that they are for is built with.

    Parameters
    ----------
    architecture : str
        A name of :data:`cnninte_utils.networks.builders.BUILDERS`.
    options : dict
        For the builder: width, variant, the mean and standard deviation of the pixels, …; JSON values.
    arrays : dict of str to list of ndarray
        Layer name → its weights in Keras's order, float32.
    """

    architecture: str
    options: dict[str, Any]
    arrays: dict[str, list[np.ndarray]] = field(repr=False)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over names and values."""
        rows = (array for name in self.arrays for array in (np.array(name), *self.arrays[name]))
        return array_digest(*rows)

    @classmethod
    def of(cls, model: keras.Model, options: dict[str, Any] | None = None) -> "Weights":
        """Take the weights out of a model (those of dropout's random numbers and of pixels' mean stay)."""
        arrays = {
            layer.name: layer.get_weights()
            for layer in model.layers
            if layer.weights and not isinstance(layer, (keras.layers.Dropout, keras.layers.Normalization))
        }
        return cls(model.name, options or {}, arrays)

    def put_into(self, model: keras.Model) -> list[str]:
        """Put the weights into the layers of the same name; return the layers that had none.

        Raises
        ------
        ValueError
            If a layer is missing or has other shapes, or a value is not finite; the model stays as it is.
        """
        layers = {layer.name: layer for layer in model.layers}
        for name, arrays in self.arrays.items():
            expected = [tuple(w.shape) for w in layers[name].weights] if name in layers else "no such layer"
            found = [array.shape for array in arrays]
            if expected != found:
                raise ValueError(f"the weights of {name} have shapes {found}, {model.name} has {expected}")
            checks.finite(**{f"{name}/{i}": array for i, array in enumerate(arrays)})
        for name, arrays in self.arrays.items():
            layers[name].set_weights(arrays)
        return sorted(set(Weights.of(model).arrays) - set(self.arrays))

    def without(self, *names: str) -> "Weights":
        """Return the weights without some layers (a head that another task has no use for)."""
        kept = {name: arrays for name, arrays in self.arrays.items() if name not in names}
        return Weights(self.architecture, self.options, kept)

    def save(self, path: Path) -> None:
        """Write them as an ``.npz`` of float16 arrays, without pickles.

        Raises
        ------
        ValueError
            If a value is not finite, or too large for float16; nothing is written then.
        """
        with np.errstate(over="ignore"):
            flat = {
                f"{name}/{i}": array.astype(np.float16)
                for name, arrays in self.arrays.items()
                for i, array in enumerate(arrays)
            }
        checks.finite(**flat)
        head = json.dumps({"architecture": self.architecture, "options": self.options})
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, header=np.array(head), **flat)

    @classmethod
    def load(cls, path: Path) -> "Weights":
        """Read what :meth:`save` wrote.

        Raises
        ------
        cnninte_utils.artifacts.DataError
            If the file is damaged or another one.
        """
        arrays: dict[str, list[np.ndarray]] = {}
        try:
            found = read_arrays(path)
            header = json.loads(str(found.pop("header")))
            if not checks.has_form(header, {"architecture": str, "options": dict}):
                raise ValueError(f"its header is {header!r}")
            for name, array in found.items():
                if not np.issubdtype(array.dtype, np.floating):
                    raise ValueError(f"{name} is of {array.dtype}")
                checks.finite(**{name: array})
                arrays.setdefault(name.rpartition("/")[0], []).append(array.astype(np.float32))
            return cls(header["architecture"], header["options"], arrays)
        except (DataError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} does not hold weights, or is damaged ({error})") from None


def bundled(architecture: str) -> Weights:
    """Return the weights that come with the package.

    AlexNet and VGG19 at a quarter of their width, 64×64 pixels, trained on a part of Tiny ImageNet; what
    they are good for is in ``cnninte_utils/bundled/README.md``.

    Raises
    ------
    ValueError
        If there are none for the architecture.
    """
    path = resources.files(__package__) / "bundled" / f"{architecture}.npz"
    if not path.is_file():
        raise ValueError(f"no bundled weights for {architecture!r}: choose alexnet or vgg19")
    return Weights.load(path)


def fold_batch_norm(model: keras.Model, options: dict[str, Any]) -> Weights:
    r"""Fold each batch normalisation into the convolution before it; exact at inference.

    .. math:: W' = W \gamma / \sqrt{\sigma^2 + \epsilon}, \quad
              b' = \beta - \mu \gamma / \sqrt{\sigma^2 + \epsilon}

    Parameters
    ----------
    model : keras.Model
        Built with ``batch_norm=True``.
    options : dict
        What the same network is built with otherwise.

    Returns
    -------
    Weights
        For the same network without batch normalisation.
    """
    arrays = Weights.of(model).arrays
    folded: dict[str, list[np.ndarray]] = {}
    for name, values in arrays.items():
        if name.startswith("bn_"):
            continue
        if f"bn_{name}" in arrays:
            gamma, beta, mean, variance = arrays[f"bn_{name}"]
            scale = gamma / np.sqrt(variance + model.get_layer(f"bn_{name}").epsilon)
            values = [values[0] * scale, beta - mean * scale]
        folded[name] = values
    return Weights(model.name, options, folded)


def randomized(model: keras.Model, layers: Sequence[str], seed: int = 0) -> keras.Model:
    """Return a copy of the model with new random weights in some layers: a control for explanations.

    Each array of weights is shuffled, so that it keeps its values and loses what it had learned.

    References
    ----------
    Adebayo et al. 2018, "Sanity Checks for Saliency Maps", Section 3.
    """
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    rng = np.random.default_rng(seed)
    for name in layers:
        layer = copy.get_layer(name)
        layer.set_weights([rng.permuted(array) for array in layer.get_weights()])
    return copy
