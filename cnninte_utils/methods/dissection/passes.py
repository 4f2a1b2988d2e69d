"""Dissect layers of a network on a folder of labelled pixels: two streamed passes, in shards."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
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
from .counting import Counts, Resizing, TopShare, anchored_resizing, bilinear_resizing, label_pixels
from .results import Concepts, Dissection, Probe, read_all, write_all
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
    job = _job(model, tuple(probes), broden, anchored, batch_size)
    artifact = Artifact("dissection", ".npz", _determinants(model, job, anchored))
    work = _Work(model, len(broden), shard_size, artifact.path, client)

    def make(path: Path) -> tuple[list[Dissection], list[dict]]:
        with work:
            results = _second_pass(job, _first_pass(job, work), work)
        return results, write_all(path, results)

    results = artifact.get_or_make(read_all, make)
    work.forget()
    return results


@dataclass(frozen=True, eq=False)
class _Job:
    """What is to be counted: all that a shard needs to know but the network.

    Parameters
    ----------
    probes : tuple of Probe
    broden : Broden
    shapes : dict of str to tuple of int
        Layer → height, width and units of its feature maps.
    resizings : dict of str to tuple of Resizing
        Layer → how its maps become as large as the label maps: rows, columns.
    batch_size : int
    """

    probes: tuple[Probe, ...]
    broden: Broden = field(repr=False)
    shapes: dict[str, tuple[int, int, int]]
    resizings: dict[str, tuple[Resizing, Resizing]] = field(repr=False)
    batch_size: int

    def n_positions(self, layer: str) -> int:
        """How many positions a unit has in all images."""
        height, width, _ = self.shapes[layer]
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
            more = 4 * self.n_kept(view) * self.shapes[view[0]][-1]
            if n_bytes + more > _BYTES_KEPT:
                groups.append([])
                n_bytes = 0
            groups[-1].append(view)
            n_bytes += more
        return groups

    def no_counts(self) -> list[Counts]:
        """Return, for each probe, counts of nothing."""
        n_labels, n_categories = len(self.broden.primary), len(self.broden.categories)
        return [Counts.zeros(self.shapes[probe.layer][-1], n_labels, n_categories) for probe in self.probes]


def _job(model: keras.Model, probes: tuple[Probe, ...], broden: Broden, anchored: bool, batch_size) -> _Job:
    """Refuse what cannot be dissected before anything is computed, and note what is to be done."""
    if not probes or not len(broden):
        raise ValueError(f"expected at least one probe and one image, got {len(probes)} and {len(broden)}")
    shape = model.input_shape
    if not isinstance(shape, tuple) or shape[1:] != (shape[1], shape[1], 3) or shape[1] is None:
        raise ValueError(
            f"{model.name} should take square colour images (n, size, size, 3) of a given size, "
            f"it takes {shape}"
        )
    shapes = {probe.layer: _map_shape(model, probe.layer) for probe in probes}
    resizings = {
        layer: _resizing(model, layer, maps[:2], broden.map_size, anchored) for layer, maps in shapes.items()
    }
    job = _Job(probes, broden, shapes, resizings, batch_size)
    for probe in probes:
        if job.n_above(probe) < 1:
            n_positions = job.n_positions(probe.layer)
            raise ValueError(
                f"a quantile of {probe.quantile:g} leaves none of the {n_positions} positions of "
                f"{probe.layer} above the threshold: ask for at least {1 / n_positions:.2g}"
            )
    return job


def _map_shape(model: keras.Model, layer: str) -> tuple[int, int, int]:
    shape = layer_output(model, layer).shape[1:]
    if len(shape) != 3:
        raise ValueError(f"{layer} has no feature maps to dissect: its output has shape {tuple(shape)}")
    return tuple(shape)


def _resizing(model: keras.Model, layer: str, n_in, n_out, anchored: bool) -> tuple[Resizing, Resizing]:
    sizes = list(zip(n_in, n_out, strict=True))
    if not anchored:
        return tuple(bilinear_resizing(*pair) for pair in sizes)
    seen, size = receptive_field(model, layer), model.input_shape[1]
    return tuple(anchored_resizing(*pair, size, seen.offset, seen.stride) for pair in sizes)


def _determinants(model: keras.Model, job: _Job, anchored: bool) -> dict:
    network = keras.Model(model.inputs, model.outputs, name=model.name)
    return {
        "network": _with_former_modules(network.to_json()),
        "weights": array_digest(*model.get_weights()),
        "probes": [asdict(probe) for probe in job.probes],
        "data": job.broden.fingerprint,
        "anchored": anchored,
        "batch_size": job.batch_size,
        "counting": _COUNTING,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
    }


def _with_former_modules(network: str) -> str:
    """Name classes by where they were first, so that results are found that were counted then."""
    for now, then in FORMER_MODULES.items():
        network = network.replace(f'"module": "cnninte_utils.{now}"', f'"module": "cnninte_utils.{then}"')
    return network


@dataclass(frozen=True, eq=False)
class _Work:
    """How shards are computed, here or by workers, and where what is finished is written down.

    Used as a context: then the network lies in a file for the workers, if there are any.
    """

    model: keras.Model
    n_images: int
    shard_size: int
    path: Path
    client: "Client | None"

    def fold(self, name: str, compute: Callable, merge: Callable) -> Arrays:
        """Compute every shard as ``compute(model, rows)`` and merge the results."""
        n, size = self.n_images, self.shard_size
        shards = [range(start, min(start + size, n)) for start in range(0, n, size)]
        of_rows = (
            partial(compute, self.model) if self.client is None else partial(_stored, self._file, compute)
        )
        return fold(shards, of_rows, merge, self.part(name), self.client)

    def part(self, name: str) -> Path:
        """Where unfinished results of this name are."""
        return self.path.with_suffix(f".{name}.{self.shard_size}.part.npz")

    def forget(self) -> None:
        """Remove what was written down, with shards of whatever size."""
        for part in self.path.parent.glob(f"{self.path.stem}.*.part.npz"):
            part.unlink()

    @property
    def _file(self) -> Path:
        return self.path.with_suffix(".model.keras")

    def __enter__(self):
        if self.client is not None:
            with atomic_path(self._file) as temporary:
                self.model.save(temporary)

    def __exit__(self, *_):
        self._file.unlink(missing_ok=True)


def _stored(file: Path, compute: Callable, rows: range) -> Arrays:
    """Compute a shard with the network in a file: what workers do."""
    return compute(_loaded(file), rows)


@lru_cache(maxsize=1)
def _loaded(file: Path) -> keras.Model:
    return load_model(file, compile=False)


def _first_pass(job: _Job, work: _Work) -> list[np.ndarray]:
    """Find the threshold of every unit, for each probe."""
    path = work.part("thresholds")
    done, found = read_part(path)
    for number, views in enumerate(job.groups()):
        if number in done:
            continue
        merge = partial(_largest, [job.n_kept(view) for view in views])
        top = work.fold(f"top{number}", partial(_top_shares, job, views), merge)
        for i, probe in enumerate(job.probes):
            if probe.view in views:
                found[str(i)] = top[str(views.index(probe.view))][:, job.n_above(probe)].copy()
        done.append(number)
        write_part(path, done, found)
        work.part(f"top{number}").unlink(missing_ok=True)
    return [found[str(i)] for i in range(len(job.probes))]


def _top_shares(job: _Job, views: Sequence[View], model: keras.Model, rows: range) -> Arrays:
    """Return each view's largest activations over some images."""
    tops = []
    for view in views:
        height, width, n_units = job.shapes[view[0]]
        tops.append(TopShare(n_units, min(job.n_kept(view), len(rows) * height * width)))
    for _, maps in _feature_maps(job, model, rows, views):
        for view, top in zip(views, tops, strict=True):
            top.add(maps[view])
    return {str(i): top.largest() for i, top in enumerate(tops)}


