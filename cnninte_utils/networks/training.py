"""Fit a network once; afterwards load it."""

import gc
import json
import re
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from .. import checks, progress
from ..artifacts import DAMAGES, Artifact, atomic_path, read_json, write_json
from ..datasets import ImageDataset, Split
from . import accelerated
from .activations import Batches
from .builders import build
from .lookup import images_at_once
from .weights import Weights

__all__ = [
    "FORMER_MODULES",
    "PRECISIONS",
    "Objective",
    "Recipe",
    "TrainedNetwork",
    "augmented",
    "fit_for_package",
    "fit_or_load",
    "load_model",
]

_N_VALIDATION = 1_000
_PACKAGED = Path(__file__).with_name("bundled")
FORMER_MODULES = {
    "networks.parts": "layers",
    "methods.group_norms.weights": "regularizers",
    "methods.group_norms.activations": "activation_regularizers",
}
"""Where classes that stored networks name are, and where they were in the first edition."""
_VALIDATION_BATCH = 100
_SECONDS_APART = 10
"""Two checkpoints are, at least: writing one takes a small network as long as many steps."""
_MANY_WEIGHTS = 20_000_000  # 80 MB, and twice that in Adam's averages
PRECISIONS = ("float32", "mixed_bfloat16")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Parameters
    ----------
    steps : int
        Optimizer steps, one mini-batch each.
    batch_size : int
    learning_rate : float
        Its largest value if there is a schedule.
    report_every : int
        Steps between two points of the learning curves, at which there may be a checkpoint; the steps must
        be a multiple of it.
    seed : int
        Of the initial weights, the order of the images, augmentation and dropout.
    schedule : {"constant", "cosine"}
        Cosine: up from 0 over a twentieth of the steps, then down to 0 along half a cosine.
    weight_decay : float
        Decoupled (AdamW); not a term of the loss.
    is_augmented : bool
        Mirror images left to right, and shift them by up to an eighth of their size, at random.
    algorithm : {"adam", "sgd"}
        The second with momentum 0.9, as in paper C's authors' code.
    precision : {"float32", "mixed_bfloat16"}
        Of what the layers compute while training; weights and updates are float32 in both, and so is all of
        the network that comes out. On processors with AMX the second takes half the time.
    """

    steps: int = 1_000
    batch_size: int = 50
    learning_rate: float = 1e-4
    report_every: int = 100
    seed: int = 0
    schedule: str = "constant"
    weight_decay: float = 0.0
    is_augmented: bool = False
    algorithm: str = "adam"
    precision: str = "float32"

    def __post_init__(self):
        counts = {"steps": self.steps, "batch_size": self.batch_size, "report_every": self.report_every}
        checks.at_least(1, **counts)
        checks.at_least(0, seed=self.seed)
        if self.steps % self.report_every:
            raise ValueError(f"steps ({self.steps}) must be a multiple of report_every ({self.report_every})")
        checks.choice("is_augmented", self.is_augmented, (False, True))
        checks.not_negative(learning_rate=self.learning_rate, weight_decay=self.weight_decay)
        checks.choice("schedule", self.schedule, ("constant", "cosine"))
        checks.choice("algorithm", self.algorithm, ("adam", "sgd"))
        checks.choice("precision", self.precision, PRECISIONS)

    @classmethod
    def of_epochs(cls, epochs: int, n_images: int, batch_size: int, **options) -> "Recipe":
        """Return a recipe in passes over `n_images` images, with a report after each."""
        per_epoch = -(-n_images // batch_size)
        return cls(epochs * per_epoch, batch_size, report_every=per_epoch, **options)

    def determinants(self) -> dict[str, Any]:
        """Return the recipe as JSON, without the precision that it always had before there was a choice."""
        values = asdict(self)
        if self.precision == "float32":
            del values["precision"]
        return values

    def optimizer(self) -> keras.optimizers.Optimizer:
        """Return the optimizer that the recipe wants."""
        rate = float(self.learning_rate)
        if self.schedule == "cosine":
            n_warmup = self.steps // 20
            rate = keras.optimizers.schedules.CosineDecay(
                0.0, self.steps - n_warmup, warmup_target=rate, warmup_steps=n_warmup
            )
        decay = self.weight_decay or None
        if self.algorithm == "sgd":
            return keras.optimizers.SGD(rate, momentum=0.9, weight_decay=decay)
        return keras.optimizers.Adam(rate, weight_decay=decay)


class Objective(Protocol):
    """What a training wants beside the cross-entropy: a dataclass of JSON values with two methods."""

    def applied_to(self, model: keras.Model) -> keras.Model:
        """Return a copy of the model, with its weights, whose loss has the objective's terms."""

    def callbacks(self, model: keras.Model) -> list[keras.callbacks.Callback]:
        """Return what is done or measured while the model is trained."""


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
    weights: Weights | None = None,
    objective: Objective | None = None,
    tensorboard_dir: Path | str | None = None,
) -> TrainedNetwork:
    """Train a network, or load the one trained before with the same determinants.

    A few networks come with the package (``bundled/``). Any other is stored as a ``.keras`` file keyed by
    the architecture and its options, the initial weights, the recipe, the objective, the data's fingerprint,
    the backend and Keras's version. A training that was killed goes on from its last checkpoint (at a report,
    not two within ten seconds) and ends where it would have (but for dropout on the torch backend, which
    takes random numbers of torch's own). The learning curves come from the training batches and the
    validation split; the test split is never looked at.

    Parameters
    ----------
    architecture : str
        A name of :data:`cnninte_utils.networks.builders.BUILDERS`.
    dataset : ImageDataset
        Its images are resized to what the network takes, batch by batch.
    recipe : Recipe
    options : dict, optional
        For the builder; JSON values.
    weights : Weights, optional
        To start from, for the layers that they have.
    objective : Objective, optional
        What is added to the loss, such as a ``Penalty`` of :mod:`cnninte_utils.methods.group_norms`.
    tensorboard_dir : path, optional
        Where to write TensorBoard logs (graph and curves). Asking for them trains anew. Needs the
        extra ``tensorboard``.

    Returns
    -------
    TrainedNetwork

    Raises
    ------
    ValueError
        If the architecture is unknown, or the weights do not fit it.
    ImportError
        If TensorBoard logs are asked for and TensorBoard is not installed.
    """
    training = _Training(architecture, options or {}, dataset, recipe, weights, objective)
    if tensorboard_dir is not None:
        return training.run(None, [_tensorboard(tensorboard_dir)])
    return training.packaged() or _run_or_load(training)


