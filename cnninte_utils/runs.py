"""What a notebook ran on, and where its files go."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from . import checks

__all__ = ["LARGEST_SEED", "Run", "prefix", "project_dir"]

LARGEST_SEED = 2**32 - 1  # of NumPy and Keras


@dataclass(frozen=True)
class Run:
    """What a notebook ran on.

    Parameters
    ----------
    notebook : str
        Its file name without the ending, e.g. ``"11_cnn_inte"``.
    preset, dataset, seed
        As in the notebook's parameters.
    reduced : str
        How the run is smaller than the paper's ("100 of 1,000 steps"); empty if it is not.
        Of a reduced run only orderings and signs are compared.

    Raises
    ------
    ValueError
        If notebook or preset are no names of a file and a folder, the data set no name, or the seed not from
        0 to 2³² - 1.
    """

    notebook: str
    preset: str
    dataset: str
    seed: int
    reduced: str = ""

    def __post_init__(self):
        is_file = isinstance(self.notebook, str) and re.fullmatch(r"\w[\w.-]*", self.notebook)
        checks.require(bool(is_file), "notebook", self.notebook, "a name of letters, digits, - and _")
        checks.require(isinstance(self.reduced, str), "reduced", self.reduced, "words")
        is_folder = isinstance(self.preset, str) and re.fullmatch(r"[\w-][\w.-]*", self.preset)
        checks.require(bool(is_folder), "preset", self.preset, "a name of letters, digits, - and _")
        is_name = isinstance(self.dataset, str) and self.dataset
        checks.require(bool(is_name), "dataset", self.dataset, "the name of a data set")
        checks.at_least(0, seed=self.seed)
        checks.require(self.seed <= LARGEST_SEED, "seed", self.seed, f"0 to {LARGEST_SEED:,}")

    @property
    def folder(self) -> Path:
        """Where the run's files go: ``$CNNINTE_RUN_DIR``, else ``runs/<preset>`` of the project."""
        chosen = os.environ.get("CNNINTE_RUN_DIR")
        return Path(chosen).resolve() if chosen else (project_dir() or Path.cwd()) / "runs" / self.preset

    @property
    def name(self) -> str:
        """Prefix of the run's files: notebook and seed."""
        return prefix(self.notebook, self.seed)


def prefix(notebook: str, seed: int) -> str:
    """Return how the names of the files of a notebook run with a seed begin."""
    return f"{notebook}.seed{seed}"


def project_dir() -> Path | None:
    """Return the nearest folder, from here upwards, that has ``notebooks/series.yaml``, or None."""
    here = Path.cwd()
    folders = (here, *here.parents)
    return next((p for p in folders if (p / "notebooks" / "series.yaml").is_file()), None)
