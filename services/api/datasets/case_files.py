"""Uploads of cases: looked through by their heads, and laid out as they are kept.

Runs in a process of its own, so this module imports little.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from services.api.datasets.errors import NoCaseInUploadError
from services.api.uploads.stream import Upload
from services.core.storage import UPLOAD_NAMES_FILE, slice_name

if TYPE_CHECKING:
    from ml.dicom.catalogue import Catalogue
    from ml.dicom.files import SourceFile


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseFileCounts:
    """What an upload of cases holds."""

    ct_images: int
    ct_series: int
    """Projection images by themselves do not count."""
    structure_sets: int
    unreadable_files: int
    """That should be DICOM and are not; kept, for a case they may belong to is not whole."""
    other_dicom_objects: int
    """Plans, doses, other images; not kept."""
    other_files: int
    """Not kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedCases:
    """An upload with cases; what is kept of it lies ready in a folder of its own."""

    counts: CaseFileCounts
    content_sha256: str
    file_count: int
    byte_count: int
    folder: Path


def check_cases(upload: Upload) -> CheckedCases:
    """Unpack an upload, find CT images and structure sets by their heads, lay them out; blocks.

    Raises:
        UploadError: the files cannot be unpacked within the limits.
        NoCaseInUploadError: there is no CT, or no structure set.
    """
    # Imported late: see check_upload of the series.
    from ml.dicom.catalogue import catalogue  # noqa: PLC0415
    from ml.dicom.files import SourceFile  # noqa: PLC0415

    files = upload.unpack()
    sources = [SourceFile(path=file.path, name=file.whole_name) for file in files]
    found = catalogue(sources)
    counts = _count(found)
    if not counts.ct_series or not counts.structure_sets:
        raise NoCaseInUploadError(
            {"ct_series": counts.ct_series, "structure_sets": counts.structure_sets}
        )
    used = [o.source for o in found.objects if o.is_ct or o.is_structure_set]
    kept = sorted([*used, *found.unreadable], key=lambda source: (source.name, source.path))
    digests = sorted(_sha256(source.path) for source in kept)
    byte_count = sum(source.path.stat().st_size for source in kept)
    folder = upload.folder / "cases"
    _lay_out(kept, folder)
    return CheckedCases(
        counts=counts,
        content_sha256=hashlib.sha256("".join(digests).encode()).hexdigest(),
        file_count=len(kept),
        byte_count=byte_count,
        folder=folder,
    )


def _count(found: "Catalogue") -> CaseFileCounts:
    from ml.dicom.catalogue import group_series  # noqa: PLC0415

    images = sum(o.is_ct for o in found.objects)
    structure_sets = sum(o.is_structure_set for o in found.objects)
    return CaseFileCounts(
        ct_images=images,
        ct_series=len(group_series(found.objects)),
        structure_sets=structure_sets,
        unreadable_files=len(found.unreadable),
        other_dicom_objects=len(found.objects) - images - structure_sets,
        other_files=found.not_dicom,
    )


def _lay_out(sources: "Sequence[SourceFile]", folder: Path) -> None:
    """Move files into numbered folders, one for each of the sender's, and note their names.

    A damaged file counts to the CT in its folder, so folders must stay apart.
    """
    folder.mkdir()
    numbers: dict[PurePosixPath, int] = {}
    names: dict[str, str] = {}
    for number, source in enumerate(sources, start=1):
        sent_in = PurePosixPath(source.name.replace("\\", "/")).parent
        own_folder = f"{numbers.setdefault(sent_in, len(numbers) + 1):05d}"
        (folder / own_folder).mkdir(exist_ok=True)
        path = f"{own_folder}/{slice_name(number)}"
        source.path.rename(folder / path)
        names[path] = source.name
    (folder / UPLOAD_NAMES_FILE).write_text(json.dumps(names, ensure_ascii=False), encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
