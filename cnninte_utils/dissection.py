"""Dissect layers of a network on a folder of labelled pixels: two streamed passes, in shards."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np
from tqdm import tqdm

from .activations import layer_output
from .artifacts import Artifact, array_digest, atomic_path, shows_progress
from .chains import receptive_field
from .datasets.broden import Broden
from .detectors import Concepts, Dissection, Probe
from .tally import Counts, Taps, TopShare, anchored_taps, bilinear_taps, label_pixels
from .training import load_model

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["dissect", "masks", "null_probes", "strongest_images"]

_ANNOTATIONS_KEPT = 2_000


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
    cache, so that a dissection that was stopped goes on, and one that was done is only read.

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
        Images in one forward pass.
    shard_size : int
        Images in one task, a multiple of `batch_size`; what is lost at most when a dissection is stopped.
    client : distributed.Client, optional
        Workers for the shards; they must share the cache folder. The result is the same.

    Returns
    -------
    list of Dissection
        One for each probe.

    Raises
    ------
    ValueError
        If a layer is unknown or has no feature maps, the network puts out NaN or infinity, or `shard_size`
        is not a multiple of `batch_size`.
    cnninte_utils.artifacts.DataError
        If the folder is damaged.
    """
    if shard_size < 1 or shard_size % batch_size:
        raise ValueError(f"shard_size must be a multiple of batch_size ({batch_size}), got {shard_size}")
    job = _Job(model, tuple(probes), broden, anchored, batch_size)
    determinants = job.determinants() | {"keras": keras.__version__, "backend": keras.backend.backend()}
    artifact = Artifact("dissection", ".npz", determinants)

    def make(path: Path) -> tuple[list[Dissection], list[dict]]:
        run = _Run(job, shard_size, artifact.path, client)
        results = run.results()
        arrays = {f"{i}/{k}": v for i, result in enumerate(results) for k, v in result.arrays().items()}
        with path.open("wb") as stream:
            np.savez_compressed(stream, **arrays)
        run.forget()
        return results, [result.description() for result in results]

    def load(path: Path, descriptions: list[dict]) -> list[Dissection]:
        with np.load(path, allow_pickle=False) as arrays:
            names = [name.split("/") for name in arrays.files]
            return [
                Dissection.of(text, {k: arrays[f"{i}/{k}"] for n, k in names if n == str(i)})
                for i, text in enumerate(descriptions)
            ]

    return artifact.get_or_make(load, make)


@dataclass(frozen=True, eq=False)
class _Job:
    """What is to be counted; small functions of it and some rows of the index are what workers compute."""

    model: keras.Model | Path
    probes: tuple[Probe, ...]
    broden: Broden = field(repr=False)
    anchored: bool
    batch_size: int

    def determinants(self) -> dict:
        network = keras.Model(self.model.inputs, self.model.outputs, name=self.model.name)
        return {
            "network": network.to_json(),
            "weights": array_digest(*self.model.get_weights()),
            "probes": [asdict(probe) for probe in self.probes],
            "data": self.broden.fingerprint,
            "anchored": self.anchored,
            "batch_size": self.batch_size,
        }

    @property
    def views(self) -> list[tuple[str, int | None]]:
        """(layer, rotation) of the probes, each once."""
        return list(dict.fromkeys((probe.layer, probe.rotation) for probe in self.probes))

    def shape(self, layer: str) -> tuple[int, int, int]:
        shape = layer_output(self.model, layer).shape[1:]
        if len(shape) != 3:
            raise ValueError(f"{layer} has no feature maps to dissect: its output has shape {tuple(shape)}")
        return shape

    def n_above(self, probe: Probe) -> int:
        """How many of a unit's positions are above its threshold."""
        height, width, _ = self.shape(probe.layer)
        return int(probe.quantile * len(self.broden) * height * width)

    def tops(self) -> list[TopShare]:
        """Return, for each view, what will find its thresholds."""
        return [
            TopShare(
                self.shape(layer)[-1],
                1 + max(self.n_above(p) for p in self.probes if (p.layer, p.rotation) == (layer, rotation)),
            )
            for layer, rotation in self.views
        ]

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

    def batches(self, rows: Sequence[int]) -> Iterator[tuple[Sequence[int], dict]]:
        """Yield (rows, view → feature maps of those images)."""
        layers = list(dict.fromkeys(layer for layer, _ in self.views))
        network = keras.Model(self.model.inputs, {layer: layer_output(self.model, layer) for layer in layers})
        for start in range(0, len(rows), self.batch_size):
            some = rows[start : start + self.batch_size]
            images = self.broden.images(some, self.model.input_shape[1])
            maps = network.predict_on_batch(images)
            for layer, values in maps.items():
                if not np.isfinite(values).all():
                    raise ValueError(
                        f"{layer} puts out NaN or infinity: the network's weights are not usable"
                    )
            yield some, {(layer, seed): _rotated(maps[layer], seed) for layer, seed in self.views}


def _rotated(maps: np.ndarray, seed: int | None) -> np.ndarray:
    return maps if seed is None else maps @ _rotation(maps.shape[-1], seed)


