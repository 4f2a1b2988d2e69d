"""Where files live: the cache, verified downloads, atomic writes, locks and manifests.

Nothing half written is ever trusted: a file is written beside its destination and moved there in
one step, and an :class:`Artifact` counts only when its manifest, written last, has its SHA-256.
"""

import hashlib
import json
import lzma
import math
import os
import shutil
import socket
import tarfile
import tempfile
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import platformdirs
import pooch
import psutil

from . import checks
from .progress import is_watched

__all__ = [
    "DAMAGES",
    "Artifact",
    "DataError",
    "array_digest",
    "atomic_folder",
    "atomic_path",
    "cache_dir",
    "cached_folder",
    "clear_cache",
    "data_dirs",
    "fetch",
    "file_digest",
    "key",
    "lock",
    "read_arrays",
    "read_json",
    "repair_advice",
    "sweep",
    "sweep_cache",
    "temporary_prefix",
    "write_json",
]


class DataError(Exception):
    """A file that is absent, damaged or not what it should be; the message says what to do."""


DAMAGES = (
    ArithmeticError, EOFError, LookupError, MemoryError, OSError, RuntimeError, SyntaxError, TypeError,
    ValueError, lzma.LZMAError, tarfile.TarError, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What the standard library and NumPy raise of damaged archives and arrays; they document little of it."""


def cache_dir() -> Path:
    """Return the folder of everything that can be made or fetched again.

    ``$CNNINTE_CACHE`` if set, otherwise the platform's user cache folder.
    """
    return _named_by("CNNINTE_CACHE") or platformdirs.user_cache_path("cnninte")


def data_dirs() -> list[Path]:
    """Return the folders searched for data sets, in order: ``$CNNINTE_DATA``, then the cache."""
    chosen = _named_by("CNNINTE_DATA")
    return ([chosen] if chosen else []) + [cache_dir() / "data"]


def _named_by(variable: str) -> Path | None:
    """Return the folder that a variable of the environment names, None if it is not set."""
    chosen = os.environ.get(variable)
    try:
        return Path(chosen).expanduser().resolve() if chosen else None
    except (OSError, RuntimeError, ValueError) as error:  # nobody's home, a link to itself
        raise DataError(f"${variable} is {chosen!r}, which names no folder ({error})") from None


def clear_cache() -> None:
    """Remove trained networks and other computed artifacts; downloaded data stay."""
    for path in sorted((cache_dir() / "artifacts").glob("*")):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    sweep_cache()


def sweep_cache() -> None:
    """Remove what processes of this machine that are gone have left half made in the cache."""
    for name in ("artifacts", "folders", "data"):
        sweep(cache_dir() / name)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def array_digest(*arrays) -> str:
    """Return a SHA-256 over the shapes, types and values of NumPy arrays."""
    state = hashlib.sha256()
    for array in arrays:
        state.update(f"{array.dtype.str}{array.shape}".encode())
        state.update(memoryview(array.copy(order="C")).cast("B"))
    return state.hexdigest()


def key(determinants: dict[str, Any]) -> str:
    """Return a short name for a result: a hash of everything that determines it (JSON values)."""
    return hashlib.sha256(json.dumps(determinants, sort_keys=True).encode()).hexdigest()[:16]


def temporary_prefix(kind: str = ".writing") -> str:
    """Return how a temporary name begins: what it is for, and whose it is (machine and process)."""
    return f"{kind}-{socket.gethostname()}-{os.getpid()}-"


def sweep(folder: Path, kind: str = ".writing") -> None:
    """Remove what processes of this machine that are gone have left half done in a folder."""
    for path in folder.glob(f"{kind}-{socket.gethostname()}-*"):
        owner = path.name.removeprefix(f"{kind}-{socket.gethostname()}-").partition("-")[0]
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; it takes the name `path` only if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=temporary_prefix(), suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder beside `folder`; it takes the name `folder` only if the block succeeds."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=temporary_prefix()))
    try:
        yield temporary
        temporary.chmod(0o755)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def cached_folder(name: str, fill: Callable[[Path], object]) -> Path:
    """Return a folder of the cache, filled by `fill` the first time it is asked for."""
    folder = cache_dir() / "folders" / name
    with lock(folder):
        if not folder.is_dir():
            with atomic_folder(folder) as temporary:
                fill(temporary)
    return folder


def repair_advice(path: Path) -> str:
    """Say how to mend a damaged file of a folder: what lies in the cache is made again once it is gone."""
    folders = cache_dir() / "folders"
    if path.is_relative_to(folders):
        return f"remove {folders / path.relative_to(folders).parts[0]}, and it will be made again"
    return "unpack it again"


def read_arrays(path: Path, max_bytes: int = 2**32) -> dict[str, np.ndarray]:
    """Read every array of an ``.npz`` file, sure that none is larger than what the file holds.

    Parameters
    ----------
    path : Path
    max_bytes : int
        Of all arrays together as the file's directory has them; 4 GiB by default. Compressed zeros take a
        thousandth of their room, so that a small file can hold more than the memory.

    Raises
    ------
    DataError
        If it is damaged, encrypted, no archive of arrays, or an array is not as large as it says; or if it
        holds more than `max_bytes`, and is not read then.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            n_bytes = sum(member.file_size for member in archive.infolist())
            if n_bytes > max_bytes:
                raise ValueError(f"{n_bytes:,} bytes where at most {max_bytes:,} are expected")
            return {m.filename.removesuffix(".npy"): _read_array(archive, m) for m in archive.infolist()}
    except DAMAGES as error:
        raise DataError(f"{path} is damaged or no archive of arrays ({error})") from None


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        headers = np.lib.format.read_array_header_1_0, np.lib.format.read_array_header_2_0
        shape, _, dtype = headers[version > (1, 0)](stream)
        n_bytes = math.prod(shape) * dtype.itemsize
        if n_bytes != member.file_size - stream.tell():
            raise ValueError(f"{member.filename} should have {n_bytes:,} bytes")
    with archive.open(member) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path, default: Any = None) -> Any:
    """Read JSON; what is absent, damaged or no file gives `default`."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return default


def lock(path: Path) -> filelock.FileLock:
    """Return an inter-process lock that goes with `path` (released when its holder dies)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return filelock.FileLock(path.with_name(f".{path.name}.lock"))


