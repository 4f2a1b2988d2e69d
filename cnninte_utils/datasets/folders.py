"""Folders of the cache: written or unpacked once, and whole or not at all."""

import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from ..artifacts import DataError, cache_dir, file_digest, lock
from .image_archive import DAMAGES

__all__ = ["atomic_folder", "cached_folder", "unpacked"]

_MAX_BYTES = 2**34


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder beside `folder`; it takes the name `folder` only if the block succeeds."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".writing-"))
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


def unpacked(archive: Path) -> Path:
    """Return the folder of an archive's name in the cache, to which its files are unpacked once."""
    top = archive.name.split(".")[0]
    return cached_folder(file_digest(archive)[:16], lambda folder: _unpack(archive, top, folder)) / top


def _unpack(archive: Path, top: str, folder: Path) -> None:
    """Unpack an archive in which everything lies below `top`; only the bytes of regular files are taken."""
    members = _zip_members if archive.suffix == ".zip" else _tar_members
    total = 0
    try:
        for name, is_regular, n_bytes, open_member in members(archive):
            _check_member(archive, name, is_regular, top)
            total += n_bytes
            if total > _MAX_BYTES:
                raise DataError(
                    f"{archive} holds more than {_MAX_BYTES:,} bytes: it is not what it should be"
                )
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with open_member() as source, target.open("wb") as stream:
                shutil.copyfileobj(source, stream)
    except DAMAGES as error:
        raise DataError(f"could not unpack {archive} ({error}): fetch it again if it is damaged") from None


def _check_member(archive: Path, name: str, is_regular: bool, top: str) -> None:
    path = PurePosixPath(name)
    if not is_regular or "\\" in name or ".." in path.parts or path.parts[:1] != (top,):
        raise DataError(
            f"{archive} has {name}, which is not a regular file below {top}/: refused to unpack it"
        )


def _tar_members(archive: Path) -> Iterator[tuple[str, bool, int, Callable]]:
    with tarfile.open(archive, "r|*") as tar:
        for member in tar:
            if not member.isdir():
                yield member.name, member.isfile(), member.size, lambda m=member: tar.extractfile(m)


def _zip_members(archive: Path) -> Iterator[tuple[str, bool, int, Callable]]:
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            if not member.is_dir():
                is_regular = (member.external_attr >> 28) in (0, 0o10)
                yield member.filename, is_regular, member.file_size, lambda m=member: packed.open(m)
