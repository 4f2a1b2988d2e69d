"""What is in a zip or tar archive, file by file."""

import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

__all__ = ["DAMAGES", "Member", "members"]

DAMAGES = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError)
"""What the standard library raises; the last for encryption and compressions that it does not know."""


class Member(NamedTuple):
    """A file of an archive: its name there, whether it is no link or device, its bytes, how to open it."""

    name: str
    is_regular: bool
    n_bytes: int
    open: Callable[[], IO[bytes]]


def members(archive: Path) -> Iterator[Member]:
    """Yield whatever is no folder, in the archive's order; each can be opened until the next comes.

    Parameters
    ----------
    archive : Path
        A ``.zip``, or a tar file, compressed or not.
    """
    return (_zip_members if archive.suffix == ".zip" else _tar_members)(archive)


def _tar_members(archive: Path) -> Iterator[Member]:
    with tarfile.open(archive, "r|*") as tar:
        for m in tar:
            if not m.isdir():
                yield Member(m.name, m.isfile(), m.size, lambda m=m: tar.extractfile(m))


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as packed:
        for m in packed.infolist():
            if not m.is_dir():
                is_regular = (m.external_attr >> 28) in (0, 0o10)
                yield Member(m.filename, is_regular, m.file_size, lambda m=m: packed.open(m))
