"""Structure sets of other systems: what they refer to, and some of their regions as masks."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from ml.arrays import MaskVolume
from ml.dicom.rtstruct_items import (
    Contour,
    invalid_rtstruct,
    items,
    iterate_contours,
    open_structure_set,
    plain_text,
    refusing_damage,
)
from ml.dicom.rtstruct_read import AREA_TYPES, LEAST_POINTS, Placed, place_contour, rasterize
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

    def is_in_frame(self, region: Region, frame_of_reference_uid: str) -> bool:
        """Whether a region lies in a frame of reference.

        One that names none does where the file names no other, for there it can lie nowhere else.
        """
        if region.frame_of_reference_uid:
            return region.frame_of_reference_uid == frame_of_reference_uid
        return set(self.frame_of_reference_uids) <= {frame_of_reference_uid}


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
    without_area: int
    """Contours that enclose nothing: points, lines, and those of fewer than three points."""
    other_planes: int
    """Contours left out of the slice whose image they name: others lie nearer to its plane."""
    between_slices: int
    """Contours left out of the slice they lie nearest to, likewise."""


def read_structure_set_header(path: Path) -> StructureSetHeader:
    """Read what a structure set refers to and which regions it has.

    Raises:
        DicomError: RTSTRUCT_INVALID, for damaged files and anything else than a structure set.
    """
    dataset = open_structure_set(path)
    with refusing_damage():
        return _header(dataset)


def draw_regions(path: Path, numbers: Sequence[int], series: SeriesIndex) -> dict[int, DrawnRegion]:
    """Return masks of the numbered regions by the even-odd rule at pixel centres.

    Raises:
        DicomError: RTSTRUCT_INVALID, for damaged contours, contours out of plane, and contours
            with another number of points than they declare.
    """
    dataset = open_structure_set(path)
    placing = {number: _Placing(series) for number in numbers}
    with refusing_damage():
        for contour in iterate_contours(dataset, frozenset(numbers)):
            placing[contour.roi_number].add(contour)
    return {number: region.drawn() for number, region in placing.items()}


class _Placing:
    """Gathers the contours of one region by slice."""

    def __init__(self, series: SeriesIndex) -> None:
        self._geometry = series.geometry
        self._numbers = {image.sop_instance_uid: i for i, image in enumerate(series.instances)}
        self._slices: dict[int, list[Placed]] = defaultdict(list)
        self._orphans = self._beyond_ends = self._beyond_edges = self._without_area = 0

    def add(self, contour: Contour) -> None:
        """Sort one contour to its slice."""
        if contour.geometric_type not in AREA_TYPES:
            self._without_area += 1
            return
        count = len(contour.points_mm)
        if contour.declared_points not in (None, count):  # were points lost, or is the count wrong?
            problem = f"has {count} points and declares {contour.declared_points}"
            raise invalid_rtstruct([f"a contour of region {contour.roi_number} {problem}"])
        if count < LEAST_POINTS:
            self._without_area += 1
            return
        self._place(contour)

    def _place(self, contour: Contour) -> None:
        if contour.image_uids and not any(uid in self._numbers for uid in contour.image_uids):
            self._orphans += 1
        placed = place_contour(contour, self._geometry, self._numbers)
        if abs(placed.offset_mm) > self._geometry.slice_spacing_mm / 2:
            self._beyond_ends += 1
            return
        pixels = self._geometry.mm_to_pixels(placed.number, contour.points_mm)
        last = np.array([self._geometry.columns, self._geometry.rows]) - 1 + IMAGE_TOLERANCE_PX
        if (pixels < -IMAGE_TOLERANCE_PX).any() or (pixels > last).any():
            self._beyond_edges += 1
        self._slices[placed.number].append(placed)

    def drawn(self) -> DrawnRegion:
        """Rasterise what was gathered."""
        mask, left_out = rasterize(self._slices, self._geometry)
        other_planes = sum(contour.is_referenced for contour in left_out)
        return DrawnRegion(
            mask=mask,
            orphans=self._orphans,
            beyond_ends=self._beyond_ends,
            beyond_edges=self._beyond_edges,
            without_area=self._without_area,
            other_planes=other_planes,
            between_slices=len(left_out) - other_planes,
        )


def _header(dataset: Dataset) -> StructureSetHeader:
    counts: dict[int, int] = defaultdict(int)
    for roi in items(dataset, "ROIContourSequence"):
        for item in items(roi, "ContourSequence"):
            encloses = plain_text(item, "ContourGeometricType") in AREA_TYPES
            counts[int(roi.ReferencedROINumber)] += int(encloses)
    regions = tuple(
        Region(
            number=int(region.ROINumber),
            name=str(region.get("ROIName", "")).strip(),
            frame_of_reference_uid=plain_text(region, "ReferencedFrameOfReferenceUID"),
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
