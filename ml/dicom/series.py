"""A CT series: what a sender's files are, judged by their headers, and their voxels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml.dicom.encoding import MalformedFileError
from ml.dicom.errors import DicomError, DicomErrorCode
from ml.dicom.files import (
    SkippedFile,
    SkipReason,
    SourceFile,
    find_skip_reason,
    list_source_files,
)
from ml.dicom.header import ImageHeader, read_header
from ml.dicom.image_rules import check_images
from ml.dicom.pixels import read_hu
from ml.dicom.stack_rules import build_geometry, check_is_one_series
from ml.geometry import Volume, VolumeGeometry

__all__ = [
    "Instance",
    "SeriesIndex",
    "SkipReason",
    "SkippedFile",
    "SourceFile",
    "index_series",
    "list_source_files",
    "read_volume",
    "reread_header",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """One slice's file."""

    path: Path
    name: str
    """As the sender called the file."""
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SeriesIndex:
    """A series that is one straight, even, axial volume."""

    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str
    patient_position: str | None
    """As written; contours never depend on it, only on position and orientation."""
    geometry: VolumeGeometry
    instances: tuple[Instance, ...]
    """In the order of the geometry's slices."""
    skipped: tuple[SkippedFile, ...]
    """Received files that are no images, in order of name."""


def index_series(files: Sequence[SourceFile]) -> SeriesIndex:
    """Return the one CT series among the files, judged by headers alone.

    Raises:
        DicomError: the first rule of the series that is broken, with every offender.
    """
    headers, skipped = _read_headers(files)
    if not headers:
        raise _nothing_to_index(skipped)
    check_images(headers)
    check_is_one_series(headers)
    geometry, stack = build_geometry(headers)
    first = stack[0]
    return SeriesIndex(
        study_instance_uid=first.study_instance_uid,
        series_instance_uid=first.series_instance_uid,
        frame_of_reference_uid=first.frame_of_reference_uid,
        patient_position=first.patient_position or None,
        geometry=geometry,
        instances=tuple(
            Instance(
                path=header.source.path,
                name=header.source.name,
                sop_class_uid=header.sop_class_uid,
                sop_instance_uid=header.sop_instance_uid,
                transfer_syntax_uid=header.transfer_syntax_uid,
            )
            for header in stack
        ),
        skipped=skipped,
    )


def read_volume(index: SeriesIndex, on_progress: Callable[[float], None] | None = None) -> Volume:
    """Return the series' Hounsfield units, slices ascending along the normal.

    on_progress hears the share of slices read, 0 to 1.

    Raises:
        DicomError: pixels that cannot be decoded, or files that changed since they were indexed.
    """
    hu = np.empty(index.geometry.shape, np.int16)
    for number, instance in enumerate(index.instances):
        hu[number] = read_hu(reread_header(index, instance))
        if on_progress is not None:
            on_progress((number + 1) / len(index.instances))
    return Volume(hu=hu, geometry=index.geometry)


def reread_header(index: SeriesIndex, instance: Instance) -> ImageHeader:
    """Return the header as it is now: files may have changed since the series was indexed.

    Raises:
        DicomError: PIXELS_TRUNCATED, or the rule that the image breaks now.
    """
    try:
        header = read_header(SourceFile(path=instance.path, name=instance.name))
    except MalformedFileError as error:
        raise _changed(instance) from error
    geometry = index.geometry
    if (
        isinstance(header, SkipReason)
        or header.sop_instance_uid != instance.sop_instance_uid
        or (header.rows, header.columns) != (geometry.rows, geometry.columns)
    ):
        raise _changed(instance)
    check_images([header])
    return header


def _read_headers(
    files: Sequence[SourceFile],
) -> tuple[list[ImageHeader], tuple[SkippedFile, ...]]:
    headers: list[ImageHeader] = []
    skipped: list[SkippedFile] = []
    unreadable: list[str] = []
    for source in sorted(files, key=lambda file: file.name):
        try:
            found = find_skip_reason(source) or read_header(source)
        except MalformedFileError:
            unreadable.append(source.name)
            continue
        if isinstance(found, SkipReason):
            skipped.append(SkippedFile(name=source.name, reason=found))
        else:
            headers.append(found)
    if unreadable:
        message = "files that should be DICOM cannot be read as DICOM"
        raise DicomError(DicomErrorCode.NOT_DICOM, message, file_names=unreadable)
    return headers, tuple(skipped)


def _nothing_to_index(skipped: Sequence[SkippedFile]) -> DicomError:
    names = [file.name for file in skipped]
    if any(f.reason in (SkipReason.DICOMDIR, SkipReason.NOT_AN_IMAGE) for f in skipped):
        return DicomError(
            DicomErrorCode.NO_IMAGES, "there is no image among the files", file_names=names
        )
    return DicomError(DicomErrorCode.NOT_DICOM, "none of the files is DICOM", file_names=names)


def _changed(instance: Instance) -> DicomError:
    return DicomError(
        DicomErrorCode.PIXELS_TRUNCATED,
        "the file was changed or damaged after it was received",
        sop_instance_uids=[instance.sop_instance_uid],
        file_names=[instance.name],
    )
