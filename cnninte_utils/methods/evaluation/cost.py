"""What an explanation costs, counted in passes: the same on every machine, as no clock is."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from ... import checks

__all__ = ["Cost", "Meter"]


@dataclass(frozen=True)
class Cost:
    """Of one image, on average.

    Parameters
    ----------
    forward, backward : float
        Passes: multiplications in convolutions on the way up, and signals taken back through them, as
        multiples of those of one image once through all of them.
    milliseconds : float
        As the clock had it, on this machine, this time.
    """

    forward: float
    backward: float
    milliseconds: float

    @property
    def passes(self) -> float:
        """Forward and backward passes together."""
        return self.forward + self.backward


class Meter:
    r"""A network's copy whose convolutions count what goes through them.

    .. math:: F = \frac{\sum_l c_l m_l}{n \sum_l m_l}

    with :math:`m_l` the multiplications of convolution l for one image, :math:`c_l` the images that went
    through it and n the images that were explained; for the way back likewise. Methods that look at layers
    may use one convolution more often than another.

    Parameters
    ----------
    model : keras.Model
        With at least one ``keras.layers.Conv2D``. It is not altered; weights are copied.

    Attributes
    ----------
    model : keras.Model
        The copy, which gives the same outputs.

    Raises
    ------
    ValueError
        If the model has no convolution.
    """

    def __init__(self, model: keras.Model):
        self.model = keras.models.clone_model(model, clone_function=_counting)
        for layer, copy in zip(model.layers, self.model.layers, strict=True):
            for weight, own in zip(layer.weights, copy.weights, strict=False):  # the counts come last
                own.assign(ops.convert_to_numpy(weight))  # not the tensor itself, which JAX gives away
        self._counted = [layer for layer in self.model.layers if isinstance(layer, _CountingConv2D)]
        checks.require(bool(self._counted), "model", model.name, "a network with convolutions")
        sizes = [math.prod(x.output.shape[1:3]) * math.prod(x.kernel.shape) for x in self._counted]
        self._sizes = np.array(sizes)

    def measure(
        self, explain: Callable[[keras.Model, np.ndarray], np.ndarray], images: np.ndarray
    ) -> tuple[np.ndarray, Cost]:
        """Explain images, and count.

        Parameters
        ----------
        explain : callable
            (:attr:`model`, images) → maps. It is called once with one image before anything is counted, so
            that what is compiled at the first call is not timed.
        images : float array of shape (n, height, width, channels), in [0, 1]

        Returns
        -------
        maps : ndarray
        cost : Cost
        """
        images = checks.images(images, self.model.input_shape[1:])
        explain(self.model, images[:1])
        before = self._passed()
        started = time.perf_counter()
        maps = explain(self.model, images)
        seconds = time.perf_counter() - started
        forward, backward = (self._passed() - before) @ self._sizes / (self._sizes.sum() * len(images))
        return maps, Cost(float(forward), float(backward), 1000 * seconds / len(images))

    def _passed(self) -> np.ndarray:
        """Return images up and signals down so far, a column for each convolution."""
        if keras.backend.backend() == "jax":
            import jax

            jax.effects_barrier()  # counts are told from the side, not at once
        counts = [(layer.went_up, layer.came_down) for layer in self._counted]
        return np.array([[int(ops.convert_to_numpy(count)) for count in pair] for pair in counts]).T


class _CountingConv2D(keras.layers.Conv2D):
    """A convolution that counts images on their way up and signals on their way down."""

    def build(self, input_shape):
        super().build(input_shape)
        self.went_up, self.came_down = self._new_count("went_up"), self._new_count("came_down")

    def _new_count(self, name: str):
        """Return a zero: a weight, or for JAX, whose compiled functions keep no state, an array beside it."""
        if keras.backend.backend() == "jax":
            return np.zeros((), np.int64)
        return self.add_weight(shape=(), initializer="zeros", dtype="int64", trainable=False, name=name)

    def convolution_op(self, inputs, kernel):
        @ops.custom_gradient
        def counted(x):
            def back(*signals, upstream=None):
                signal = signals[0] if upstream is None else upstream
                _count(self.came_down, signal)
                return signal

            _count(self.went_up, x)
            return x + 0, back

        return super().convolution_op(counted(inputs), kernel)


def _count(total, x) -> None:
    """Add the rows of a tensor to a count whenever this is computed, not when it is traced."""
    n = ops.shape(x)[0]
    if keras.backend.backend() == "jax":
        import jax

        jax.debug.callback(lambda: np.add(total, n, out=total))
    else:
        total.assign_add(ops.cast(n, "int64"))


def _counting(layer: keras.Layer) -> keras.Layer:
    is_plain = type(layer) is keras.layers.Conv2D
    return (_CountingConv2D if is_plain else type(layer)).from_config(layer.get_config())
