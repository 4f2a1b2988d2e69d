"""Parts of the larger data sets: 50 classes each, in the manner of paper C's Places50₁ and Places50₂.

Which classes the paper took is not published; these are drawn at random, and no class is in both parts.
"""

from dataclasses import dataclass
from types import ModuleType

from . import places365, tiny_imagenet
from .base import ImageDataset

__all__ = ["SUBSETS", "Subset"]

N_CLASSES = 50


@dataclass(frozen=True)
class Subset:
    """A data set of :data:`N_CLASSES` classes of a larger one, with the functions of its module.

    Parameters
    ----------
    name : str
    whole : module
        That of the larger data set.
    part : int
        As for :meth:`ImageDataset.with_classes`.
    """

    name: str
    whole: ModuleType
    part: int

    def load(self) -> ImageDataset:
        """Return the part of the larger data set."""
        return self.whole.load().with_classes(N_CLASSES, part=self.part, name=self.name)

    def fetch(self) -> str:
        """Return where the larger data set is."""
        return self.whole.fetch()

    def status(self) -> tuple[str, str]:
        """Return ("ready", path) or ("absent", how to get it) for the larger data set."""
        return self.whole.status()


SUBSETS = {
    subset.name: subset
    for subset in (
        Subset("tiny50_1", tiny_imagenet, 1),
        Subset("tiny50_2", tiny_imagenet, 2),
        Subset("places50_1", places365, 1),
        Subset("places50_2", places365, 2),
    )
}