def _largest(n_kept: Sequence[int], one: Arrays, other: Arrays) -> Arrays:
    """Merge two results of the first pass."""
    both = {name: np.concatenate([one[name], other[name]], axis=1) for name in one}
    return {name: -np.sort(-values, axis=1)[:, : n_kept[int(name)]] for name, values in both.items()}


def _second_pass(job: _Job, thresholds: Sequence[np.ndarray], work: _Work) -> list[Dissection]:
    """Count the pixels that units and concepts have in common, for each probe."""
    counted = work.fold("counts", partial(_counts, job, thresholds), _sum)
    broden = job.broden
    concepts = Concepts(tuple(broden.names), tuple(broden.categories), tuple(broden.primary.tolist()))
    return [
        Dissection(
            probe, concepts, len(broden), thresholds[i],
            *(counted[f"{i}/{name}"] for name in ("both", "area", "mask")), counted["label"],
        )
        for i, probe in enumerate(job.probes)
    ]  # fmt: skip


def _counts(job: _Job, thresholds: Sequence[np.ndarray], model: keras.Model, rows: range) -> Arrays:
    """Return each probe's counts over some images, the probes side by side."""
    counts = job.no_counts()
    annotation = lru_cache(maxsize=_ANNOTATIONS_KEPT)(job.broden.annotation)
    pixels = np.zeros(job.broden.n_labels, np.int64)

    def add(probe, count, levels):
        labelled = _labelled(len(job.broden), probe.permutation)
        for row, each in zip(some, planes[probe.view], strict=True):
            truth = annotation(labelled[row])
            resizing = job.resizings[probe.layer]
            count.add(each, levels, resizing, truth.maps, truth.whole, job.broden.primary)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for some, maps in _feature_maps(job, model, rows, job.views):
            planes = {view: np.ascontiguousarray(each.transpose(0, 3, 1, 2)) for view, each in maps.items()}
            for row in some:
                pixels += label_pixels(annotation(row).maps, annotation(row).whole, len(pixels))
            list(pool.map(add, job.probes, counts, thresholds))
    named = {f"{i}/{name}": array for i, count in enumerate(counts) for name, array in vars(count).items()}
    return named | {"label": pixels}


