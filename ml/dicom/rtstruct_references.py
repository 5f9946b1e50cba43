"""What a structure set belongs to, read without its contours."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from ml.dicom.encoding import (
    MalformedFileError,
    open_dataset,
    raw_text,
    read_elements,
)
from ml.dicom.rtstruct_items import (
    RTSTRUCT_CLASS,
    invalid_rtstruct,
    items,
    plain_text,
    refusing_damage,
)

_KEYWORDS = (
    "SOPClassUID",
    "ReferencedFrameOfReferenceSequence",
    "StructureSetROISequence",
)
_CONTOURS = 0x30060039
"""ROI Contour Sequence: everything of interest here stands before it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StructureSetReferences:
    """Which series and frames of reference a structure set names, in order and once."""

    series_instance_uids: tuple[str, ...]
    frame_of_reference_uids: tuple[str, ...]
    region_count: int


def read_references(path: Path) -> StructureSetReferences:
    """Read what a structure set refers to; its contours are neither read nor checked.

    Raises:
        DicomError: RTSTRUCT_INVALID, for damaged files, those that inflate without measure, and
            anything else than a structure set.
    """
    try:
        stream, meta = open_dataset(path)
        with closing(stream):
            syntax = raw_text(meta, "TransferSyntaxUID")[0]
            dataset = read_elements(stream, syntax, _KEYWORDS, until=_CONTOURS)
    except MalformedFileError as error:
        raise invalid_rtstruct(["the file cannot be read as DICOM"]) from error
    with refusing_damage():
        return _references(dataset)


def referenced_series(dataset: Dataset) -> tuple[str, ...]:
    """Return the UIDs of the series that a structure set names."""
    frames = items(dataset, "ReferencedFrameOfReferenceSequence")
    studies = [study for frame in frames for study in items(frame, "RTReferencedStudySequence")]
    series = [s for study in studies for s in items(study, "RTReferencedSeriesSequence")]
    return tuple(sorted({plain_text(s, "SeriesInstanceUID") for s in series}))


def referenced_frames(dataset: Dataset) -> tuple[str, ...]:
    """Return the UIDs of the frames of reference that a structure set or its regions name."""
    frames = items(dataset, "ReferencedFrameOfReferenceSequence")
    regions = items(dataset, "StructureSetROISequence")
    named = {plain_text(frame, "FrameOfReferenceUID") for frame in frames}
    named |= {plain_text(region, "ReferencedFrameOfReferenceUID") for region in regions}
    return tuple(sorted(named - {""}))


def _references(dataset: Dataset) -> StructureSetReferences:
    if str(dataset.get("SOPClassUID", "")) != RTSTRUCT_CLASS:
        raise invalid_rtstruct(["the file is no RT Structure Set"])
    return StructureSetReferences(
        series_instance_uids=referenced_series(dataset),
        frame_of_reference_uids=referenced_frames(dataset),
        region_count=len(items(dataset, "StructureSetROISequence")),
    )
