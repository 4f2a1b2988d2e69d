"""Dissect layers of a network on a folder of labelled pixels: two streamed passes, in shards."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from ...artifacts import Artifact, array_digest, atomic_path
from ...datasets.broden import Broden
from ...networks.activations import layer_output
from ...networks.lookup import images_at_once, receptive_field
from ...networks.training import FORMER_MODULES, load_model
from .counting import Counts, Taps, TopShare, anchored_taps, bilinear_taps, label_pixels
from .results import Concepts, Dissection, Probe
from .shards import Arrays, fold, read_part, write_part

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["dissect", "masks", "null_probes", "strongest_images"]

_ANNOTATIONS_KEPT = 2_000
_BYTES_KEPT = 2**30
_COUNTING = 2

View = tuple[str, int | None]
"""Layer and rotation."""


def null_probes(
    layers: Sequence[str], *, rotations: int = 0, permutations: int = 0, **options
) -> list[Probe]:
    """Return what counts are to be compared with: random rotations of the units, permuted labels.

    `options` go to :class:`Probe`.
    """
    rotated = [Probe(layer, rotation=seed, **options) for seed in range(rotations) for layer in layers]
    return rotated + [
        Probe(layer, permutation=seed, **options) for seed in range(permutations) for layer in layers
    ]


def dissect(
    model: keras.Model,
    probes: Sequence[Probe],
    broden: Broden,
    *,
    anchored: bool = False,
    batch_size: int = 50,
    shard_size: int = 500,
    client: "Client | None" = None,
) -> list[Dissection]:
    """Count what units and concepts have in common, for several layers, quantiles and nulls in one go.

    Two passes over the images: the first finds each unit's activation threshold, exactly; the second resizes
    the feature maps to the label maps, compares, and counts. Finished shards and results are kept in the
    cache, so that a dissection that was stopped goes on, and one that was done is only read. The first pass
    holds the top share of every unit; where that is much (many layers, rotations or images), it takes some
    layers and rotations at a time.

    Parameters
    ----------
    model : keras.Model
        A functional model; images are resized to what it takes.
    probes : sequence of Probe
    broden : Broden
    anchored : bool
        Place feature maps by the centres of receptive fields instead of stretching them over the image as
        NetDissect-Lite does. The model must be a chain up to the layers then.
    batch_size : int
        Images in one forward pass, at most.
    shard_size : int
        Images in one task, a multiple of `batch_size`.
    client : distributed.Client, optional
        Workers for the shards; they must share the cache folder. The result is the same.

    Returns
    -------
    list of Dissection
        One for each probe.

    Raises
    ------
    ValueError
        If a layer is unknown or has no feature maps, a quantile leaves nothing above the threshold, the model
        does not take square colour images or puts out NaN or infinity, there are no probes or images, or
        `shard_size` is not a multiple of `batch_size`.
    cnninte_utils.artifacts.DataError
        If the folder is damaged.
    """
    if batch_size < 1 or shard_size < 1 or shard_size % batch_size:
        raise ValueError(
            f"shard_size must be a multiple of batch_size, both at least 1, got {shard_size} and {batch_size}"
        )
    job = _Job(model, tuple(probes), broden, anchored, batch_size)
    job.check()
    artifact = Artifact("dissection", ".npz", job.determinants())
    run = _Run(job, shard_size, artifact.path, client)

    def make(path: Path) -> tuple[list[Dissection], list[dict]]:
        results = run.results()
        arrays = {f"{i}/{k}": v for i, result in enumerate(results) for k, v in result.arrays().items()}
        with path.open("wb") as stream:
            np.savez_compressed(stream, **arrays)
        return results, [result.description() for result in results]

    def load(path: Path, descriptions: list[dict]) -> list[Dissection]:
        with np.load(path, allow_pickle=False) as arrays:
            names = [name.split("/") for name in arrays.files]
            return [
                Dissection.of(text, {k: arrays[f"{i}/{k}"] for n, k in names if n == str(i)})
                for i, text in enumerate(descriptions)
            ]

    results = artifact.get_or_make(load, make)
    run.forget()
    return results


@dataclass(frozen=True, eq=False)
class _Job:
    """What is to be counted; small functions of it and some rows of the index are what workers compute."""

    model: keras.Model | Path
    probes: tuple[Probe, ...]
    broden: Broden = field(repr=False)
    anchored: bool
    batch_size: int

    def check(self) -> None:
        """Refuse what cannot be dissected before anything is computed."""
        if not self.probes or not len(self.broden):
            raise ValueError(
                f"expected at least one probe and one image, got {len(self.probes)} and {len(self.broden)}"
            )
        shape = self.model.input_shape
        if not isinstance(shape, tuple) or shape[1:] != (shape[1], shape[1], 3) or shape[1] is None:
            raise ValueError(
                f"{self.model.name} should take square colour images (n, size, size, 3) of a given size, "
                f"it takes {shape}"
            )
        for probe in self.probes:
            if self.n_above(probe) < 1:
                n_positions = self.n_positions(probe.layer)
                raise ValueError(
                    f"a quantile of {probe.quantile:g} leaves none of the {n_positions} positions of "
                    f"{probe.layer} above the threshold: ask for at least {1 / n_positions:.2g}"
                )

    def determinants(self) -> dict:
        network = keras.Model(self.model.inputs, self.model.outputs, name=self.model.name)
        return {
            "network": _with_former_modules(network.to_json()),
            "weights": array_digest(*self.model.get_weights()),
            "probes": [asdict(probe) for probe in self.probes],
            "data": self.broden.fingerprint,
            "anchored": self.anchored,
            "batch_size": self.batch_size,
            "counting": _COUNTING,
            "keras": keras.__version__,
            "backend": keras.backend.backend(),
        }

    @contextmanager
    def for_workers(self, file: Path) -> Iterator["_Job"]:
        """Give a job that can be sent: its model lies in a file for the time being."""
        with atomic_path(file) as temporary:
            self.model.save(temporary)
        try:
            yield replace(self, model=file)
        finally:
            file.unlink()

    def here(self) -> "_Job":
        """Return the job with its model."""
        return replace(self, model=_loaded(self.model)) if isinstance(self.model, Path) else self

    def shape(self, layer: str) -> tuple[int, int, int]:
        shape = layer_output(self.model, layer).shape[1:]
        if len(shape) != 3:
            raise ValueError(f"{layer} has no feature maps to dissect: its output has shape {tuple(shape)}")
        return shape

    def n_positions(self, layer: str) -> int:
        """How many positions a unit has in all images."""
        height, width, _ = self.shape(layer)
        return len(self.broden) * height * width

    def n_above(self, probe: Probe) -> int:
        """How many of a unit's positions are above its threshold."""
        return int(probe.quantile * self.n_positions(probe.layer))

    def n_kept(self, view: View) -> int:
        """How many of a unit's largest activations have to be known."""
        return 1 + max(self.n_above(probe) for probe in self.probes if probe.view == view)

    @property
    def views(self) -> list[View]:
        """The views of the probes, each once."""
        return list(dict.fromkeys(probe.view for probe in self.probes))

    def groups(self) -> list[list[View]]:
        """Return the views in groups whose largest activations fit into memory."""
        groups, n_bytes = [], np.inf
        for view in self.views:
            more = 4 * self.n_kept(view) * self.shape(view[0])[-1]
            if n_bytes + more > _BYTES_KEPT:
                groups.append([])
                n_bytes = 0
            groups[-1].append(view)
            n_bytes += more
        return groups

    def counts(self) -> list[Counts]:
        """Return, for each probe, counts of nothing."""
        n_labels, n_categories = len(self.broden.primary), len(self.broden.categories)
        return [Counts.zeros(self.shape(probe.layer)[-1], n_labels, n_categories) for probe in self.probes]

    def taps(self, layer: str) -> tuple[Taps, Taps]:
        n_in = self.shape(layer)[:2]
        if not self.anchored:
            return tuple(bilinear_taps(*sizes) for sizes in zip(n_in, self.broden.map_size, strict=True))
        field_, size = receptive_field(self.model, layer), self.model.input_shape[1]
        return tuple(
            anchored_taps(*sizes, size, field_.offset, field_.stride)
            for sizes in zip(n_in, self.broden.map_size, strict=True)
        )

    def batches(
        self, rows: Sequence[int], views: Sequence[View]
    ) -> Iterator[tuple[Sequence[int], dict[View, np.ndarray]]]:
        """Yield (rows, view → feature maps of those images, float32)."""
        layers = list(dict.fromkeys(layer for layer, _ in views))
        network = keras.Model(self.model.inputs, {layer: layer_output(self.model, layer) for layer in layers})
        step = min(self.batch_size, images_at_once(network))
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            images = self.broden.images(some, self.model.input_shape[1])
            maps = {k: np.asarray(v, np.float32) for k, v in network.predict_on_batch(images).items()}
            for layer, values in maps.items():
                if not np.isfinite(values).all():
                    raise ValueError(
                        f"{layer} puts out NaN or infinity: the network's weights are not usable"
                    )
            yield some, {(layer, seed): _rotated(maps[layer], seed) for layer, seed in views}


