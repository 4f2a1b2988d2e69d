"""Execute tasks with Dask, one process each; go on where an earlier run stopped."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import filelock

from .. import checks, claims
from ..artifacts import file_digest, key, lock, read_json, sweep, sweep_cache, write_json
from .plan import SeriesError, Task, figures_of
from .sources import imported_files

__all__ = ["Execution", "Superseded", "execute", "is_record", "run"]


_PATIENCE = 8  # seconds that a scheduler has to answer
_KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**36)}
"""glibc keeps tensors' memory for the next step: asking for it each time takes up to a third of a training.

Not at `paper`: of its large tensors, what is kept seldom fits what is asked for next, and more is taken.
"""
_DASK = {
    "distributed.logging.distributed": "error",
    "distributed.worker.profile.enabled": False,  # else it looks on a hundred times a second:
    "distributed.admin.tick.interval": "500ms",  # a twelfth of a core, taken from the notebooks
}
_LIMITS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "LOKY_MAX_CPU_COUNT")
_OF_THREADS = (*_LIMITS, "TF_NUM_INTEROP_THREADS")
_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Execution:
    """How an execution went; `key` names everything that determined it."""

    name: str
    notebook: str
    title: str
    preset: str
    parameters: dict[str, Any]
    key: str
    status: str
    seconds: float
    output_sha256: str
    failing_cell: int | None = None
    failing_source: str = ""
    error: str = ""
    claims: tuple[str, ...] = ()
    """Ids of what it claimed."""
    threads: dict[str, Any] | None = None
    """What decides how many threads computed it, on which the last digits depend; as :func:`_threads`."""


_RECORD = dict.fromkeys(
    ("name", "notebook", "title", "preset", "key", "status", "output_sha256", "failing_source", "error"), str
) | {
    "parameters": dict,
    "seconds": (int, float),
    "failing_cell": (int, type(None)),
    "claims": [str],
}


class Superseded(Exception):
    """Another run has begun in the folder, or the one that wanted this was stopped."""


def run(
    tasks: list[Task],
    *,
    jobs: int = 1,
    scheduler: str | None = None,
    force: bool = False,
    tell: Callable[[str], None] = print,
    command: Sequence[str] | None = None,
) -> list[tuple[Execution, bool]]:
    """Execute tasks with Dask, one process each; return how they went and whether they were done before.

    A task whose record, key and output agree is not executed again unless `force`. The notebooks that
    it needs come first, those marked `last` after all others.

    Parameters
    ----------
    jobs : int
        Notebooks at a time, on a local cluster.
    scheduler : str, optional
        Address of a running Dask scheduler whose workers share this file system.
    tell : callable
        Gets one line of text for every finished notebook.
    command : sequence of str, optional
        What executes one notebook, given its path, that of the output, and the parameters as JSON; by default
        a process with a kernel of its own (:mod:`cnninte_utils.series.execute`).

    Raises
    ------
    SeriesError
        If another run uses the same folder, there can be none, or no scheduler answers.
    """
    from distributed import as_completed

    out = tasks[0].out
    sweep_cache()
    for folder in (out, out / "figures", out / "records"):
        sweep(folder)
    with _only_run_in(out) as token, _client(jobs, scheduler) as client:
        futures: dict[str, Any] = {}
        for task in sorted(tasks, key=lambda t: t.notebook.last):
            waits_for = [
                futures[other.name] for other in tasks if other.name in futures and _comes_before(other, task)
            ]
            futures[task.name] = client.submit(
                execute,
                task,
                waits_for,
                jobs=jobs,
                force=force,
                command=command,
                token=token,
                key=f"{task.name}-{time.time_ns()}",
                pure=False,
            )
        try:
            finished = as_completed(futures.values(), with_results=True)
            for number, (_, result) in enumerate(finished, start=1):
                if isinstance(result, BaseException):  # its future was cancelled
                    raise SeriesError("the scheduler or its workers are gone: the same command goes on")
                tell(f"[{number}/{len(tasks)}] {_progress(*result, out)}")
        except KeyboardInterrupt:
            _token_file(out).unlink(missing_ok=True)  # stops the children, wherever they run
            client.cancel(list(futures.values()))
            raise
        return [futures[task.name].result() for task in tasks]


def _comes_before(other: Task, task: Task) -> bool:
    is_needed = other.notebook.file in task.notebook.needs
    return is_needed or (task.notebook.last and not other.notebook.last)


def execute(
    task: Task,
    waited_for: Any = None,
    *,
    jobs: int = 1,
    force: bool = False,
    command: Sequence[str] | None = None,
    token: str | None = None,
) -> tuple[Execution, bool]:
    """Execute one task unless it is done; return its record and whether it was done before.

    Raises
    ------
    Superseded
        If the folder no longer holds `token` before the end: nothing is written then.
    """
    identity = _identity(task)
    done = _recorded(task)
    if done and not force and _is_done(task, done, identity):
        return done, True
    task.record.unlink(missing_ok=True)
    for figure in (task.out / "figures").glob(f"{figures_of(task.notebook.file, task.parameters)}.*"):
        figure.unlink()  # or a page would go on to show what the notebook no longer draws
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=task.out, prefix=".running-") as folder:
        raw = Path(folder) / "raw.ipynb"
        log = _run_child(task, raw, jobs, command, token)
        notebook = _normalised(raw)
        failure = _failure(notebook, log)
        if notebook is not None:
            write_json(task.output, notebook)
    if failure:
        _drop_claims(task)
    record = Execution(
        task.name, task.notebook.file, task.notebook.title, task.preset, task.parameters, identity,
        "failed" if failure else "done", round(time.perf_counter() - started, 1),
        file_digest(task.output) if notebook is not None else "", **failure, claims=_claimed(task),
        threads=_threads(_environment(task, jobs), jobs),
    )  # fmt: skip
    write_json(task.record, asdict(record))
    return record, False


def is_record(value: Any) -> bool:
    """Tell whether what was read has the form of an :class:`Execution`."""
    return checks.has_form(value, _RECORD) and isinstance(value.get("threads"), dict | None)


def _recorded(task: Task) -> Execution | None:
    """Return the record of an earlier execution, None if there is none that this version wrote."""
    found = read_json(task.record)
    known = {field.name for field in fields(Execution)}
    if not is_record(found) or not known - {"threads"} <= found.keys() <= known:
        return None
    return Execution(**found | {"claims": tuple(found["claims"])})


def _claimed(task: Task) -> tuple[str, ...]:
    """Return the ids of what a notebook has in ``claims.json``."""
    rows = claims.read_rows(task.out / "claims.json")
    return tuple(row["id"] for row in rows if _is_of(task, row))


def _is_of(task: Task, row: dict[str, Any]) -> bool:
    """Tell whether a row of ``claims.json`` is what this notebook claimed, with this seed if it has one."""
    return row["notebook"] == task.notebook.file and task.parameters.get("seed") in (None, row["seed"])


def _run_child(task: Task, raw: Path, jobs: int, command: Sequence[str] | None, token: str | None) -> str:
    """Run the notebook in a process of its own; return the end of what it logged."""
    command = command or [sys.executable, "-m", "cnninte_utils.series.execute"]
    arguments = [str(task.notebook.path), str(raw), json.dumps(task.parameters)]
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(
            [*command, *arguments],
            cwd=task.notebook.path.parent,
            env=_environment(task, jobs),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        while child.poll() is None:
            if token is not None and not _holds(task.out, token):
                child.terminate()
                child.wait()
                raise Superseded(f"{task.name}: the run that wanted it was stopped, or another has begun")
            time.sleep(0.1)
        log.seek(0)
        return log.read().decode(errors="replace")[-2_000:]


def _token_file(out: Path) -> Path:
    return out / ".run.token"


def _holds(out: Path, token: str) -> bool:
    try:
        return _token_file(out).read_text() == token
    except FileNotFoundError:
        return False


def _environment(task: Task, jobs: int) -> dict[str, str]:
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    limits = _LIMITS if jobs > 1 else ()
    environment = {name: value for name, value in os.environ.items() if name not in _KEEP_MEMORY}
    environment |= {
        "CNNINTE_RUN_DIR": str(task.out),
        "PYTHONHASHSEED": str(task.parameters.get("seed", 0)),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TQDM_DISABLE": "1",  # libraries' bars too: nobody watches
        **({} if task.preset == "paper" else _KEEP_MEMORY),
    }
    environment.pop("JPY_SESSION_NAME", None)
    return environment | dict.fromkeys(limits, threads)


def _threads(environment: dict[str, str], jobs: int) -> dict[str, Any]:
    """Return notebooks at a time, processors, and the limits that a notebook's process was given or None."""
    limits = {name: environment.get(name) for name in _OF_THREADS}
    return {"jobs": jobs, "processors": os.cpu_count()} | limits