def fit_for_package(
    folder: Path,
    name: str,
    architecture: str,
    dataset: ImageDataset,
    recipe: Recipe,
    *,
    options: dict[str, Any],
    weights: Weights | None = None,
) -> TrainedNetwork:
    """Train a network that is to come with the package; write ``<name>.npz`` and what determined it.

    :func:`fit_or_load` takes a network in ``bundled/`` instead of training one with the same determinants.

    Parameters
    ----------
    folder : Path
        Where the two files go: weights in float16, and JSON with determinants and learning curves.
    name : str
    architecture, dataset, recipe, options, weights
        As in :func:`fit_or_load`.

    Returns
    -------
    TrainedNetwork
    """
    training = _Training(architecture, options, dataset, recipe, weights)
    network = _run_or_load(training)
    path = folder / f"{name}.npz"
    Weights.of(network.model, options).save(path)
    write_json(
        path.with_suffix(".json"), {"determinants": training.machine_free(), "history": network.history}
    )
    return network


def _run_or_load(training: "_Training") -> TrainedNetwork:
    artifact = Artifact(training.architecture, ".keras", training.determinants())
    checkpoint = _Checkpoint(artifact.path)

    def make(path: Path) -> tuple[TrainedNetwork, dict]:
        network = training.run(checkpoint)
        network.model.save(path)
        return network, network.history

    def load(path: Path, history: dict) -> TrainedNetwork:
        return TrainedNetwork(load_model(path, compile=False), history, was_cached=True)

    network = artifact.get_or_make(load, make)
    checkpoint.remove()
    return network