def _with_former_modules(network: str) -> str:
    """Name classes by where they were first, so that results are found that were counted then."""
    for now, then in FORMER_MODULES.items():
        network = network.replace(f'"module": "cnninte_utils.{now}"', f'"module": "cnninte_utils.{then}"')
    return network


def _rotated(maps: np.ndarray, seed: int | None) -> np.ndarray:
    return maps if seed is None else maps @ _rotation(maps.shape[-1], seed)


@cache
def _rotation(n: int, seed: int) -> np.ndarray:
    """Return a random orthogonal matrix, uniformly distributed (QR of a Gaussian one, signs fixed)."""
    q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))
    return (q * np.sign(np.diag(r))).astype(np.float32)


@lru_cache(maxsize=1)
def _loaded(path: Path) -> keras.Model:
    return load_model(path)


def _top_shares(job: _Job, views: Sequence[View], rows: range) -> Arrays:
    """First pass over some images: each view's largest activations."""
    job = job.here()
    tops = []
    for view in views:
        height, width, n_units = job.shape(view[0])
        tops.append(TopShare(n_units, min(job.n_kept(view), len(rows) * height * width)))
    for _, maps in job.batches(rows, views):
        for view, top in zip(views, tops, strict=True):
            top.add(maps[view])
    return {str(i): top.largest() for i, top in enumerate(tops)}


