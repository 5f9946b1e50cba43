"""The check that every structure set passes before it is released.

Written from PS3.3 A.19 and C.8.8, not from what writes the files, and reads them from disk.
"""

from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset

from ml.dicom.rtstruct_items import (
    RTSTRUCT_CLASS,
    Contour,
    invalid_rtstruct,
    items,
    iterate_contours,
    open_structure_set,
    refusing_damage,
)
from ml.dicom.series import SeriesIndex

PLANE_TOLERANCE_MM = 0.01
"""Decimal strings are rounded to 0.001 mm."""
IMAGE_TOLERANCE_PX = 0.01
"""Outlines end 0.5 pixel outside the outermost pixel centres, give or take that rounding."""
MAX_VALUE_BYTES = 16
"""Of a decimal string, PS3.5 6.2."""
MAX_DATA_BYTES = 65_534
"""Of Contour Data: more does not fit the 16-bit length of an explicit VR copy."""

_TYPE_1 = (
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "StructureSetLabel",
    "ApprovalStatus",
    "SoftwareVersions",
    "SeriesDescription",
)
_TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
    "OperatorsName",
    "Manufacturer",
    "PositionReferenceIndicator",
    "StructureSetDate",
    "StructureSetTime",
    "SeriesNumber",
)


def check_rtstruct(path: Path | BytesIO, series: SeriesIndex) -> None:
    """Raise unless the file is a valid, unapproved structure set of exactly this series.

    Raises:
        DicomError: RTSTRUCT_INVALID, with the problems found.
    """
    dataset = open_structure_set(path)
    with refusing_damage():
        problems = [
            *_header_problems(dataset, series),
            *_reference_problems(dataset, series),
            *_region_problems(dataset, series),
            *_contours_problems(dataset, series),
        ]
    if problems:
        raise invalid_rtstruct(problems)


def _header_problems(dataset: FileDataset, series: SeriesIndex) -> Iterator[str]:
    meta = dataset.file_meta
    if meta.get("MediaStorageSOPClassUID") != RTSTRUCT_CLASS:
        yield "file meta information names another SOP class"
    if meta.get("MediaStorageSOPInstanceUID") != dataset.get("SOPInstanceUID"):
        yield "file meta information names another instance"
    if dataset.get("Modality") != "RTSTRUCT":
        yield "Modality is not RTSTRUCT"
    if dataset.get("ApprovalStatus") != "UNAPPROVED":
        yield "an automatic structure set must be UNAPPROVED"
    yield from (f"{keyword} is missing or empty" for keyword in _TYPE_1 if not dataset.get(keyword))
    yield from (f"{keyword} is missing" for keyword in _TYPE_2 if keyword not in dataset)
    if dataset.get("StudyInstanceUID") != series.study_instance_uid:
        yield "the structure set is in another study than the series"
    if dataset.get("SeriesInstanceUID") == series.series_instance_uid:
        yield "the structure set is in the series of the images"
    if dataset.get("FrameOfReferenceUID") != series.frame_of_reference_uid:
        yield "the frame of reference is not the series'"


def _reference_problems(dataset: Dataset, series: SeriesIndex) -> Iterator[str]:
    """Yield what is wrong between Referenced Frame of Reference Sequence and the series."""
    frames = items(dataset, "ReferencedFrameOfReferenceSequence")
    studies = [study for f in frames for study in items(f, "RTReferencedStudySequence")]
    listed_series = [s for study in studies for s in items(study, "RTReferencedSeriesSequence")]
    images = [image for s in listed_series for image in items(s, "ContourImageSequence")]
    if [f.get("FrameOfReferenceUID") for f in frames] != [series.frame_of_reference_uid]:
        yield "the referenced frame of reference is not the series'"
    if [s.get("ReferencedSOPInstanceUID") for s in studies] != [series.study_instance_uid]:
        yield "the referenced study is not the series'"
    if [s.get("SeriesInstanceUID") for s in listed_series] != [series.series_instance_uid]:
        yield "the referenced series is another"
    listed = [(i.get("ReferencedSOPClassUID"), i.get("ReferencedSOPInstanceUID")) for i in images]
    expected = [(i.sop_class_uid, i.sop_instance_uid) for i in series.instances]
    if Counter(listed) != Counter(expected):
        yield "the referenced images are not exactly those of the series"


