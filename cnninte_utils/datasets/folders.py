"""Folders of the cache: written or unpacked once, and whole or not at all."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from ..artifacts import DataError, cache_dir, file_digest, lock
from .archives import DAMAGES, Member, members

__all__ = ["atomic_folder", "cached_folder", "repair_advice", "unpacked"]

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


def repair_advice(path: Path) -> str:
    """Say how to mend a damaged file of a folder: what lies in the cache is made again once it is gone."""
    folders = cache_dir() / "folders"
    if path.is_relative_to(folders):
        return f"remove {folders / path.relative_to(folders).parts[0]}, and it will be made again"
    return "unpack it again"


def unpacked(archive: Path) -> Path:
    """Return the folder of an archive's name in the cache, to which its files are unpacked once."""
    top = archive.name.split(".")[0]
    return cached_folder(file_digest(archive)[:16], lambda folder: _unpack(archive, top, folder)) / top


def _unpack(archive: Path, top: str, folder: Path) -> None:
    """Unpack an archive in which everything lies below `top`; only the bytes of regular files are taken."""
    total = 0
    try:
        for member in members(archive):
            _check_member(archive, member, top)
            total += member.n_bytes
            if total > _MAX_BYTES:
                raise DataError(
                    f"{archive} holds more than {_MAX_BYTES:,} bytes: it is not what it should be"
                )
            target = folder / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with member.open() as source, target.open("wb") as stream:
                shutil.copyfileobj(source, stream)
    except DAMAGES as error:
        raise DataError(f"could not unpack {archive} ({error}): fetch it again if it is damaged") from None


def _check_member(archive: Path, member: Member, top: str) -> None:
    path = PurePosixPath(member.name)
    if not member.is_regular or "\\" in member.name or ".." in path.parts or path.parts[:1] != (top,):
        raise DataError(
            f"{archive} has {member.name}, which is not a regular file below {top}/: refused to unpack it"
        )
