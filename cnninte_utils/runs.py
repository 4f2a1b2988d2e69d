"""What a notebook ran on, and where its files go."""

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Run", "project_dir"]


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
    """

    notebook: str
    preset: str
    dataset: str
    seed: int
    reduced: str = ""

    @property
    def folder(self) -> Path:
        """Where the run's files go: ``$CNNINTE_RUN_DIR``, else ``runs/<preset>`` of the project."""
        chosen = os.environ.get("CNNINTE_RUN_DIR")
        return Path(chosen).resolve() if chosen else (project_dir() or Path.cwd()) / "runs" / self.preset

    @property
    def name(self) -> str:
        """Prefix of the run's files: notebook and seed."""
        return f"{self.notebook}.seed{self.seed}"


def project_dir() -> Path | None:
    """Return the nearest folder, from here upwards, that has ``notebooks/series.yaml``, or None."""
    here = Path.cwd()
    folders = (here, *here.parents)
    return next((p for p in folders if (p / "notebooks" / "series.yaml").is_file()), None)
