"""What is read from a candidate."""

from dataclasses import dataclass

from ml.arrays import LabelVolume
from ml.data.importing.refusals import Facts, Note
from ml.geometry import Volume


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CaseContent:
    """An image with its truth, before it gets a name."""

    volume: Volume
    labels: LabelVolume
    notes: tuple[Note, ...]
    unmatched_names: tuple[str, ...]
    """Regions that mean no structure."""
    source: Facts
    """Where it came from, without identifiers of a patient."""