def _region_problems(dataset: Dataset, series: SeriesIndex) -> Iterator[str]:
    regions = items(dataset, "StructureSetROISequence")
    numbers = sorted(int(region.ROINumber) for region in regions)
    names = {str(region.get("ROIName", "")) for region in regions}
    if not regions:
        yield "there is no region"
    if len(set(numbers)) < len(regions) or len(names) < len(regions):
        yield "two regions share a number or a name"
    for region in regions:
        yield from _definition_problems(region, series.frame_of_reference_uid)
    yield from _observation_problems(items(dataset, "RTROIObservationsSequence"), numbers)
    yield from _contour_item_problems(items(dataset, "ROIContourSequence"), numbers)


def _definition_problems(region: Dataset, frame_of_reference_uid: str) -> Iterator[str]:
    name = str(region.get("ROIName", ""))
    if not 0 < len(name) <= 64 or not name.isprintable() or "?" in name:
        yield f"{name!r} is no region name"  # a question mark: a character lost in encoding
    if region.get("ReferencedFrameOfReferenceUID") != frame_of_reference_uid:
        yield f"region {name!r} lies in another frame of reference"
    if region.get("ROIGenerationAlgorithm") != "AUTOMATIC":
        yield f"region {name!r} is not said to be AUTOMATIC"


def _observation_problems(observations: list[Dataset], numbers: list[int]) -> Iterator[str]:
    if sorted(int(item.ReferencedROINumber) for item in observations) != numbers:
        yield "regions and observations do not match one to one"
    if len({int(item.ObservationNumber) for item in observations}) < len(observations):
        yield "two observations share a number"
    for item in observations:
        if "RTROIInterpretedType" not in item or "ROIInterpreter" not in item:
            yield f"region {item.ReferencedROINumber} lacks an interpreted type or interpreter"


def _contour_item_problems(contours: list[Dataset], numbers: list[int]) -> Iterator[str]:
    if sorted(int(item.ReferencedROINumber) for item in contours) != numbers:
        yield "regions and their contours do not match one to one"
    for item in contours:
        colour = [int(value) for value in item.get("ROIDisplayColor") or ()]
        if len(colour) != 3 or not all(0 <= value <= 255 for value in colour):
            yield f"region {item.ReferencedROINumber} has no valid colour"
        if "ContourSequence" in item and not items(item, "ContourSequence"):
            yield f"region {item.ReferencedROINumber} has an empty Contour Sequence"


def _contours_problems(dataset: Dataset, series: SeriesIndex) -> Iterator[str]:
    numbers = {inst.sop_instance_uid: number for number, inst in enumerate(series.instances)}
    for contour in iterate_contours(dataset):
        for problem in _contour_problems(contour, series, numbers):
            yield f"a contour of region {contour.roi_number} {problem}"


def _contour_problems(
    contour: Contour, series: SeriesIndex, numbers: dict[str, int]
) -> Iterator[str]:
    count = len(contour.points_mm)
    if contour.geometric_type != "CLOSED_PLANAR":
        yield "is not closed and planar"
    if count < 3 or not np.isfinite(contour.points_mm).all():
        yield "encloses nothing"
        return
    if contour.declared_points != count:
        yield f"has {count} points and declares {contour.declared_points}"
    if contour.longest_value > MAX_VALUE_BYTES or contour.data_bytes > MAX_DATA_BYTES:
        yield "has values longer than DICOM allows"
    if len(contour.image_uids) != 1 or contour.image_uids[0] not in numbers:
        yield "does not reference one image of the series"
        return
    number, geometry = numbers[contour.image_uids[0]], series.geometry
    offsets = contour.points_mm - geometry.slice_positions_mm[number]
    if np.abs(offsets @ geometry.normal).max() > PLANE_TOLERANCE_MM:
        yield "is off the plane of the image it references"
    pixels = geometry.mm_to_pixels(number, contour.points_mm)
    limits = np.array([geometry.columns, geometry.rows]) - 0.5 + IMAGE_TOLERANCE_PX
    if (pixels < -0.5 - IMAGE_TOLERANCE_PX).any() or (pixels > limits).any():
        yield "leaves its image"
