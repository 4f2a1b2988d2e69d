import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from distributed.client import FutureCancelledError
from project import STAND_IN, make_project, plan, printed, runs_of

from cnninte_utils.artifacts import read_json, write_json
from cnninte_utils.series import run as runner
from cnninte_utils.series.plan import SeriesError

PROJECT = Path(__file__).resolve().parents[2]
REAL = {"jobs": 2, "tell": lambda line: None}
FAST = REAL | {"command": STAND_IN}
CLAIM = (
    "from cnninte_utils.claims import report; from cnninte_utils.runs import Run\n"
    "report({'cnn_inte.toy_ids': [1]}, Run('{}', 'quick', 'digits', seed))"
)


def statuses(results):
    return {record.name: (record.status, was_cached) for record, was_cached in results}


def test_series_runs_in_order_and_a_second_time_only_reads(tmp_path):
    sleep = ["import time; time.sleep(1)", "print(Path('../20_b.ran').exists())"]
    root = make_project(tmp_path, {"10_a": sleep, "90_z": ["print(Path('../20_b.ran').exists())"]})
    tasks = plan(root)
    assert statuses(runner.run(tasks, **FAST)) == {n: ("done", False) for n in ("10_a", "20_b", "90_z")}
    assert "False" in printed(tasks[0].output)
    assert "True" in printed(tasks[2].output)
    assert statuses(runner.run(tasks, **FAST)) == {n: ("done", True) for n in ("10_a", "20_b", "90_z")}
    assert [len(runs_of(root, stem)) for stem in ("10_a", "20_b", "90_z")] == [1, 1, 1]


def test_change_damage_and_force_run_again(tmp_path):
    root = make_project(tmp_path)
    (task,) = plan(root, "10")
    runner.run([task], **FAST)
    source = json.loads(task.notebook.path.read_text())
    source["cells"][0]["source"] = "# another title"
    task.notebook.path.write_text(json.dumps(source))
    figures = task.out / "figures"
    figures.mkdir()
    for seed in (0, 1):
        (figures / f"10_a.seed{seed}.no_longer_drawn.png").touch()
    runner.run([task], **FAST)
    assert [path.name for path in figures.iterdir()] == ["10_a.seed1.no_longer_drawn.png"]
    assert len(runs_of(root, "10_a")) == 2
    task.output.write_text(task.output.read_text()[:-30])
    runner.run([task], **FAST)
    assert len(runs_of(root, "10_a")) == 3
    runner.run([task], force=True, **FAST)
    assert len(runs_of(root, "10_a")) == 4
    runner.run(plan(root, "10", overrides={"n": "7"}), **FAST)
    assert runs_of(root, "10_a")[4:] == ["7 a 0"]


def test_a_process_that_a_notebook_leaves_behind_holds_nobody_up(tmp_path):
    sleeper = ["import subprocess", "print(subprocess.Popen(['sleep', '120'], start_new_session=True).pid)"]
    (task,) = plan(make_project(tmp_path, {"10_a": sleeper}), "10")
    assert statuses(runner.run([task], **REAL)) == {"10_a": ("done", False)}
    os.kill(int(printed(task.output).split()[0]), signal.SIGKILL)  # fails if it had ended before


def test_failing_notebook_is_a_record_and_the_others_go_on(tmp_path):
    root = make_project(tmp_path, {"10_a": [CLAIM.replace("{}", "10_a", 1), "print('before')", "1 / 0"]})
    write_json(root / "runs/quick/claims.json", [])
    tasks = plan(root)
    results = runner.run(tasks, **FAST)
    assert statuses(results) == {"10_a": ("failed", False), "20_b": ("done", False), "90_z": ("done", False)}
    record = results[0][0]
    assert (record.failing_source, record.error) == ("1 / 0", "ZeroDivisionError: division by zero")
    kept = json.loads(tasks[0].output.read_text())["cells"]
    assert "".join(kept[record.failing_cell]["source"]) == "1 / 0"
    assert "before" in printed(tasks[0].output)
    assert read_json(root / "runs/quick/claims.json") == []
    assert statuses(runner.run(tasks, **FAST))["10_a"] == ("failed", False)
    assert len(runs_of(root, "20_b")) == 1


def test_kernel_that_dies_is_a_failure(tmp_path):
    root = make_project(tmp_path, {"10_a": ["import os; os._exit(3)"]})
    ((record, _),) = runner.run(plan(root, "10"), **REAL)
    assert record.status == "failed"
    assert "died" in record.error.lower()


