"""Which files of the package a notebook rests on: what its code imports, and what that imports in turn."""

import ast
import threading
from collections.abc import Iterable
from pathlib import Path

__all__ = ["imported_files"]

_DATA = (".yaml", ".mplstyle", ".npz")
_PARSING = threading.Lock()
"""Notebooks of a run are threads, and Python 3.11.7 gives up when two of them parse at once (gh-106905)."""


def imported_files(cells: Iterable[str], package: Path) -> list[Path]:
    """Return the files of a package that code depends on, sorted.

    Imports are followed wherever they stand, in functions too. A module that imports others by name stands
    for all that lie beside it. Data files (claims, styles, weights) are few and count always.

    Parameters
    ----------
    cells : iterable of str
        Python, with IPython's magics; a cell that is neither counts for nothing.
    package : Path
        Its folder; its name is what the code imports.
    """
    waiting = [name for cell in cells for name in _imported(_parsed(cell), package.name, is_folder=True)]
    found: set[Path] = set()
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for path in _modules(name, package):
            if path in found:
                continue
            found.add(path)
            text = path.read_text(encoding="utf-8")
            module = ".".join(path.relative_to(package.parent).with_suffix("").parts)
            is_folder = path.name == "__init__.py"
            waiting += _imported(_tree(text), module.removesuffix(".__init__"), is_folder=is_folder)
            if "import_module(" in text:
                beside = (other.relative_to(package.parent) for other in path.parent.rglob("*.py"))
                waiting += [".".join(other.with_suffix("").parts) for other in beside]
    return sorted(found | {path for path in package.rglob("*") if path.suffix in _DATA})


def _tree(code: str) -> ast.Module:
    with _PARSING:
        return ast.parse(code)


def _parsed(cell: str) -> ast.Module:
    try:
        return _tree(cell)
    except SyntaxError:  # of a line of IPython's own, or of a cell that fails when it is run
        return _parsed_without_magics(cell)


def _parsed_without_magics(cell: str) -> ast.Module:
    from IPython.core.inputtransformer2 import TransformerManager

    body = "\n".join(line for line in cell.splitlines() if not line.startswith("%%"))
    try:
        return _tree(TransformerManager().transform_cell(body))
    except SyntaxError:
        return ast.Module([], [])


def _imported(tree: ast.Module, module: str, *, is_folder: bool) -> list[str]:
    """Return the dotted names that the code of a module imports, as far as they are of its package."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + is_folder]
                start = ".".join([*parts, *filter(None, [node.module])])
            names += [f"{start}.{alias.name}" for alias in node.names]
    return [name for name in names if name.split(".")[0] == module.split(".")[0]]


def _modules(name: str, package: Path) -> list[Path]:
    """Return the files that importing a dotted name runs: of the folders above it, and its own."""
    path, files = package.parent, []
    for part in name.split("."):
        path = path / part
        if path.is_dir():
            files.append(path / "__init__.py")
        elif path.with_suffix(".py").is_file():
            return [*files, path.with_suffix(".py")]
        else:  # a name in the module before
            return files
    return files
