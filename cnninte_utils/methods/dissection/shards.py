"""Compute something shard by shard, here or on Dask workers, so that what was stopped goes on."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...artifacts import DataError, atomic_path, read_arrays
from ...progress import bar as progress_bar

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Arrays", "fold", "read_part", "write_part"]

Arrays = dict[str, np.ndarray]

_BYTES_PER_SHARD = 2**26


def fold(
    shards: Sequence[range],
    compute: Callable[[range], Arrays],
    merge: Callable[[Arrays, Arrays], Arrays],
    path: Path,
    client: "Client | None" = None,
) -> Arrays:
    """Compute every shard and merge the results, in whatever order they come.

    Parameters
    ----------
    shards : sequence of range
    compute : function
        Of one shard; with a client it is sent to the workers.
    merge : function
        Of two results, each of one or several shards; neither the order nor the grouping may matter.
    path : Path
        Where the merged results are written now and then, for a later call to go on from: after every
        shard, or less often where more than 64 MB would have to be written for each.
    client : distributed.Client, optional

    Returns
    -------
    dict of ndarrays
        The merged results.
    """
    done, merged = read_part(path)
    waiting = [shard for shard in shards if shard.start not in done]
    bar = progress_bar(total=len(waiting), desc=path.stem, unit="shard")
    for shard, part in _computed(waiting, compute, client):
        merged = merge(merged, part) if merged else part
        done.append(shard.start)
        if len(done) % (1 + _n_bytes(merged) // _BYTES_PER_SHARD) == 0:
            write_part(path, done, merged)
        bar.update()
    bar.close()
    return merged


def _computed(shards: Sequence[range], compute: Callable, client) -> Iterator[tuple[range, Arrays]]:
    if client is None:
        yield from ((shard, compute(shard)) for shard in shards)
        return
    from distributed import as_completed

    waiting, submitted = iter(shards), {}

    def submit() -> list:
        """Keep every thread of the workers busy, with one shard more in reserve for each."""
        n_free = 2 * max(1, sum(client.nthreads().values())) - len(submitted)
        futures = {client.submit(compute, s, pure=False): s for s in islice(waiting, max(0, n_free))}
        submitted.update({future.key: shard for future, shard in futures.items()})
        return list(futures)

    running = as_completed(submit())
    for future in running:
        yield submitted.pop(future.key), future.result()
        running.update(submit())


def _n_bytes(arrays: Arrays) -> int:
    return sum(array.nbytes for array in arrays.values())


def read_part(path: Path) -> tuple[list[int], Arrays]:
    """Read what :func:`write_part` wrote; nothing if the file is absent or damaged."""
    try:
        merged = read_arrays(path)
        return merged.pop("done").tolist(), merged
    except (DataError, KeyError):
        return [], {}


def write_part(path: Path, done: Sequence[int], merged: Arrays) -> None:
    """Write what is finished so far."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, done=np.array(done, np.int64), **merged)