def test_executed_notebook_is_clean(tmp_path):
    root = make_project(tmp_path, {"10_a": ["import sys; print('noise', file=sys.stderr); print('sound')"]})
    (task,) = plan(root, "10")
    runner.run([task], **REAL)
    text = task.output.read_text()
    notebook = json.loads(text)
    assert "noise" not in printed(task.output)
    assert "sound" in printed(task.output)
    assert "papermill" not in text
    assert [c["id"] for c in notebook["cells"]] == [f"cell-{i:02d}" for i in range(len(notebook["cells"]))]
    assert len(notebook["cells"]) == len(json.loads(task.notebook.path.read_text())["cells"])
    counts = [c["execution_count"] for c in notebook["cells"] if c["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))


def test_seeds_give_one_notebook_each(tmp_path):
    root = make_project(tmp_path)
    tasks = plan(root, "10", "20", seeds=[0, 5])
    runner.run(tasks, **FAST)
    assert sorted(runs_of(root, "10_a")) == ["3 a 0", "3 a 5"]
    assert sorted(p.name for p in (root / "runs/quick").glob("*.ipynb")) == [
        "10_a.seed0.ipynb", "10_a.seed5.ipynb", "20_b.seed0.ipynb", "20_b.seed5.ipynb",
    ]  # fmt: skip


def test_last_notebook_runs_again_when_others_claim_something_new(tmp_path):
    root = make_project(tmp_path)
    runner.run(plan(root), **FAST)
    (root / "runs/quick/claims.json").write_text(
        json.dumps([{"id": "cnn_inte.toy_ids", "paper": [1], "here": [1], "verdict": "reproduced",
                     "reason": "", "notebook": "10_a", "dataset": "d", "preset": "quick", "seed": 0}])
    )  # fmt: skip
    runner.run(plan(root), **FAST)
    assert [len(runs_of(root, stem)) for stem in ("10_a", "20_b", "90_z")] == [1, 1, 2]


def test_two_runs_into_one_folder_are_refused(tmp_path):
    import filelock

    root = make_project(tmp_path)
    (root / "runs/quick").mkdir(parents=True)
    with (
        filelock.FileLock(root / "runs/quick/.run.lock"),
        pytest.raises(SeriesError, match="another run is writing into"),
    ):
        runner.run(plan(root, "10"), **FAST)


def test_running_dask_scheduler_is_used(tmp_path):
    from distributed import LocalCluster

    root = make_project(tmp_path)
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address="127.0.0.1:0"
    ) as c:
        results = runner.run(plan(root, "10"), scheduler=c.scheduler_address, **FAST)
    assert statuses(results) == {"10_a": ("done", False)}


def test_a_stop_ends_the_notebook_on_a_schedulers_worker_and_it_writes_nothing(tmp_path):
    from distributed import Client, LocalCluster

    root = make_project(tmp_path, {"10_a": ["import time; time.sleep(60)"]})
    (task,) = plan(root, "10")
    task.out.mkdir(parents=True)
    token = task.out / ".run.token"
    token.write_text("mine")
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address="127.0.0.1:0"
    ) as c, Client(c.scheduler_address) as client:  # fmt: skip
        future = client.submit(runner.execute, task, command=STAND_IN, token="mine")
        assert wait_until(lambda: list(task.out.glob(".running-*")))
        token.write_text("another run's")
        with pytest.raises(runner.Superseded, match="10_a: the run that wanted it was stopped"):
            future.result(timeout=30)
    assert not task.output.exists()
    assert not task.record.exists()


@pytest.mark.parametrize("damage", [None, "[1, 2", '[{"id": "unknown"}]'])
def test_lost_or_damaged_claims_are_measured_again(tmp_path, damage):
    root = make_project(tmp_path, {"10_a": [CLAIM.replace("{}", "10_a", 1)], "20_b": ["print(1)"]})
    tasks = plan(root, "10", "20")
    runner.run(tasks, **FAST)
    path = root / "runs/quick/claims.json"
    before = path.read_text()
    path.unlink() if damage is None else path.write_text(damage)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is left out
        assert statuses(runner.run(tasks, **FAST)) == {"10_a": ("done", False), "20_b": ("done", True)}
    assert path.read_text() == before


