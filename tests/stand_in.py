"""Execute a notebook without a kernel, for tests: ``python stand_in.py SOURCE OUTPUT PARAMETERS``.

As the real child does, it injects the parameters behind their cell, writes the executed notebook with what
was printed, and stops at the first error.
"""

import contextlib
import io
import json
import sys
from pathlib import Path


def main(source: str, output: str, parameters: str) -> int:
    """Execute and return 0, or 1 if a cell failed."""
    notebook, names, failed = json.loads(Path(source).read_text()), {}, False
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(code, start=1):
        cell["outputs"], cell["execution_count"] = [], None
        if failed:
            continue
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                exec("".join(cell["source"]), names)  # a test's own few lines
        except Exception as error:
            failed = True
            failure = {"ename": type(error).__name__, "evalue": str(error), "traceback": []}
            cell["outputs"].append({"output_type": "error"} | failure)
        text = {"output_type": "stream", "name": "stdout", "text": printed.getvalue()}
        cell["outputs"], cell["execution_count"] = [text, *cell["outputs"]], number
        if "parameters" in cell["metadata"].get("tags", []):
            names |= json.loads(parameters)
    Path(output).write_text(json.dumps(notebook))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
