"""A result on its way back to the sender, whose CT is stored without its patient.

Runs in a process of its own, so that a second of parsing keeps no other request waiting.
"""

from dataclasses import dataclass
from pathlib import Path

from ml.dicom.errors import DicomError
from services.api.contour_jobs.errors import RelinkingFailedError
from services.api.downloads import HeldFile, held_file
from services.api.identities import Identities


@dataclass(frozen=True, kw_only=True, slots=True)
class RelinkOrder:
    """What is linked to what."""

    rtstruct: Path
    """As the worker released it, made on the stored series."""
    series: Path
    sealed: Path
    """What was taken out of the series."""
    owner: str
    """Whom that was sealed for."""
    identities: Identities


def relink(order: RelinkOrder) -> HeldFile:
    """Link an RTSTRUCT to the CT as it was sent, and check it against that; blocks.

    Raises:
        SealUnreadableError: what was taken out cannot be read.
        RelinkingFailedError: the outcome is not right, and is not given away.
    """
    # Imported late, as all that needs pydicom; see services.api.series.checking.
    from ml.dicom.relinking import Original, relinked_rtstruct  # noqa: PLC0415
    from ml.dicom.series import index_series, list_source_files  # noqa: PLC0415

    original = Original.from_bytes(order.identities.unseal(order.owner, order.sealed.read_bytes()))
    try:
        stored = index_series(list_source_files(order.series))
        return held_file(relinked_rtstruct(order.rtstruct, stored, original))
    except DicomError as error:
        raise RelinkingFailedError(error) from error
