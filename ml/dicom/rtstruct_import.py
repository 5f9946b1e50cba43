"""Structure sets of other systems: what they refer to, and some of their regions as masks."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from ml.arrays import MaskVolume
from ml.dicom.encoding import PARSE_ERRORS
from ml.dicom.rtstruct_items import (
    Contour,
    invalid_rtstruct,
    items,
    iterate_contours,
    open_structure_set,
)
from ml.dicom.rtstruct_read import AREA_TYPES, Plane, find_slice, rasterize
from ml.dicom.rtstruct_references import referenced_frames, referenced_series
from ml.dicom.series import SeriesIndex

IMAGE_TOLERANCE_PX = 1.0
"""Systems that outline voxels draw half a pixel outside the outermost centres; and some round."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """One item of the Structure Set ROI Sequence."""

    number: int
    name: str
    frame_of_reference_uid: str
    contour_count: int
    """Contours that enclose an area."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StructureSetHeader:
    """What a structure set says of itself, without its contours' points."""

    sop_instance_uid: str
    study_instance_uid: str
    patient_id: str
    manufacturer: str
    series_instance_uids: tuple[str, ...]
    """Series it refers to."""
    frame_of_reference_uids: tuple[str, ...]
    regions: tuple[Region, ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DrawnRegion:
    """One region on the grid of a series, and the contours that do not belong there."""

    mask: MaskVolume
    orphans: int
    """Contours that refer to images, none of which is in the series."""
    beyond_ends: int
    """Contours more than half a slice beyond the first or last slice."""
    beyond_edges: int
    """Contours with points outside their image."""


def read_structure_set_header(path: Path) -> StructureSetHeader:
    """Read what a structure set refers to and which regions it has.

    Raises:
        DicomError: RTSTRUCT_INVALID, for damaged files and anything else than a structure set.
    """
    dataset = open_structure_set(path)
    try:
        return _header(dataset)
    except PARSE_ERRORS as error:
        raise invalid_rtstruct([f"damaged content: {type(error).__name__}"]) from error


def draw_regions(path: Path, numbers: Sequence[int], series: SeriesIndex) -> dict[int, DrawnRegion]:
    """Return masks of the numbered regions by the even-odd rule at pixel centres.

    Raises:
        DicomError: RTSTRUCT_INVALID, for damaged contours and contours out of plane.
    """
    dataset = open_structure_set(path)
    placing = {number: _Placing(series) for number in numbers}
    try:
        for contour in iterate_contours(dataset, frozenset(numbers)):
            if contour.geometric_type in AREA_TYPES and len(contour.points_mm) >= 3:
                placing[contour.roi_number].add(contour)
    except PARSE_ERRORS as error:
        raise invalid_rtstruct([f"damaged content: {type(error).__name__}"]) from error
    return {number: region.drawn() for number, region in placing.items()}


class _Placing:
    """Gathers the contours of one region by slice."""

    def __init__(self, series: SeriesIndex) -> None:
        self._geometry = series.geometry
        self._numbers = {image.sop_instance_uid: i for i, image in enumerate(series.instances)}
        self._slices: dict[int, list[Plane]] = defaultdict(list)
        self._orphans = self._beyond_ends = self._beyond_edges = 0

    def add(self, contour: Contour) -> None:
        """Sort one contour to its slice."""
        if contour.image_uids and not any(uid in self._numbers for uid in contour.image_uids):
            self._orphans += 1
        number, distance_mm = find_slice(contour, self._geometry, self._numbers)
        if distance_mm > self._geometry.slice_spacing_mm / 2:
            self._beyond_ends += 1
            return
        pixels = self._geometry.mm_to_pixels(number, contour.points_mm)
        last = np.array([self._geometry.columns, self._geometry.rows]) - 1 + IMAGE_TOLERANCE_PX
        if (pixels < -IMAGE_TOLERANCE_PX).any() or (pixels > last).any():
            self._beyond_edges += 1
        self._slices[number].append((distance_mm, contour.points_mm))

    def drawn(self) -> DrawnRegion:
        """Rasterise what was gathered."""
        return DrawnRegion(
            mask=rasterize(self._slices, self._geometry),
            orphans=self._orphans,
            beyond_ends=self._beyond_ends,
            beyond_edges=self._beyond_edges,
        )


def _header(dataset: Dataset) -> StructureSetHeader:
    counts: dict[int, int] = defaultdict(int)
    for roi in items(dataset, "ROIContourSequence"):
        for item in items(roi, "ContourSequence"):
            encloses = str(item.get("ContourGeometricType", "")) in AREA_TYPES
            counts[int(roi.ReferencedROINumber)] += int(encloses)
    regions = tuple(
        Region(
            number=int(region.ROINumber),
            name=str(region.get("ROIName", "")).strip(),
            frame_of_reference_uid=str(region.get("ReferencedFrameOfReferenceUID", "")),
            contour_count=counts[int(region.ROINumber)],
        )
        for region in items(dataset, "StructureSetROISequence")
    )
    if len({region.number for region in regions}) < len(regions):
        raise invalid_rtstruct(["two regions share a number"])
    return StructureSetHeader(
        sop_instance_uid=str(dataset.get("SOPInstanceUID", "")),
        study_instance_uid=str(dataset.get("StudyInstanceUID", "")),
        patient_id=str(dataset.get("PatientID", "")).strip(),
        manufacturer=str(dataset.get("Manufacturer", "")).strip(),
        series_instance_uids=referenced_series(dataset),
        frame_of_reference_uids=referenced_frames(dataset),
        regions=regions,
    )
