"""Train under JAX on an accelerator: images stay there, and all steps between two reports are one program."""

from collections.abc import Iterable, Sequence

import keras
import numpy as np
from keras import ops

from ..datasets import Split

__all__ = ["fit", "is_possible"]

_MAX_BYTES = 2**33  # of images kept on the accelerator


def is_possible(split: Split, size: int, callbacks: Sequence[keras.callbacks.Callback] = ()) -> bool:
    """Return whether JAX has an accelerator, the images fit there, and no callback wants each step."""
    if keras.backend.backend() != "jax":
        return False
    import jax

    n_bytes = split.images.dtype.itemsize * 3 * len(split) * max(size, split.images.shape[1]) ** 2
    base = keras.callbacks.Callback
    hooks = ((type(c).on_train_batch_begin, type(c).on_train_batch_end) for c in callbacks)
    is_left_alone = all(pair == (base.on_train_batch_begin, base.on_train_batch_end) for pair in hooks)
    return jax.default_backend() != "cpu" and n_bytes < _MAX_BYTES and is_left_alone


def fit(
    model: keras.Model,
    split: Split,
    reports: Iterable[tuple[np.ndarray, np.ndarray | None]],
    *,
    n_done: int = 0,
    validation: keras.utils.PyDataset,
    callbacks: Sequence[keras.callbacks.Callback],
) -> None:
    """Do what ``model.fit`` does with the same batches, with one call of the accelerator for each report.

    Two cores cannot resize and shift images as fast as an accelerator learns from them, nor start its steps
    one by one.

    Parameters
    ----------
    model : keras.Model
        Compiled, with a sparse categorical cross-entropy; its optimizer has its variables.
    split : Split
        Its images are copied to the accelerator once.
    reports : iterable of (rows, draws)
        For each report: rows of the split, int (steps, n), and where images are augmented int (steps, 3, n):
        whether each is mirrored, and how far it is shifted down and right. All of the same shapes.
    n_done : int
        Reports before the first of these.
    validation : PyDataset
        Evaluated after each report.
    callbacks : sequence of Callback
        Told of the end of each report as of that of an epoch.
    """
    import jax

    size = model.input_shape[1]
    images, labels = jax.numpy.asarray(split.pixels(size)), jax.numpy.asarray(split.labels)

    def loss_of(trainable, fixed, x, y):
        output, fixed, penalties = model.stateless_call(
            trainable, fixed, x, training=True, return_losses=True
        )
        error = ops.mean(keras.losses.sparse_categorical_crossentropy(y, output)) + sum(penalties)
        return error, (fixed, ops.mean(ops.cast(ops.argmax(output, axis=-1) == y, "float32")))

    slopes = jax.value_and_grad(loss_of, has_aux=True)

    @jax.jit
    def steps(state, batches, images, labels):
        def step(state, batch):
            trainable, fixed, of_optimizer = state
            rows, draws = batch
            x = images[rows]
            if x.dtype == np.uint8:
                x = x.astype("float32") / 255
            x = x if x.shape[1] == size else ops.image.resize(x, (size, size), interpolation="bilinear")
            x = x if draws is None else _augmented(x, *draws)
            (error, (fixed, accuracy)), gradients = slopes(trainable, fixed, x, labels[rows])
            trainable, of_optimizer = model.optimizer.stateless_apply(of_optimizer, gradients, trainable)
            return (trainable, fixed, of_optimizer), (error, accuracy)

        return jax.lax.scan(step, state, batches)

    variables = (model.trainable_variables, model.non_trainable_variables, model.optimizer.variables)
    told = keras.callbacks.CallbackList(callbacks, model=model)
    told.on_train_begin()
    for report, batches in enumerate(reports, n_done):
        values = tuple([variable.value for variable in group] for group in variables)
        values, curves = steps(values, batches, images, labels)
        for group, news in zip(variables, values, strict=True):
            for variable, new in zip(group, news, strict=True):
                variable.assign(new)
        logs = dict(zip(("loss", "accuracy"), (float(ops.mean(curve)) for curve in curves), strict=True))
        checked = model.evaluate(validation, verbose=0, return_dict=True)
        told.on_epoch_end(report, logs | {f"val_{name}": value for name, value in checked.items()})
    told.on_train_end()


def _augmented(images, is_mirrored, down, right):
    """Mirror and shift images as :func:`cnninte_utils.networks.training.augmented` does.

    One way for both, a gather by rows and columns, takes NumPy twice the time.
    """
    import jax

    shape = images.shape[1:]
    reach = shape[0] // 8
    images = ops.where(is_mirrored[:, None, None, None] == 1, images[:, :, ::-1], images)
    padded = ops.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="reflect")
    return jax.vmap(lambda image, y, x: jax.lax.dynamic_slice(image, (y, x, 0), shape))(padded, down, right)
