"""Find the folders in Broden's layout by name."""

from pathlib import Path

from ... import checks
from ..files import unpacked
from ..source import Embedded, Source
from .reader import Broden
from .validation import open_folder

__all__ = ["NAMES", "load", "status"]

NAMES = ("toyworld_broden", "broden_mini", "broden_wide", "broden")
_URL = "http://netdissect.csail.mit.edu/data/broden1_227.zip"
_ORIGINS = {
    "toyworld_broden": "synthetic scenes drawn by cnninte_utils.datasets.toyworld, in Broden's layout",
    "broden_mini": "a stand-in for Broden in its layout: street scenes of CamVid (Brostow, Fauqueur, Cipolla "
    "2009), textures of DTD (Cimpoi et al. 2014)",
    "broden_wide": "a stand-in for Broden in its layout, with all six categories: scenes and objects of "
    "MiniPlaces (from Places2: Zhou, Lapedriza, Khosla, Oliva, Torralba 2018), with CamVid, LabelMeFacade, "
    "Car-Parts, FASSEG, Clothing Co-Parsing, TrashNet and DTD",
    "broden": "Broden (Bau, Zhou, Khosla, Oliva, Torralba 2017)",
}


def _has_index_or_is_archive(path: Path) -> bool:
    return path.is_file() or (path / "index.csv").is_file()


def _stand_in(name: str) -> Source:
    return Source(
        name,
        (f"{name}/{name}", name, f"{name}/{name}.tar.gz"),
        f"Put {name}.tar.gz into the folder named by $CNNINTE_DATA as {name}/{name}.tar.gz.",
        is_there=_has_index_or_is_archive,
    )


_SOURCES = {
    "toyworld_broden": Embedded("drawn by cnninte_utils.datasets.toyworld.broden_folder"),
    "broden_mini": _stand_in("broden_mini"),
    "broden_wide": _stand_in("broden_wide"),
    "broden": Source(
        "broden",
        tuple(f"broden/broden1_{size}{ending}" for ending in ("", ".zip") for size in (227, 224)),
        f"Download {_URL} (975 MB; reported offline in 2026, then "
        f"the copy at https://web.archive.org/web/20240418040425id_/{_URL}; not fetched for you, because no "
        "hash of it was published) and put it, as it is, into the folder named by $CNNINTE_DATA as "
        "broden/broden1_227.zip.",
        is_there=_has_index_or_is_archive,
    ),
}


def load(name: str) -> Broden:
    """Load a data set by name.

    Parameters
    ----------
    name : str
        ``"toyworld_broden"`` is drawn once and kept in the cache. ``"broden_mini"``, ``"broden_wide"`` and
        ``"broden"`` are looked for in ``$CNNINTE_DATA``, then in the cache; an archive is unpacked once,
        into the cache.

    Returns
    -------
    Broden

    Raises
    ------
    ValueError
        If the name is unknown.
    DataError
        If it is absent or damaged.
    """
    source = checks.choice("data set", name, _SOURCES)
    if isinstance(source, Embedded):
        from ..toyworld import broden_folder

        return open_folder(broden_folder.folder(), _ORIGINS[name])
    found = source.fetch()
    folder = found if found.is_dir() else unpacked(found)
    return open_folder(folder, f"{_ORIGINS[name]}, {found.name}")


def status(name: str) -> tuple[str, str]:
    """Return ("ready", where it is) or ("absent", where it was looked for and how to get it)."""
    return checks.choice("data set", name, _SOURCES).status()