def _identity(task: Task) -> str:
    """Name everything that determines a result: cells, parameters, package, libraries, others' claims."""
    source = json.loads(task.notebook.path.read_text(encoding="utf-8"))
    cells = [(c["cell_type"], c["source"]) for c in source["cells"]]
    rows = claims.read_rows(task.out / "claims.json")
    others = [row for row in rows if row["notebook"] != task.notebook.file]
    code = tuple("".join(source) for kind, source in cells if kind == "code")
    return key(
        {
            "cells": cells,
            "parameters": task.parameters,
            "package": _package_digest(code),
            "libraries": {name: version(name) for name in ("keras", "tensorflow", "scikit-learn")},
            "claims": others if task.notebook.last else None,
        }
    )


def _package_digest(code: Iterable[str]) -> str:
    """Return a hash of the package's files that code rests on."""
    state = hashlib.sha256()
    for path in imported_files(code, _PACKAGE):
        state.update(path.relative_to(_PACKAGE).as_posix().encode() + path.read_bytes())
    return state.hexdigest()


def _is_done(task: Task, record: Execution, identity: str) -> bool:
    is_valid = record.status == "done" and record.key == identity and set(record.claims) <= {*_claimed(task)}
    return is_valid and task.output.is_file() and file_digest(task.output) == record.output_sha256


