"""A structure set of any vendor to masks on the grid of a CT series."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from ml.arrays import MaskVolume, PixelPoints, PointsMm
from ml.dicom.contours import fill, find_edges
from ml.dicom.rtstruct_items import (
    Contour,
    invalid_rtstruct,
    items,
    iterate_contours,
    open_structure_set,
    refusing_damage,
)
from ml.dicom.series import SeriesIndex
from ml.geometry import VolumeGeometry

SAME_PLANE_MM = 0.1
"""Contours this close are of one plane: systems round, and slices themselves may lie off their
usual distance by as much (SLICE_SPACING_TOLERANCE_MM of ml.dicom.stack_rules)."""

MAX_COORDINATE_MM = 100_000.0
"""No slice that is accepted reaches so far, and numbers without measure would overflow."""

MAX_CROSSINGS = 2**28
"""Of one region's edges with rows of pixels: some 20 s of work. Outlines of readers make a million;
a hostile file of a few megabytes, whose every edge crosses the whole image, a thousand times more.
"""

AREA_TYPES = frozenset({"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"})
"""Geometric types that enclose something; points and open lines do not."""

LEAST_POINTS = 3
"""Of a contour that encloses something; systems that outline voxels write shorter ones, too."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Placed:
    """A contour and the slice it belongs to."""

    number: int
    """Of the slice."""
    offset_mm: float
    """From the slice's plane to the contour's, along the normal."""
    is_referenced: bool
    """The contour names the slice's image, and no other of the series."""
    points_mm: PointsMm


def read_rtstruct(path: Path, series: SeriesIndex) -> dict[str, MaskVolume]:
    """Return a mask for every named region, by the even-odd rule at pixel centres.

    A contour belongs to the slice it references, else to the slice nearest to its plane; what
    lies beyond the ends of the series, or farther from its slice than another plane does, is left
    out. Points and open lines enclose nothing.

    Raises:
        DicomError: RTSTRUCT_INVALID, for damaged files, contours out of plane, repeated names
            and other frames of reference.
    """
    dataset = open_structure_set(path)
    with refusing_damage():
        names = _region_names(dataset, series.frame_of_reference_uid)
        drawn = _contours_by_slice(dataset, series)
    return {
        name: rasterize(drawn.get(number, {}), series.geometry)[0] for number, name in names.items()
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


def _contours_by_slice(dataset: Dataset, series: SeriesIndex) -> dict[int, dict[int, list[Placed]]]:
    """Return the contours of every region and slice."""
    numbers = {inst.sop_instance_uid: number for number, inst in enumerate(series.instances)}
    drawn: dict[int, dict[int, list[Placed]]] = defaultdict(lambda: defaultdict(list))
    for contour in iterate_contours(dataset):
        if contour.geometric_type not in AREA_TYPES or len(contour.points_mm) < LEAST_POINTS:
            continue
        placed = place_contour(contour, series.geometry, numbers)
        if abs(placed.offset_mm) <= series.geometry.slice_spacing_mm / 2:
            drawn[contour.roi_number][placed.number].append(placed)
    return drawn


def place_contour(contour: Contour, geometry: VolumeGeometry, numbers: dict[str, int]) -> Placed:
    """Return the slice of a contour and how far their planes are apart.

    Raises:
        DicomError: RTSTRUCT_INVALID, for a contour that lies in no plane of the series.
    """
    if not np.abs(contour.points_mm).max() <= MAX_COORDINATE_MM:
        raise invalid_rtstruct([f"a contour of region {contour.roi_number} is far off any patient"])
    along = contour.points_mm @ geometry.normal
    if not np.ptp(along) <= geometry.slice_spacing_mm / 2:  # also true of a value that is no number
        raise invalid_rtstruct([f"a contour of region {contour.roi_number} is not in plane"])
    offsets = along.mean() - geometry.slice_positions_mm @ geometry.normal
    referenced = [numbers[uid] for uid in contour.image_uids if uid in numbers]
    is_referenced = len(referenced) == 1
    number = referenced[0] if is_referenced else int(np.argmin(np.abs(offsets)))
    return Placed(
        number=number,
        offset_mm=float(offsets[number]),
        is_referenced=is_referenced,
        points_mm=contour.points_mm,
    )


def rasterize(
    slices: dict[int, list[Placed]], geometry: VolumeGeometry
) -> tuple[MaskVolume, list[Placed]]:
    """Return the mask of one region, and the contours that it leaves out.

    Of several planes that fall on a slice the nearest counts. Those of the others are left out:
    together, by the even-odd rule, an outline and its neighbour would cancel each other.

    Raises:
        DicomError: RTSTRUCT_INVALID, for contours that would take minutes (MAX_CROSSINGS).
    """
    mask = np.zeros(geometry.shape, np.bool_)
    left_out: list[Placed] = []
    crossings = 0
    for number, contours in slices.items():
        nearest = min((contour.offset_mm for contour in contours), key=abs)
        rings: list[PixelPoints] = []
        for contour in contours:
            if abs(contour.offset_mm - nearest) <= SAME_PLANE_MM:
                rings.append(geometry.mm_to_pixels(number, contour.points_mm))
            else:
                left_out.append(contour)
        edges = find_edges(rings, geometry.rows)
        crossings += int(edges.counts.sum())
        if crossings > MAX_CROSSINGS:
            raise invalid_rtstruct([f"contours of one region cross more than {MAX_CROSSINGS} rows"])
        mask[number] = fill(edges, (geometry.rows, geometry.columns))
    return mask, left_out
