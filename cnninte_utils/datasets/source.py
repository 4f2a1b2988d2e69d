"""Where the files of a data set may lie, and how to get them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .. import artifacts
from ..artifacts import DataError

__all__ = ["Embedded", "InParts", "Source"]


@dataclass(frozen=True)
class Source:
    """A file or folder below one of the data folders, or below the cache once it is downloaded.

    Parameters
    ----------
    name : str
        As messages call it.
    places : tuple of str
        Where it may be, relative to a data folder; the first folder that has one of them wins.
    advice : str
        How to get it, in sentences.
    url, sha256 : str
        From where it is downloaded to the first place, if that is possible.
    is_there : function
        Path → whether the file or folder looks right.
    """

    name: str
    places: tuple[str, ...]
    advice: str
    url: str = ""
    sha256: str = ""
    is_there: Callable[[Path], bool] = Path.is_file

    def find(self) -> Path | None:
        """Return where it is, or None."""
        candidates = (folder / place for folder in artifacts.data_dirs() for place in self.places)
        return next((path for path in candidates if self.is_there(path)), None)

    def status(self) -> tuple[str, str]:
        """Return ("ready", where it is) or ("absent", where it was looked for and how to get it)."""
        found = self.find()
        return ("ready", str(found)) if found else ("absent", f"not in {self._searched()}. {self.advice}")

    def fetch(self) -> Path:
        """Return where it is, downloading it if it is nowhere and that is possible.

        Raises
        ------
        DataError
            If it cannot be had.
        """
        found = self.find()
        if found is not None:
            return found
        if not self.url:
            raise DataError(f"{self.name} is {self.status()[1]}")
        try:
            target = artifacts.cache_dir() / "data" / self.places[0]
            return artifacts.fetch(self.url, self.sha256, target)
        except DataError as error:
            raise DataError(f"{self.name} is not in {self._searched()}, and {error}. {self.advice}") from None

    def _searched(self) -> str:
        return " or ".join(str(folder) for folder in artifacts.data_dirs())


@dataclass(frozen=True)
class InParts(Source):
    """A folder that is there only with all its `parts`, or an archive of one."""

    parts: tuple[str, ...] = ()

    def status(self) -> tuple[str, str]:
        """Return ("ready", where it is), or ("absent", what it lacks or where it was looked for)."""
        lacking = self._lacking()
        return ("absent", lacking) if lacking else super().status()

    def fetch(self) -> Path:
        """Return where it is.

        Raises
        ------
        DataError
            If it is nowhere, or a folder that lacks a part.
        """
        lacking = self._lacking()
        if lacking:
            raise DataError(lacking)
        return super().fetch()

    def _lacking(self) -> str:
        found = self.find()
        parts = self.parts if found and found.is_dir() else ()
        missing = [name for name in parts if not (found / name).exists()]
        return f"{found} lacks {', '.join(missing)}. {self.advice}" if missing else ""


@dataclass(frozen=True)
class Embedded:
    """A data set that needs no files; `where` says what it is made from."""

    where: str

    def status(self) -> tuple[str, str]:
        """Return ("ready", where it is)."""
        return "ready", self.where

    def fetch(self) -> str:
        """Return where it is: nothing needs fetching."""
        return self.where