@cache
def _rotation(n: int, seed: int) -> np.ndarray:
    """Return a random orthogonal matrix, uniformly distributed (QR of a Gaussian one, signs fixed)."""
    q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))
    return (q * np.sign(np.diag(r))).astype(np.float32)


def _top_shares(job: _Job, rows: Sequence[int]) -> dict[str, np.ndarray]:
    """First pass over some images: each view's largest activations."""
    tops = job.tops()
    for _, maps in job.batches(rows):
        for view, top in zip(job.views, tops, strict=True):
            top.add(maps[view])
    return {str(i): top.largest() for i, top in enumerate(tops)}


def _counts(job: _Job, rows: Sequence[int], thresholds: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Second pass over some images: each probe's counts, the probes side by side."""
    counts, taps = job.counts(), [job.taps(probe.layer) for probe in job.probes]
    annotation = lru_cache(maxsize=_ANNOTATIONS_KEPT)(job.broden.annotation)
    pixels = np.zeros(job.broden.n_labels, np.int64)

    def add(probe, count, levels, both_taps):
        labelled = _labelled(len(job.broden), probe.permutation)
        for row, each in zip(some, planes[probe.layer, probe.rotation], strict=True):
            truth = annotation(labelled[row])
            count.add(each, levels, both_taps, truth.maps, truth.whole, job.broden.primary)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for some, maps in job.batches(rows):
            planes = {view: np.ascontiguousarray(each.transpose(0, 3, 1, 2)) for view, each in maps.items()}
            for row in some:
                pixels += label_pixels(annotation(row).maps, annotation(row).whole, len(pixels))
            list(pool.map(add, job.probes, counts, thresholds, taps))
    named = {f"{i}/{name}": array for i, count in enumerate(counts) for name, array in vars(count).items()}
    return named | {"label": pixels}


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
        job = self.job
        thresholds = self._thresholds()
        counted = self._fold("counts", _counts, lambda a, b: a + b, thresholds)
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

    def _thresholds(self) -> list[np.ndarray]:
        largest = self._fold("thresholds", _top_shares, _largest)
        view = {view: largest[str(i)] for i, view in enumerate(self.job.views)}
        return [view[p.layer, p.rotation][:, self.job.n_above(p)].copy() for p in self.job.probes]

    def _fold(self, name: str, compute: Callable, merge: Callable, *arguments) -> dict[str, np.ndarray]:
        """Compute every shard and merge the results, in whatever order they come."""
        path = self._part(name)
        done, merged = _read_part(path)
        starts = [s for s in range(0, len(self.job.broden), self.shard_size) if s not in done]
        bar = tqdm(total=len(starts), desc=name, unit="shard", disable=not shows_progress())
        for start, part in self._computed(compute, starts, arguments):
            merged = {key: merge(merged[key], part[key]) for key in part} if merged else part
            done = np.append(done, start)
            _write_part(path, done, merged)
            bar.update()
        bar.close()
        return merged

    def _computed(self, compute: Callable, starts: Sequence[int], arguments: tuple) -> Iterable:
        def rows(start: int) -> range:
            return range(start, min(start + self.shard_size, len(self.job.broden)))

        if self.client is None:
            yield from ((start, compute(self.job, rows(start), *arguments)) for start in starts)
            return
        from distributed import as_completed

        file = self.path.with_name(f"{self.path.stem}.model.keras")
        with atomic_path(file) as temporary:
            self.job.model.save(temporary)
        job = replace(self.job, model=file)
        futures = {
            self.client.submit(_remotely, compute, job, rows(start), *arguments, pure=False): start
            for start in starts
        }
        for future in as_completed(futures):
            yield futures[future], future.result()
        file.unlink()

    def forget(self) -> None:
        """Remove what was written down."""
        for name in ("thresholds", "counts"):
            self._part(name).unlink(missing_ok=True)

    def _part(self, name: str) -> Path:
        return self.path.with_name(f"{self.path.stem}.{name}.{self.shard_size}.part.npz")


def _remotely(compute: Callable, job: _Job, rows: Sequence[int], *arguments) -> dict[str, np.ndarray]:
    return compute(replace(job, model=_loaded(job.model)), rows, *arguments)


@lru_cache(maxsize=1)
def _loaded(path: Path) -> keras.Model:
    return load_model(path)


def _largest(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return -np.sort(-np.concatenate([one, other], axis=1), axis=1)[:, : one.shape[1]]


def _read_part(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    if not path.is_file():
        return np.empty(0, np.int64), {}
    with np.load(path, allow_pickle=False) as arrays:
        merged = dict(arrays)
    return merged.pop("done"), merged


def _write_part(path: Path, done: np.ndarray, merged: dict[str, np.ndarray]) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, done=done, **merged)


def strongest_images(
    model: keras.Model, layer: str, broden: Broden, k: int = 9, *, batch_size: int = 50
) -> np.ndarray:
    """Return the rows (units, k) of the images where each unit is strongest, the strongest first."""
    maps = layer_output(model, layer, "max")
    network = keras.Model(model.inputs, maps)
    size = model.input_shape[1]
    starts = range(0, len(broden), batch_size)
    rows = [range(start, min(start + batch_size, len(broden))) for start in starts]
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
