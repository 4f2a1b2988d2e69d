"""Fit a network once; afterwards load it."""

from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from .artifacts import Artifact, shows_progress
from .datasets import ImageDataset, Split
from .models import build

__all__ = ["Recipe", "TrainedNetwork", "fit_or_load"]

_N_VALIDATION = 1_000


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, with paper A's values as defaults.

    Parameters
    ----------
    steps : int
        Optimizer steps, one mini-batch each.
    batch_size : int
    learning_rate : float
        Of Adam.
    report_every : int
        Steps between two points of the learning curves; the steps must be a multiple of it.
    seed : int
        Of the initial weights, the order of the images and dropout.
    """

    steps: int = 1_000
    batch_size: int = 50
    learning_rate: float = 1e-4
    report_every: int = 100
    seed: int = 0

    def __post_init__(self):
        if min(self.steps, self.batch_size, self.report_every) < 1 or self.steps % self.report_every:
            raise ValueError(
                f"steps ({self.steps}), batch_size ({self.batch_size}) and report_every "
                f"({self.report_every}) must be positive, and steps a multiple of report_every"
            )


@dataclass(frozen=True)
class TrainedNetwork:
    """A fitted model, its learning curves (name → one value per report) and whether it was cached."""

    model: keras.Model
    history: dict[str, list[float]]
    was_cached: bool


def fit_or_load(
    architecture: str,
    dataset: ImageDataset,
    recipe: Recipe = Recipe(),
    *,
    options: dict[str, Any] | None = None,
    tensorboard_dir: Path | str | None = None,
) -> TrainedNetwork:
    """Train a network, or load the one trained before with the same determinants.

    It is stored as a ``.keras`` file keyed by the architecture and its options, the recipe, the data's
    fingerprint, the backend and Keras's version. The learning curves come from the training batches
    and the validation split; the test split is never looked at.

    Parameters
    ----------
    architecture : str
        A name of :data:`cnninte_utils.models.BUILDERS`.
    dataset : ImageDataset
    recipe : Recipe
    options : dict, optional
        For the builder; JSON values.
    tensorboard_dir : path, optional
        Where to write TensorBoard logs (graph and curves). Asking for them trains anew. Needs the
        extra ``tensorboard``.

    Returns
    -------
    TrainedNetwork

    Raises
    ------
    ValueError
        If the architecture is unknown.
    ImportError
        If TensorBoard logs are asked for and TensorBoard is not installed.
    """
    determinants = {
        "architecture": architecture,
        "options": options or {},
        "recipe": asdict(recipe),
        "data": dataset.fingerprint,
        "backend": keras.backend.backend(),
        "keras": keras.__version__,
    }

    def make(path: Path) -> tuple[TrainedNetwork, dict]:
        network = _fit(architecture, options or {}, dataset, recipe, tensorboard_dir)
        network.model.save(path)
        return network, network.history

    def load(path: Path, history: dict) -> TrainedNetwork:
        return TrainedNetwork(keras.models.load_model(path), history, was_cached=True)

    if tensorboard_dir is not None:
        return _fit(architecture, options or {}, dataset, recipe, tensorboard_dir)
    return Artifact(architecture, ".keras", determinants).get_or_make(load, make)


class _MiniBatches(keras.utils.PyDataset):
    """Random mini-batches; every image once before any comes again."""

    def __init__(self, split: Split, recipe: Recipe):
        super().__init__()
        rng = np.random.default_rng(recipe.seed)
        n_passes = -(-recipe.steps * recipe.batch_size // len(split))
        order = np.concatenate([rng.permutation(len(split)) for _ in range(n_passes)])
        self._split = split
        self._rows = order[: recipe.steps * recipe.batch_size].reshape(recipe.steps, recipe.batch_size)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        batch = self._split.take(self._rows[step])
        return batch.images, batch.labels


class _ProgressBar(keras.callbacks.Callback):
    """One tidy bar over all steps."""

    def __init__(self, n_steps: int):
        super().__init__()
        self._bar = tqdm(total=n_steps, desc="training", unit="step", disable=not shows_progress())

    def on_train_batch_end(self, batch, logs=None):
        self._bar.update()

    def on_epoch_end(self, epoch, logs=None):
        self._bar.set_postfix({name: f"{value:.3f}" for name, value in (logs or {}).items()})

    def on_train_end(self, logs=None):
        self._bar.close()


def _fit(
    architecture: str,
    options: dict[str, Any],
    dataset: ImageDataset,
    recipe: Recipe,
    tensorboard_dir: Path | str | None,
) -> TrainedNetwork:
    keras.utils.set_random_seed(recipe.seed)
    model = build(architecture, **options)
    model.compile(
        optimizer=keras.optimizers.Adam(recipe.learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        # XLA's convolutions take twice the time of TensorFlow's own on a CPU
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    callbacks: list[keras.callbacks.Callback] = [_ProgressBar(recipe.steps)]
    if tensorboard_dir is not None:
        callbacks.append(_tensorboard(tensorboard_dir))
    validation = dataset.validation.take(slice(_N_VALIDATION))
    fitted = model.fit(
        _MiniBatches(dataset.train, recipe),
        epochs=recipe.steps // recipe.report_every,
        steps_per_epoch=recipe.report_every,
        validation_data=(validation.images, validation.labels),
        validation_batch_size=_N_VALIDATION,
        callbacks=callbacks,
        shuffle=False,
        verbose=0,
    )
    history = {name: [float(value) for value in values] for name, values in fitted.history.items()}
    history["step"] = [recipe.report_every * (i + 1) for i in range(len(history["loss"]))]
    return TrainedNetwork(model, history, was_cached=False)


def _tensorboard(folder: Path | str) -> keras.callbacks.TensorBoard:
    if find_spec("tensorboard") is None:
        raise ImportError("TensorBoard logs need the extra: pip install 'cnninte-utils[tensorboard]'")
    return keras.callbacks.TensorBoard(folder, write_graph=True)
