"""A structure set of any vendor to masks on the grid of a CT series."""

from collections import defaultdict
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from ml.arrays import MaskVolume, PointsMm
from ml.dicom.contours import rings_to_mask
from ml.dicom.encoding import PARSE_ERRORS
from ml.dicom.rtstruct_items import (
    Contour,
    invalid_rtstruct,
    items,
    iterate_contours,
    open_structure_set,
)
from ml.dicom.series import SeriesIndex
from ml.geometry import VolumeGeometry

SAME_PLANE_MM = 0.01
"""Contours drawn on one plane differ by no more than the rounding of their decimal strings."""

AREA_TYPES = frozenset({"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"})
"""Geometric types that enclose something; points and open lines do not."""

Plane = tuple[float, PointsMm]
"""Distance of a contour from the slice it belongs to, and its points."""


def read_rtstruct(path: Path, series: SeriesIndex) -> dict[str, MaskVolume]:
    """Return a mask for every named region, by the even-odd rule at pixel centres.

    A contour belongs to the slice it references, else to the slice nearest to its plane; what
    lies beyond the ends of the series is left out. Points and open lines enclose nothing.

    Raises:
        DicomError: RTSTRUCT_INVALID, for damaged files, contours out of plane, repeated names
            and other frames of reference.
    """
    dataset = open_structure_set(path)
    try:
        names = _region_names(dataset, series.frame_of_reference_uid)
        drawn = _contours_by_slice(dataset, series)
    except PARSE_ERRORS as error:
        raise invalid_rtstruct([f"damaged content: {type(error).__name__}"]) from error
    return {
        name: rasterize(drawn.get(number, {}), series.geometry) for number, name in names.items()
    }


def _region_names(dataset: Dataset, frame_of_reference_uid: str) -> dict[int, str]:
    regions = items(dataset, "StructureSetROISequence")
    names = {int(region.ROINumber): str(region.get("ROIName", "")) for region in regions}
    if len(names) < len(regions) or len(set(names.values())) < len(regions):
        raise invalid_rtstruct(["two regions share a number or a name"])
    frames = {str(region.get("ReferencedFrameOfReferenceUID", "")) for region in regions}
    if frames - {frame_of_reference_uid}:
        raise invalid_rtstruct(["regions lie in another frame of reference than the series"])
    return names


def _contours_by_slice(dataset: Dataset, series: SeriesIndex) -> dict[int, dict[int, list[Plane]]]:
    """Return the contours of every region and slice with their distances from its plane."""
    numbers = {inst.sop_instance_uid: number for number, inst in enumerate(series.instances)}
    drawn: dict[int, dict[int, list[Plane]]] = defaultdict(lambda: defaultdict(list))
    for contour in iterate_contours(dataset):
        if contour.geometric_type not in AREA_TYPES or len(contour.points_mm) < 3:
            continue
        number, distance_mm = find_slice(contour, series.geometry, numbers)
        if distance_mm <= series.geometry.slice_spacing_mm / 2:
            drawn[contour.roi_number][number].append((distance_mm, contour.points_mm))
    return drawn


def find_slice(
    contour: Contour, geometry: VolumeGeometry, numbers: dict[str, int]
) -> tuple[int, float]:
    """Return the slice of a contour and the distance of their planes in mm.

    Raises:
        DicomError: RTSTRUCT_INVALID, for a contour that lies in no plane of the series.
    """
    along = contour.points_mm @ geometry.normal
    if not np.ptp(along) <= geometry.slice_spacing_mm / 2:  # also true of a value that is no number
        raise invalid_rtstruct([f"a contour of region {contour.roi_number} is not in plane"])
    distances = np.abs(geometry.slice_positions_mm @ geometry.normal - along.mean())
    referenced = [numbers[uid] for uid in contour.image_uids if uid in numbers]
    number = referenced[0] if len(referenced) == 1 else int(np.argmin(distances))
    return number, float(distances[number])


def rasterize(slices: dict[int, list[Plane]], geometry: VolumeGeometry) -> MaskVolume:
    """Return the mask of one region; of several planes that fall on a slice the nearest counts."""
    mask = np.zeros(geometry.shape, np.bool_)
    for number, planes in slices.items():
        nearest = min(distance for distance, _ in planes)
        rings = [
            geometry.mm_to_pixels(number, points)
            for distance, points in planes
            if distance <= nearest + SAME_PLANE_MM
        ]
        mask[number] = rings_to_mask(rings, (geometry.rows, geometry.columns))
    return mask