@dataclass(frozen=True)
class Artifact:
    """A cached file named by everything that determines it, trusted only with its manifest."""

    name: str
    suffix: str
    determinants: dict[str, Any] = field(repr=False)

    @property
    def path(self) -> Path:
        """The file itself."""
        return cache_dir() / "artifacts" / f"{self.name}-{key(self.determinants)}{self.suffix}"

    @property
    def manifest(self) -> Path:
        """Its determinants and SHA-256, written after it."""
        return self.path.with_suffix(self.suffix + ".json")

    def is_complete(self) -> bool:
        """Tell whether the file is there, as it was written."""
        recorded = read_json(self.manifest)
        is_known = checks.has_form(recorded, {"sha256": str, "notes": object})
        return is_known and self.path.is_file() and recorded["sha256"] == file_digest(self.path)

    def get_or_make(self, load: Callable[[Path, Any], Any], make: Callable[[Path], tuple[Any, Any]]) -> Any:
        """Return ``load(path, notes)`` if the file is complete, otherwise what ``make(path)`` gives.

        ``make`` writes the file and returns (value, notes); the notes, JSON values worth remembering
        beside the file, go into the manifest. Processes that want the same artifact wait for the one
        that makes it.
        """
        with lock(self.path):
            if self.is_complete():
                try:
                    return load(self.path, read_json(self.manifest)["notes"])
                except DAMAGES as error:
                    said = f"{self.path} cannot be read ({error}), and is made again"
                    warnings.warn(said, stacklevel=2)
            for path in (self.path, self.manifest):
                if path.is_dir():  # nothing of ours
                    shutil.rmtree(path)
            with atomic_path(self.path) as temporary:
                value, notes = make(temporary)
            record = {"sha256": file_digest(self.path), "notes": notes, "determinants": self.determinants}
            write_json(self.manifest, record)
            return value


def fetch(url: str, sha256: str, path: Path) -> Path:
    """Download `url` to `path` over HTTPS and check its SHA-256; an earlier copy is kept.

    Raises
    ------
    DataError
        If the address is not HTTPS, the download fails, or its hash is another one.
    """
    if not url.startswith("https://") or len(sha256) != 64:
        raise DataError(f"refused to download {url}: an HTTPS address and a SHA-256 are required")
    with lock(path):
        try:
            pooch.retrieve(
                url,
                known_hash=f"sha256:{sha256}",
                fname=path.name,
                path=path.parent,
                progressbar=is_watched(),
            )
        except (OSError, ValueError) as error:
            raise DataError(f"could not download {url} to {path}: {error}") from None
    return path
