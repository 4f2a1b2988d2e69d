"""Network dissection: which units detect a concept that has a name (paper C)."""

from .passes import dissect, masks, null_probes, strongest_images
from .results import (
    Concepts,
    Dissection,
    Probe,
    counts_with_nulls,
    detectors_by_threshold,
    unique_detectors,
)

__all__ = [
    "Concepts",
    "Dissection",
    "Probe",
    "counts_with_nulls",
    "detectors_by_threshold",
    "dissect",
    "masks",
    "null_probes",
    "strongest_images",
    "unique_detectors",
]