def load_model(path: Path, **options) -> keras.Model:
    """Load a ``.keras`` file, whose layers and penalties may be this package's; code in it is refused.

    Options are those of Keras's ``load_model``.
    """
    with zipfile.ZipFile(path) as archive:
        config = archive.read("config.json").decode()
    now = {then: now for now, then in FORMER_MODULES.items()}
    for name in set(re.findall(r'"module": "cnninte_utils\.([\w.]+)"', config)):
        import_module(f"cnninte_utils.{now.get(name, name)}")  # so that Keras knows its classes
    return keras.models.load_model(path, safe_mode=True, **options)


@dataclass(frozen=True)
class _Training:
    """Everything that determines a fitted network."""

    architecture: str
    options: dict[str, Any]
    dataset: ImageDataset
    recipe: Recipe
    weights: Weights | None
    objective: Objective | None = None

    def determinants(self) -> dict[str, Any]:
        return {
            "architecture": self.architecture,
            "options": self.options,
            "weights": self.weights and self.weights.fingerprint,
            "recipe": self.recipe.determinants(),
            "penalty": self.objective and asdict(self.objective),  # so called since there was but one kind
            "data": self.dataset.fingerprint,
            "backend": keras.backend.backend(),
            "keras": keras.__version__,
        }

    def machine_free(self) -> dict[str, Any]:
        """Return the determinants but for backend and Keras's version, as JSON has them."""
        kept = {
            name: value for name, value in self.determinants().items() if name not in ("backend", "keras")
        }
        return json.loads(json.dumps(kept))

    def packaged(self) -> TrainedNetwork | None:
        """Return the network with these determinants that comes with the package, if there is one."""
        wanted = self.machine_free()
        for path in sorted(_PACKAGED.glob("*.json")):
            card = read_json(path)
            if card["determinants"] == wanted:
                model = self._built()
                Weights.load(path.with_suffix(".npz")).put_into(model)
                return TrainedNetwork(model, card["history"], was_cached=True)
        return None

    def run(self, checkpoint: "_Checkpoint | None", callbacks: Sequence = ()) -> TrainedNetwork:
        """Fit, from the checkpoint on if there is one."""
        recipe = self.recipe
        n_reports = recipe.steps // recipe.report_every
        model, history = (checkpoint and checkpoint.load(n_reports)) or (self._start(), {})
        n_done = len(history.get("loss", ()))
        measuring = self.objective.callbacks(model) if self.objective else []
        own = [*measuring, _Curves(history), _ProgressBar(recipe, n_done * recipe.report_every)]
        if checkpoint is not None:
            own.append(_CheckpointWriter(checkpoint, history))
        size = model.input_shape[1]
        validation = self.dataset.validation
        validation = validation.take(slice(None, None, max(1, len(validation) // _N_VALIDATION)))
        n_validation = min(_VALIDATION_BATCH, images_at_once(model))
        if n_done < n_reports:
            if model.count_params() > _MANY_WEIGHTS:
                gc.collect()  # an earlier network, and what it was trained with, is gigabytes in a cycle
            _make_variables(model)
            batches = _MiniBatches(self.dataset.train, recipe, size, n_done)
            checked = Batches(validation, model.input_shape[1:], n_validation, has_labels=True)
            is_accelerated = accelerated.is_possible(self.dataset.train, size, [*measuring, *callbacks])
            callbacks = [*own, *callbacks]
            if is_accelerated:
                accelerated.fit(
                    model, self.dataset.train, batches.reports(),
                    n_done=n_done, validation=checked, callbacks=callbacks,
                )  # fmt: skip
            else:
                model.fit(
                    batches,
                    epochs=n_reports,
                    initial_epoch=n_done,
                    steps_per_epoch=recipe.report_every,
                    validation_data=checked,
                    callbacks=callbacks,
                    shuffle=False,
                    verbose=0,
                )
        history["step"] = [recipe.report_every * (i + 1) for i in range(len(history["loss"]))]
        if recipe.precision == "float32":
            network = _without_optimizer(model)
        else:
            network = self._built("float32")
            network.set_weights(model.get_weights())
        return TrainedNetwork(network, history, was_cached=False)

    def _built(self, precision: str | None = None) -> keras.Model:
        keras.utils.set_random_seed(self.recipe.seed)
        with _precision(precision or self.recipe.precision):
            model = build(self.architecture, **self.options)
            if self.weights is not None:
                self.weights.put_into(model)
            if self.objective is not None:
                model = self.objective.applied_to(model)
        return model

    def _start(self) -> keras.Model:
        model = self._built()
        model.compile(
            optimizer=self.recipe.optimizer(),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
            # XLA's convolutions take twice the time of TensorFlow's own on a CPU
            jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
        )
        return model


@contextmanager
def _precision(policy: str) -> Iterator[None]:
    """Build layers under that policy of Keras; the default, and that of the caller, stays as it is."""
    before = keras.config.dtype_policy()
    if policy != "float32":
        keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _without_optimizer(model: keras.Model) -> keras.Model:
    """Return the network that no longer trains: Adam's averages take twice the memory of the weights."""
    return keras.Model(model.inputs, model.outputs, name=model.name)


def _make_variables(model: keras.Model) -> None:
    """Make optimizer and metrics ready: TensorFlow traces a step twice if the first one makes variables."""
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    model.compute_metrics(None, np.zeros(1), np.ones((1, *model.output_shape[1:]), np.float32))
    model.reset_metrics()


class _MiniBatches(keras.utils.PyDataset):
    """Random mini-batches; every image once before any comes again."""

    def __init__(self, split: Split, recipe: Recipe, size: int, n_done: int):
        super().__init__()
        rng = np.random.default_rng(recipe.seed)
        n_passes = -(-recipe.steps * recipe.batch_size // len(split))
        order = np.concatenate([rng.permutation(len(split)).astype(np.uint32) for _ in range(n_passes)])
        self._split, self._recipe, self._size = split, recipe, size
        self._rows = order[: recipe.steps * recipe.batch_size].reshape(recipe.steps, recipe.batch_size)
        self._first = n_done * recipe.report_every

    def __len__(self) -> int:
        return len(self._rows) - self._first

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        step = self._first + index
        batch = self._split.take(self._rows[step])
        images = batch.floats(self._size)
        if self._recipe.is_augmented:
            images = _augmented(images, *self._draws(step))
        return images, batch.labels

    def _draws(self, step: int) -> np.ndarray:
        return _draws(self._recipe.batch_size, self._size, np.random.default_rng([self._recipe.seed, step]))

    def reports(self) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Yield rows (steps, n) and draws (steps, 3, n) of the steps up to each report that is to come."""
        every = self._recipe.report_every
        for first in range(self._first, len(self._rows), every):
            steps = range(first, first + every)
            draws = np.stack([self._draws(step) for step in steps]) if self._recipe.is_augmented else None
            yield self._rows[first : first + every], draws


def augmented(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirror images left to right and shift them by up to an eighth of their size, each at random.

    What a shift uncovers is filled by reflection.
    """
    return _augmented(images, *_draws(*images.shape[:2], rng))


def _draws(n: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw for each of `n` images whether it is mirrored, and where its cut begins: int (3, n)."""
    is_mirrored = rng.random(n) < 0.5
    return np.concatenate([is_mirrored[None], rng.integers(0, 2 * (size // 8) + 1, (2, n))])


def _augmented(images: np.ndarray, is_mirrored, down, right) -> np.ndarray:
    n, height, width, _ = images.shape
    reach = height // 8
    mirrored = np.where(is_mirrored[:, None, None, None], images[:, :, ::-1], images)
    padded = np.pad(mirrored, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
    return np.ascontiguousarray(windows[np.arange(n), down, right].transpose(0, 2, 3, 1))


class _Checkpoint:
    """A network in training and its curves, beside the artifact that it becomes.

    The curves, written last, name the model that goes with them. With them goes what Keras does not save:
    where the random numbers of its layers are.
    """

    def __init__(self, artifact: Path):
        self._stem = artifact.with_suffix("")
        self._curves = self._stem.with_suffix(".training.json")

    def load(self, n_reports: int) -> tuple[keras.Model, dict] | None:
        """Return the model and its curves, of at most so many reports; None if there is nothing to go on."""
        history = read_json(self._curves)
        curves = {"loss": [float], "random_states": [[int]]}
        if not (checks.has_form(history, curves) and self._model(history).is_file()):
            return None
        states = history.pop("random_states")
        is_even = all(
            checks.has_form(c, [float]) and len(c) == len(history["loss"]) for c in history.values()
        )
        if not is_even or len(history["loss"]) > n_reports:
            return None
        try:
            model = load_model(self._model(history))
            for generator, state in zip(_random_generators(model), states, strict=True):
                generator.state.assign(state)
        except DAMAGES:  # cut short, or of another version: training begins anew
            return None
        return model, history

    def save(self, model: keras.Model, history: dict) -> None:
        """Write the model, then the curves; remove earlier models."""
        with atomic_path(self._model(history)) as temporary:
            model.save(temporary)
        states = [keras.ops.convert_to_numpy(g.state).tolist() for g in _random_generators(model)]
        write_json(self._curves, history | {"random_states": states})
        for path in self._models():
            if path != self._model(history):
                path.unlink()

    def remove(self) -> None:
        """Remove what there is."""
        self._curves.unlink(missing_ok=True)
        for path in self._models():
            path.unlink()

    def _model(self, history: dict) -> Path:
        return self._stem.with_suffix(f".training{len(history['loss'])}.keras")

    def _models(self) -> list[Path]:
        return list(self._stem.parent.glob(f"{self._stem.name}.training*.keras"))


def _random_generators(model: keras.Model) -> list[keras.random.SeedGenerator]:
    return [layer.seed_generator for layer in model.layers if hasattr(layer, "seed_generator")]


class _CheckpointWriter(keras.callbacks.Callback):
    def __init__(self, checkpoint: _Checkpoint, history: dict):
        super().__init__()
        self._checkpoint, self._history = checkpoint, history
        self._written = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        if time.monotonic() - self._written >= _SECONDS_APART:
            self._checkpoint.save(self.model, self._history)
            self._written = time.monotonic()


class _Curves(keras.callbacks.Callback):
    """Adds what Keras reports to the curves."""

    def __init__(self, history: dict[str, list[float]]):
        super().__init__()
        self._history = history

    def on_epoch_end(self, epoch, logs=None):
        for name, value in (logs or {}).items():
            self._history.setdefault(name, []).append(float(value))


class _ProgressBar(keras.callbacks.Callback):
    """One tidy bar over all steps."""

    def __init__(self, recipe: Recipe, n_done: int):
        super().__init__()
        self._every = recipe.report_every
        self._bar = progress.bar(total=recipe.steps, initial=n_done, desc="training", unit="step")

    def on_train_batch_end(self, batch, logs=None):
        self._bar.update()

    def on_epoch_end(self, epoch, logs=None):
        self._bar.update((epoch + 1) * self._every - self._bar.n)  # accelerated steps are not told one by one
        self._bar.set_postfix({name: f"{value:.3f}" for name, value in (logs or {}).items()})

    def on_train_end(self, logs=None):
        self._bar.close()


def _tensorboard(folder: Path | str) -> keras.callbacks.TensorBoard:
    if find_spec("tensorboard") is None:
        raise ImportError("TensorBoard logs need the extra: pip install 'cnninte-utils[tensorboard]'")
    return keras.callbacks.TensorBoard(folder, write_graph=True)