def _normalised(path: Path) -> dict | None:
    """Read an executed notebook and keep what readers need: no timings, no stderr, stable ids.

    None if there is none, or not all of it.
    """
    notebook = read_json(path)
    if not isinstance(notebook, dict) or "cells" not in notebook:
        return None
    marker = "papermill-error-cell-tag"
    notebook["cells"] = [c for c in notebook["cells"] if marker not in c["metadata"].get("tags", [])]
    for number, cell in enumerate(notebook["cells"]):
        kept = {name: cell["metadata"][name] for name in ("tags", "jupyter") if cell["metadata"].get(name)}
        cell["id"], cell["metadata"] = f"cell-{number:02d}", kept
        if cell["cell_type"] == "code":
            cell["outputs"] = [output for output in cell["outputs"] if output.get("name") != "stderr"]
            for output in cell["outputs"]:
                output.pop("transient", None)
    notebook["metadata"] = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def _failure(notebook: dict | None, log: str) -> dict[str, Any]:
    """Return the failing cell and its error; empty if every cell ran."""
    if notebook is None:
        if "No space left" in log or "Errno 28" in log:
            return {"error": "no space is left on the disk: free some, and the same command goes on"}
        return {"error": log.strip() or "the process ended without a word"}
    for number, cell in enumerate(notebook["cells"]):
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                source = cell["source"]
                return {
                    "failing_cell": number,
                    "failing_source": source if isinstance(source, str) else "".join(source),
                    "error": f"{output['ename']}: {output['evalue']}",
                }
    unfinished = [c for c in notebook["cells"] if c["cell_type"] == "code" and c["execution_count"] is None]
    return {"error": f"the kernel died: {log.strip()[-500:]}"} if any(c["source"] for c in unfinished) else {}


def _drop_claims(task: Task) -> None:
    """Remove what a failed notebook had claimed."""
    path = task.out / "claims.json"
    with lock(path):
        rows = claims.read_rows(path)
        kept = [row for row in rows if not _is_of(task, row)]
        if len(kept) < len(rows):
            write_json(path, kept)


def _progress(record: Execution, was_cached: bool, out: Path) -> str:
    name = f"{record.name:<24}"
    if record.status == "failed":
        where = "" if record.failing_cell is None else f"cell {record.failing_cell}: "
        return f"{name} FAILED  {where}{record.error.splitlines()[0]}"
    seed = record.parameters.get("seed")
    rows = [r for r in claims.load(out) if r.notebook == record.notebook and seed in (None, r.seed)]
    held = sum(r.verdict == "reproduced" for r in rows)
    made = f"  {held} of {len(rows)} claims reproduced" if rows else ""
    return f"{name} {'cached' if was_cached else 'done  '}  {record.seconds:5.0f} s{made}"


@contextmanager
def _only_run_in(out: Path) -> Iterator[str]:
    """Lock a folder for one run; give the token that its tasks check before they write."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise SeriesError(f"{out} cannot be the folder of a run: there is a file of that name") from None
    token = uuid.uuid4().hex
    try:
        with filelock.FileLock(out / ".run.lock", timeout=0):
            _token_file(out).write_text(token)  # what an earlier run left running stops now
            for left_over in out.glob(".running-*"):
                shutil.rmtree(left_over, ignore_errors=True)
            yield token
            _token_file(out).unlink(missing_ok=True)
    except filelock.Timeout:
        raise SeriesError(f"another run is writing into {out}: wait for it or choose --out") from None


@contextmanager
def _client(jobs: int, scheduler: str | None) -> Iterator[Any]:
    import dask
    from distributed import Client, LocalCluster

    dask.config.set(_DASK)
    if scheduler:
        try:
            client = Client(scheduler, timeout=_PATIENCE)
        except (OSError, ValueError, TypeError, MemoryError) as error:  # the last from a web server's answer
            raise SeriesError(
                f"no Dask scheduler answers at {scheduler!r}: expected an address such as tcp://host:8786 "
                f"({type(error).__name__})"
            ) from None
        with client:
            yield client
    else:
        with (
            LocalCluster(
                n_workers=1,
                threads_per_worker=jobs,
                processes=False,
                dashboard_address="127.0.0.1:0",
                worker_dashboard_address="127.0.0.1:0",
                silence_logs="error",
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client