def _sum(one: Arrays, other: Arrays) -> Arrays:
    """Merge two results of the second pass."""
    return {name: one[name] + other[name] for name in one}


def _feature_maps(
    job: _Job, model: keras.Model, rows: Sequence[int], views: Sequence[View]
) -> Iterator[tuple[Sequence[int], dict[View, np.ndarray]]]:
    """Run the network on some images; yield (rows, view → their feature maps, float32) batch by batch."""
    layers = list(dict.fromkeys(layer for layer, _ in views))
    network = keras.Model(model.inputs, {layer: layer_output(model, layer) for layer in layers})
    step = min(job.batch_size, images_at_once(network))
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        images = job.broden.images(some, model.input_shape[1])
        maps = {k: np.asarray(v, np.float32) for k, v in network.predict_on_batch(images).items()}
        for layer, values in maps.items():
            if not np.isfinite(values).all():
                raise ValueError(f"{layer} puts out NaN or infinity: the network's weights are not usable")
        yield some, {(layer, seed): _rotated(maps[layer], seed) for layer, seed in views}


def _rotated(maps: np.ndarray, seed: int | None) -> np.ndarray:
    return maps if seed is None else maps @ _rotation(maps.shape[-1], seed)


@cache
def _rotation(n: int, seed: int) -> np.ndarray:
    """Return a random orthogonal matrix, uniformly distributed (QR of a Gaussian one, signs fixed)."""
    q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))
    return (q * np.sign(np.diag(r))).astype(np.float32)


@cache
def _labelled(n: int, seed: int | None) -> np.ndarray:
    """Return the image whose labels each image gets."""
    return np.arange(n) if seed is None else np.random.default_rng(seed).permutation(n)


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
        maps = _resized(maps, bilinear_resizing(maps.shape[axis], n_out), axis)
    return maps > threshold


def _resized(maps: np.ndarray, resizing: Resizing, axis: int) -> np.ndarray:
    places = resizing.starts[:, None] + np.arange(resizing.weights.shape[1])
    gathered = np.moveaxis(maps, axis, -1)[..., places]
    return np.moveaxis((gathered * resizing.weights).sum(axis=-1).astype(np.float32), -1, axis)
