"""A file on its way to be an edited RTSTRUCT: what it refers to, and its hash.

Runs in a process of its own, so this module imports little.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ml.dicom.errors import DicomError
from services.api.edited_rtstructs.errors import EditedRtstructInvalidError
from services.api.identities import Identities
from services.api.uploads.stream import ReceivedFile
from services.core.storage import RTSTRUCT_NAME, SEALED_NAME


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedEdit:
    """A file that is an RT Structure Set, ready to be stored."""

    folder: Path
    """With what is stored of it, and nothing else."""
    byte_count: int
    """Of the file as it was sent."""
    content_sha256: str
    """Likewise; keyed where it is stored without its patient."""
    series_instance_uids: tuple[str, ...]
    frame_of_reference_uids: tuple[str, ...]


def check_edit(file: ReceivedFile, deidentifier: Identities | None = None) -> CheckedEdit:
    """Read what a structure set refers to; blocks.

    deidentifier: of a series that is stored without its patient; its edits are, too: under the
        same pseudonyms, and with the file as it was sent beside them, sealed.

    Raises:
        EditedRtstructInvalidError: the file is no usable RT Structure Set.
    """
    # Imported late, as all that needs pydicom; see services.api.series.checking.
    from ml.dicom.rtstruct_items import open_structure_set  # noqa: PLC0415
    from ml.dicom.rtstruct_references import read_references  # noqa: PLC0415

    folder = file.folder / "edited"
    folder.mkdir()
    path = folder / RTSTRUCT_NAME
    with file.path.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    try:
        references = read_references(file.path)  # bounds what the file inflates to
        if deidentifier is None:
            # refuses one that lost its end, as de-identification does: contours nobody deleted
            open_structure_set(file.path)
            file.path.rename(path)
        else:
            sha256 = _store_without_patient(file.path, path, sha256, deidentifier)
            references = read_references(path)
    except DicomError as error:
        raise EditedRtstructInvalidError(error.message, error.facts) from error
    return CheckedEdit(
        folder=folder,
        byte_count=file.byte_count,
        content_sha256=sha256,
        series_instance_uids=references.series_instance_uids,
        frame_of_reference_uids=references.frame_of_reference_uids,
    )


def _store_without_patient(sent: Path, path: Path, sha256: str, deidentifier: Identities) -> str:
    from ml.dicom.rtstruct_deidentification import (  # noqa: PLC0415  # late, as above
        deidentify_structure_set,
    )

    pseudonyms = deidentifier.pseudonyms()
    path.write_bytes(deidentify_structure_set(sent, pseudonyms))
    keyed = pseudonyms.fingerprint("content", sha256)
    path.with_name(SEALED_NAME).write_bytes(deidentifier.seal(keyed, sent.read_bytes()))
    return keyed