def _largest(n_kept: Sequence[int], one: Arrays, other: Arrays) -> Arrays:
    """Merge two results of the first pass."""
    both = {name: np.concatenate([one[name], other[name]], axis=1) for name in one}
    return {name: -np.sort(-values, axis=1)[:, : n_kept[int(name)]] for name, values in both.items()}


def _counts(job: _Job, thresholds: Sequence[np.ndarray], rows: range) -> Arrays:
    """Second pass over some images: each probe's counts, the probes side by side."""
    job = job.here()
    counts, taps = job.counts(), [job.taps(probe.layer) for probe in job.probes]
    annotation = lru_cache(maxsize=_ANNOTATIONS_KEPT)(job.broden.annotation)
    pixels = np.zeros(job.broden.n_labels, np.int64)

    def add(probe, count, levels, both_taps):
        labelled = _labelled(len(job.broden), probe.permutation)
        for row, each in zip(some, planes[probe.view], strict=True):
            truth = annotation(labelled[row])
            count.add(each, levels, both_taps, truth.maps, truth.whole, job.broden.primary)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for some, maps in job.batches(rows, job.views):
            planes = {view: np.ascontiguousarray(each.transpose(0, 3, 1, 2)) for view, each in maps.items()}
            for row in some:
                pixels += label_pixels(annotation(row).maps, annotation(row).whole, len(pixels))
            list(pool.map(add, job.probes, counts, thresholds, taps))
    named = {f"{i}/{name}": array for i, count in enumerate(counts) for name, array in vars(count).items()}
    return named | {"label": pixels}


