"""Run one notebook in this process: ``python -m cnninte_utils.series.execute SOURCE OUTPUT PARAMETERS``.

A process of its own, because papermill changes the working directory of the whole process. It ends,
with its kernel, when the process that started it is gone.
"""

import json
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import papermill
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec

from ..artifacts import sweep, temporary_prefix

_COMMAND = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]


def main(source: str, output: str, parameters: str) -> int:
    """Execute `source` with `parameters` (JSON) into `output`; return 0, or 1 if a cell failed."""
    sweep(Path(tempfile.gettempdir()), "nb")
    with tempfile.TemporaryDirectory(prefix=temporary_prefix("nb")) as folder:
        manager = _kernel_manager(Path(folder))
        threading.Thread(target=_die_with, args=(os.getppid(), manager), daemon=True).start()
        try:
            papermill.execute_notebook(
                source, output, json.loads(parameters), km=manager, kernel_name="python3", progress_bar=False
            )
        except papermill.PapermillExecutionError:
            return 1
    return 0


def _kernel_manager(folder: Path) -> AsyncKernelManager:
    """Return a manager of kernels of this very interpreter, over sockets in `folder`."""
    manager = AsyncKernelManager(transport="ipc", connection_file=str(folder / "kernel.json"))
    manager.ip = str(folder / "ipc")
    manager._kernel_spec = KernelSpec(argv=_COMMAND, display_name="Python 3", language="python")
    return manager


def _die_with(parent: int, manager: AsyncKernelManager) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    kernel = getattr(manager.provisioner, "pid", None)
    if kernel:
        os.kill(kernel, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
