"""An upload on its way to be a CT series: unpacked, checked and put in order.

Runs in a process of its own, so this module imports little; what it returns are plain values, so
that the API itself never loads a DICOM parser.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ml.dicom.files import SkippedFile, SourceFile
from services.api.identities import Identities
from services.api.uploads.settling import settling
from services.api.uploads.stream import Upload
from services.core.storage import SEALED_NAME, slice_name

if TYPE_CHECKING:
    from ml.dicom.series import SeriesIndex


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedSeries:
    """An upload that is one usable CT series; its files lie ready in a folder of their own."""

    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str
    patient_position: str | None
    slice_count: int
    rows: int
    columns: int
    spacing_mm: tuple[float, float, float]
    extent_mm: tuple[float, float, float]
    skipped: tuple[SkippedFile, ...]
    content_sha256: str
    byte_count: int
    folder: Path
    is_deidentified: bool


def check_upload(upload: Upload, deidentifier: Identities | None = None) -> CheckedSeries:
    """Unpack an upload, check that it is one usable CT series and order its slices; blocks.

    deidentifier: takes the patient out of the files before they are stored.

    Raises:
        UploadError: the files cannot be unpacked within the limits.
        DicomError: the files are not one usable CT series.
    """
    # Imported late: pydicom and numpy are a third of the import time of whatever imports this.
    from ml.dicom.series import index_series  # noqa: PLC0415

    files = upload.unpack()
    paths = [file.path for file in files]
    with settling(paths, are_kept=deidentifier is None) as digest_of:
        index = index_series([SourceFile(path=file.path, name=file.name) for file in files])
        digest = hashlib.sha256()
        for instance in index.instances:
            digest.update(digest_of(instance.path))
    folder = upload.folder / "series"
    folder.mkdir()
    content_sha256 = digest.hexdigest()
    if deidentifier is not None:
        index, content_sha256 = _without_patient(index, content_sha256, folder, deidentifier)
    else:
        for number, instance in enumerate(index.instances, start=1):
            instance.path.rename(folder / slice_name(number))
    geometry = index.geometry
    return CheckedSeries(
        study_instance_uid=index.study_instance_uid,
        series_instance_uid=index.series_instance_uid,
        frame_of_reference_uid=index.frame_of_reference_uid,
        patient_position=index.patient_position,
        slice_count=geometry.shape[0],
        rows=geometry.rows,
        columns=geometry.columns,
        spacing_mm=geometry.spacing_mm,
        extent_mm=geometry.extent_mm,
        skipped=index.skipped,
        content_sha256=content_sha256,
        byte_count=sum(path.stat().st_size for path in folder.glob("*.dcm")),
        folder=folder,
        is_deidentified=deidentifier is not None,
    )


def _without_patient(
    sent: "SeriesIndex", sha256: str, folder: Path, deidentifier: Identities
) -> "tuple[SeriesIndex, str]":
    """Write the files anew, and what was taken out of them beside them, sealed.

    Returns:
        What was written, and the content's hash, keyed: whoever has a copy of the CT cannot find
        it by its hash.
    """
    from ml.dicom.deidentification import deidentify_series  # noqa: PLC0415  # late, as above
    from ml.dicom.relinking import Original  # noqa: PLC0415  # likewise

    pseudonyms = deidentifier.pseudonyms()
    paths = [folder / slice_name(number + 1) for number in range(len(sent.instances))]
    stored = deidentify_series(sent, paths, pseudonyms)
    content_sha256 = pseudonyms.fingerprint("content", sha256)
    sealed = deidentifier.seal(content_sha256, Original.of(sent, stored).to_bytes())
    (folder / SEALED_NAME).write_bytes(sealed)
    return stored, content_sha256