def _sum(one: Arrays, other: Arrays) -> Arrays:
    """Merge two results of the second pass."""
    return {name: one[name] + other[name] for name in one}


@cache
def _labelled(n: int, seed: int | None) -> np.ndarray:
    """Return the image whose labels each image gets."""
    return np.arange(n) if seed is None else np.random.default_rng(seed).permutation(n)


@dataclass(frozen=True, eq=False)
class _Run:
    """The two passes over all shards; what is finished is written down beside the result to come."""

    job: _Job
    shard_size: int
    path: Path
    client: "Client | None"

    def results(self) -> list[Dissection]:
        if self.client is None:
            return self._results(self.job)
        with self.job.for_workers(self.path.with_suffix(".model.keras")) as job:
            return self._results(job)

    def _results(self, job: _Job) -> list[Dissection]:
        thresholds = self._thresholds(job)
        counted = self._fold("counts", partial(_counts, job, thresholds), _sum)
        concepts = Concepts(
            tuple(job.broden.names), tuple(job.broden.categories), tuple(job.broden.primary.tolist())
        )
        return [
            Dissection(
                probe, concepts, len(job.broden), thresholds[i],
                *(counted[f"{i}/{name}"] for name in ("both", "area", "mask")), counted["label"],
            )
            for i, probe in enumerate(job.probes)
        ]  # fmt: skip

    def _thresholds(self, job: _Job) -> list[np.ndarray]:
        path = self._part("thresholds")
        done, found = read_part(path)
        for number, views in enumerate(self.job.groups()):
            if number in done:
                continue
            n_kept = [self.job.n_kept(view) for view in views]
            top = self._fold(f"top{number}", partial(_top_shares, job, views), partial(_largest, n_kept))
            for i, probe in enumerate(self.job.probes):
                if probe.view in views:
                    found[str(i)] = top[str(views.index(probe.view))][:, self.job.n_above(probe)].copy()
            done.append(number)
            write_part(path, done, found)
            self._part(f"top{number}").unlink(missing_ok=True)
        return [found[str(i)] for i in range(len(self.job.probes))]

    def _fold(self, name: str, compute: Callable, merge: Callable) -> Arrays:
        n, size = len(self.job.broden), self.shard_size
        shards = [range(start, min(start + size, n)) for start in range(0, n, size)]
        return fold(shards, compute, merge, self._part(name), self.client)

    def _part(self, name: str) -> Path:
        return self.path.with_suffix(f".{name}.{self.shard_size}.part.npz")

    def forget(self) -> None:
        """Remove what was written down, with shards of whatever size."""
        for part in self.path.parent.glob(f"{self.path.stem}.*.part.npz"):
            part.unlink()


def strongest_images(
    model: keras.Model, layer: str, broden: Broden, k: int = 9, *, batch_size: int = 50
) -> np.ndarray:
    """Return the rows (units, k) of the images where each unit is strongest, the strongest first."""
    maps = layer_output(model, layer, "max")
    network = keras.Model(model.inputs, maps)
    size = model.input_shape[1]
    step = min(batch_size, images_at_once(network))
    rows = [range(start, min(start + step, len(broden))) for start in range(0, len(broden), step)]
    peaks = np.concatenate([network.predict_on_batch(broden.images(some, size)) for some in rows])
    return np.argsort(-peaks, axis=0, kind="stable")[:k].T


def masks(maps: np.ndarray, threshold: float, shape: tuple[int, int]) -> np.ndarray:
    """Return where feature maps (n, height, width), resized to `shape`, exceed a threshold: (n, *shape)."""
    for axis, n_out in ((2, shape[1]), (1, shape[0])):
        maps = _resized(maps, bilinear_taps(maps.shape[axis], n_out), axis)
    return maps > threshold


def _resized(maps: np.ndarray, taps: Taps, axis: int) -> np.ndarray:
    places = taps.starts[:, None] + np.arange(taps.weights.shape[1])
    gathered = np.moveaxis(maps, axis, -1)[..., places]
    return np.moveaxis((gathered * taps.weights).sum(axis=-1).astype(np.float32), -1, axis)