@pytest.mark.parametrize("damage", ["[]", '{"status": "done", "extra": 1}'])
def test_a_record_of_another_form_is_written_again(tmp_path, damage):
    root = make_project(tmp_path)
    (task,) = plan(root, "10")
    runner.run([task], **FAST)
    task.record.write_text(damage)
    assert statuses(runner.run([task], **FAST)) == {"10_a": ("done", False)}
    assert read_json(task.record)["claims"] == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_record_has_what_decides_the_number_of_threads(tmp_path, monkeypatch, jobs):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "5")
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    told = [f"import os; print([os.environ.get(n) for n in {runner._OF_THREADS}])"]
    (task,) = plan(make_project(tmp_path, {"10_a": told}), "10")
    ((record, _),) = runner.run([task], **FAST | {"jobs": jobs})
    share = str(max(1, os.cpu_count() // jobs))
    limits = {"OMP_NUM_THREADS": "3", "TF_NUM_INTRAOP_THREADS": None, "LOKY_MAX_CPU_COUNT": None}
    limits = dict.fromkeys(limits, share) if jobs > 1 else limits
    expected = {"jobs": jobs, "processors": os.cpu_count(), **limits, "TF_NUM_INTEROP_THREADS": "5"}
    assert record.threads == read_json(task.record)["threads"] == expected
    assert str([expected[name] for name in runner._OF_THREADS]) in printed(task.output)


@pytest.mark.parametrize(("preset", "kept"), [("quick", "0"), ("paper", None)])
def test_memory_is_kept_between_steps_but_not_at_paper(tmp_path, monkeypatch, preset, kept):
    monkeypatch.setenv("MALLOC_MMAP_MAX_", "0")
    told = ["import os; print('kept:', os.environ.get('MALLOC_MMAP_MAX_'))"]
    (task,) = plan(make_project(tmp_path, {"10_a": told}), "10")
    runner.run([replace(task, preset=preset)], **FAST)
    assert f"kept: {kept}" in printed(task.output)


def test_no_library_draws_a_bar_into_a_notebook_that_nobody_watches(tmp_path):
    told = ["from tqdm.auto import tqdm; print('bars are off:', tqdm(range(2)).disable)"]
    (task,) = plan(make_project(tmp_path, {"10_a": told}), "10")
    runner.run([task], **FAST)
    assert "bars are off: True" in printed(task.output)


def test_a_record_without_threads_is_of_an_earlier_version_and_holds(tmp_path):
    (task,) = plan(make_project(tmp_path), "10")
    runner.run([task], **FAST)
    found = read_json(task.record)
    del found["threads"]
    write_json(task.record, found)
    assert statuses(runner.run([task], **FAST)) == {"10_a": ("done", True)}


def test_a_notebook_that_was_written_in_part_is_a_failure_and_a_full_disk_is_named(tmp_path):
    root = make_project(tmp_path)
    (task,) = plan(root, "10")
    half = "import sys; open(sys.argv[2], 'w').write('{\"cells\": ['); print('[Errno 28] No space left')"
    ((record, _),) = runner.run([task], **REAL | {"command": [sys.executable, "-c", half]})
    assert record.status == "failed"
    assert record.error == "no space is left on the disk: free some, and the same command goes on"


def test_a_file_in_the_place_of_the_folder_and_schedulers_that_do_not_answer_are_one_sentence(tmp_path):
    root = make_project(tmp_path)
    (root / "runs").write_text("a file")
    with pytest.raises(SeriesError, match="cannot be the folder of a run: there is a file of that name"):
        runner.run(plan(root, "10"), **FAST)
    (root / "runs").unlink()
    started = time.monotonic()
    for address in ("nonsense", "foo://1:2", "tcp://127.0.0.1:9"):
        with pytest.raises(SeriesError, match=f"no Dask scheduler answers at '{address}'"):
            runner.run(plan(root, "10"), scheduler=address, **FAST)
    assert time.monotonic() - started < 25


def test_a_run_listens_on_the_loopback_only():
    with runner._client(1, None):
        own = psutil.Process().net_connections(kind="inet")
        addresses = {c.laddr.ip for c in own if c.status == psutil.CONN_LISTEN}
    assert addresses <= {"127.0.0.1", "::1"}


def bound_addresses(process):
    """Return where a process and all below it listen, or wait for datagrams."""
    found = set()
    for one in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            connections = one.net_connections(kind="inet")
            found |= {
                c.laddr.ip
                for c in connections
                if c.status == psutil.CONN_LISTEN or (c.type == socket.SOCK_DGRAM and c.laddr)
            }
    return found


def test_the_whole_tree_of_a_run_listens_on_the_loopback_only(tmp_path):
    wait = "import time; Path('../at_work').touch()\nwhile not Path('../go').exists(): time.sleep(0.1)"
    root = make_project(tmp_path, {"10_a": [wait], "20_b": [], "90_z": []})
    call = "from cnninte_utils.series.cli import main; main()"
    command = [sys.executable, "-c", call, "run", "10", "--jobs", "1"]
    child = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert wait_until(lambda: (root / "at_work").exists())
        tree = psutil.Process(child.pid)
        assert len(tree.children(recursive=True)) >= 2  # what executes the notebook, and its kernel
        found = bound_addresses(tree)
    finally:
        (root / "go").touch()
        output, _ = child.communicate(timeout=60)
    assert child.returncode == 0, output
    assert found  # the scheduler's own page at least, or nothing was looked at
    assert found <= {"127.0.0.1", "::1"}


UNSHARE = ["unshare", "--map-root-user", "--net"]


@pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run([*UNSHARE, "true"], capture_output=True).returncode != 0,
    reason="no namespace without a network can be made here",
)
def test_a_quick_notebook_runs_without_a_network(tmp_path):
    call = (
        "import fcntl, socket, struct, sys\n"
        "with socket.socket() as s: fcntl.ioctl(s, 0x8914, struct.pack('16sh14x', b'lo', 1))  # loopback up\n"
        "try: socket.create_connection(('1.1.1.1', 443), timeout=3); sys.exit('there is a network')\n"
        "except OSError: pass\n"
        "from cnninte_utils.series.cli import main; main()"
    )
    command = [sys.executable, "-c", call, "run", "10", "-p", "steps", "20", "--out", str(tmp_path / "out")]
    done = subprocess.run([*UNSHARE, *command], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_json(tmp_path / "out/records/10_mnist_cnn.json")["status"] == "done"


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stream:
        return stream.read().split()[2] != "Z"


def wait_until(condition, seconds=120):
    for _ in range(seconds * 10):
        if condition():
            return True
        time.sleep(0.1)
    return False


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks at /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_stopped_run_leaves_no_process_and_goes_on(tmp_path, how):
    stop = (
        "import os, time\n"
        "Path('../pid').write_text(str(os.getpid()))\n"
        "time.sleep(0 if Path('../go').exists() else 300)"
    )
    root = make_project(tmp_path, {"20_b": [stop]})
    call = "from signal import *; signal(SIGINT, default_int_handler)  # may come in ignored"
    call += "\nfrom cnninte_utils.series.cli import main; main()"
    command = [sys.executable, "-c", call, "run", "10", "20", "--jobs", "1"]
    runner = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert wait_until(lambda: (root / "pid").exists() and (root / "pid").read_text())
    kernel = int((root / "pid").read_text())
    assert is_running(kernel)
    runner.send_signal(how)
    output, _ = runner.communicate(timeout=40)
    if how == signal.SIGINT:
        assert runner.returncode == 130
        assert "the same command goes on from here" in output
    assert wait_until(lambda: not is_running(kernel))
    (root / "go").touch()
    again = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "10_a                     cached" in again.stdout
    assert len(runs_of(root, "10_a")) == 1
    assert len(runs_of(root, "20_b")) == 2
    assert not list((root / "runs/quick").glob(".running-*"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("claims", None),
        ("claims", 5),
        ("claims", [[1]]),
        ("parameters", []),
        ("seconds", "long"),
        ("threads", 5),
        ("preset", None),
        ("failing_cell", "three"),
    ],
)
def test_a_field_of_another_kind_makes_a_record_be_written_again(tmp_path, field, value):
    root = make_project(tmp_path)
    (task,) = plan(root, "10")
    runner.run([task], **FAST)
    good = read_json(task.record)
    write_json(task.record, good | {field: value})
    runner.run([task], **FAST)
    assert len(runs_of(root, "10_a")) == 2
    assert read_json(task.record)[field] == good[field]


def test_what_dead_processes_left_half_written_is_swept_at_the_next_start(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setenv("CNNINTE_CACHE", str(cache))
    (task,) = plan(make_project(tmp_path), "10")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left, own = (f".writing-{socket.gethostname()}-{pid}-x" for pid in (dead.pid, os.getpid()))
    folders = [task.out, task.out / "records", task.out / "figures", cache / "artifacts", cache / "data"]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / left).touch()
        (folder / own).touch()
    (cache / "folders" / left / "unpacked").mkdir(parents=True)
    runner.run([task], **FAST)
    assert not [path for path in tmp_path.rglob(left)]
    assert all((folder / own).exists() for folder in folders), "whose owner lives stays"


def test_a_scheduler_that_goes_away_is_one_sentence(tmp_path, monkeypatch):
    class Gone:
        def submit(self, *given, **options):
            return object()

    @contextlib.contextmanager
    def client(jobs, scheduler):
        yield Gone()

    gone = FutureCancelledError("10_a", "cancelled")
    monkeypatch.setattr(runner, "_client", client)
    monkeypatch.setattr("distributed.as_completed", lambda futures, with_results: [(None, gone)])
    with pytest.raises(SeriesError, match="the scheduler or its workers are gone: the same command goes on"):
        runner.run(plan(make_project(tmp_path), "10"), **FAST)
