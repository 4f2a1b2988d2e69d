"""Shards: what is merged, what is written down, what goes on."""

import os
import signal
import sys
import time

import numpy as np
import pytest

from cnninte_utils.methods.dissection import shards
from cnninte_utils.methods.dissection.shards import fold, read_part, write_part

SHARDS = [range(start, start + 3) for start in range(0, 12, 3)]


def squares(rows):
    return {"sum": np.array([sum(row**2 for row in rows)])}


def added(one, other):
    return {"sum": one["sum"] + other["sum"]}


def test_all_shards_are_merged(tmp_path):
    assert fold(SHARDS, squares, added, tmp_path / "part.npz") == {"sum": sum(i**2 for i in range(12))}


def test_what_was_stopped_goes_on_where_it_was(tmp_path):
    computed = []

    def dies_at_the_third(rows):
        if len(computed) == 2:
            raise KeyboardInterrupt
        computed.append(rows)
        return squares(rows)

    with pytest.raises(KeyboardInterrupt):
        fold(SHARDS, dies_at_the_third, added, tmp_path / "part.npz")
    assert read_part(tmp_path / "part.npz") == ([0, 3], {"sum": 0 + 1 + 4 + 9 + 16 + 25})
    seen = []
    found = fold(SHARDS, lambda rows: seen.append(rows) or squares(rows), added, tmp_path / "part.npz")
    assert seen == SHARDS[2:]
    assert found == {"sum": sum(i**2 for i in range(12))}


def test_a_killed_worker_changes_nothing(tmp_path, monkeypatch):
    from distributed import Client, LocalCluster

    write, killed = shards.write_part, []

    def write_and_kill(*arguments):
        write(*arguments)
        if not killed:
            killed.append(next(iter(client.run(os.getpid).values())))
            os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setattr(shards, "write_part", write_and_kill)
    many = [range(start, start + 3) for start in range(0, 60, 3)]
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        found = fold(many, slow_squares(os.getpid()), added, tmp_path / "part.npz", client)
        assert killed
        assert killed[0] not in client.run(os.getpid).values()
        assert not any(client.run(lambda: "keras" in sys.modules).values())
    assert found == {"sum": sum(i**2 for i in range(60))}


def slow_squares(own_process):
    """Return a function that is sent whole: workers import NumPy and nothing of this package."""

    def compute(rows):
        assert os.getpid() != own_process
        time.sleep(0.1)
        return {"sum": np.array([sum(row**2 for row in rows)])}

    return compute


def test_much_is_written_less_often(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(shards, "write_part", lambda path, done, merged: written.append(len(done)))
    monkeypatch.setattr(shards, "_BYTES_PER_SHARD", 8)
    fold(SHARDS, squares, added, tmp_path / "part.npz")
    assert written == [2, 4], "8 bytes in every shard, 16 in every second"


@pytest.mark.parametrize("damage", [b"", b"no archive", None])
def test_damaged_part_counts_as_none(tmp_path, damage):
    path = tmp_path / "part.npz"
    write_part(path, [0], {"sum": np.arange(100)})
    path.write_bytes(path.read_bytes()[:200] if damage is None else damage)
    assert read_part(path) == ([], {})
    assert read_part(tmp_path / "absent.npz") == ([], {})
