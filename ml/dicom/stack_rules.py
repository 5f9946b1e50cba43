"""What the images of a series must satisfy together before they are one volume.

Tolerances follow what scanners and consoles write, not what they mean: positions are decimal
strings of limited length, and every slice keeps its own position, so none of them is lost.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from ml.arrays import CoordinatesMm
from ml.dicom.errors import DicomError, DicomErrorCode
from ml.dicom.header import ImageHeader
from ml.dicom.image_rules import refusal
from ml.geometry import DIRECTION_TOLERANCE, VolumeGeometry, is_axial

PIXEL_SPACING_TOLERANCE_MM = 1e-4
"""0.05 mm over 512 pixels: slices that differ by more do not share a grid."""
SLICE_SPACING_TOLERANCE_MM = 0.1
"""Deviation of one slice distance from the usual one (InnerEye's limit); jitter is 1e-4 mm."""
SAME_POSITION_MM = 0.01
"""Slices closer than this lie in one place: no scanner steps so finely."""
SHEAR_TOLERANCE_MM = 0.1
"""Sideways drift over the whole stack: a tenth of a pixel, and what direction cosines of
four decimals cause over half a metre."""
TILT_TOLERANCE_DEGREES = 0.1
"""Consoles report the gantry angle to a tenth of a degree."""
MAX_VOXELS = 2**30
"""Of a volume: 2 GiB as int16, 4096 slices of 512 x 512. Compression hides sizes."""


def check_is_one_series(headers: Sequence[ImageHeader]) -> None:
    """Raise unless all images belong to one series, naming those outside the largest.

    Raises:
        DicomError: SEVERAL_SERIES.
    """
    series = _odd_ones(headers, lambda h: (h.study_instance_uid, h.series_instance_uid))
    if series:
        uids = sorted({header.series_instance_uid for header in headers})
        raise refusal(
            DicomErrorCode.SEVERAL_SERIES,
            "send one series at a time",
            series,
            {"series_instance_uids": uids},
        )


def build_geometry(
    headers: Sequence[ImageHeader],
) -> tuple[VolumeGeometry, tuple[ImageHeader, ...]]:
    """Return the geometry of a checked stack, and its images in the order of its slices.

    Raises:
        DicomError: the images do not form one straight, even, axial volume.
    """
    _check_is_uniform(headers)
    row, column = _directions(headers[0])
    normal = np.cross(row, column)
    along = np.array([_position(header) @ normal for header in headers])
    names = [header.source.name for header in headers]
    order = np.lexsort((np.argsort(np.argsort(names)), along))
    stack = tuple(headers[i] for i in order)
    _check_is_straight(stack, normal)
    if not is_axial(row, column):
        raise refusal(
            DicomErrorCode.NOT_AXIAL,
            "slices must be axial, with edges along the patient's axes",
            stack,
            {"image_orientation_patient": list(headers[0].orientation or ())},
        )
    _check_is_even(stack, along[order])
    between_rows, between_columns = stack[0].pixel_spacing_mm or (0.0, 0.0)
    geometry = VolumeGeometry(
        rows=stack[0].rows,
        columns=stack[0].columns,
        pixel_spacing_mm=(between_rows, between_columns),
        row_direction=row,
        column_direction=column,
        slice_positions_mm=np.stack([_position(header) for header in stack]),
    )
    return geometry, stack


def _check_is_uniform(headers: Sequence[ImageHeader]) -> None:
    """Raise where images differ in what a volume has once."""
    codes = DicomErrorCode
    features: tuple[tuple[DicomErrorCode, str, Callable[[ImageHeader], Hashable]], ...] = (
        (
            codes.SEVERAL_FRAMES_OF_REFERENCE,
            "the images lie in several frames of reference",
            lambda h: h.frame_of_reference_uid,
        ),
        (codes.MIXED_SIZES, "the images differ in rows or columns", lambda h: (h.rows, h.columns)),
    )
    for code, message, feature in features:
        if odd := _odd_ones(headers, feature):
            raise refusal(code, message, odd)
    voxels = headers[0].rows * headers[0].columns * len(headers)
    if voxels > MAX_VOXELS:
        facts: dict[str, object] = {"voxels": voxels, "limit": MAX_VOXELS}
        raise DicomError(codes.INVALID_VALUE, "the volume is too large", facts=facts)
    spacings = np.array([header.pixel_spacing_mm for header in headers])
    if odd := _far_ones(headers, spacings, PIXEL_SPACING_TOLERANCE_MM):
        raise refusal(codes.MIXED_PIXEL_SPACINGS, "the images differ in pixel spacing", odd)
    orientations = np.array([header.orientation for header in headers])
    if odd := _far_ones(headers, orientations, DIRECTION_TOLERANCE):
        raise refusal(codes.MIXED_ORIENTATIONS, "the images differ in orientation", odd)
    uids = Counter(header.sop_instance_uid for header in headers)
    if copies := [header for header in headers if uids[header.sop_instance_uid] > 1]:
        raise refusal(codes.DUPLICATE_SLICES, "an instance was sent more than once", copies)
    if len(headers) == 1:
        raise refusal(codes.SINGLE_SLICE, "a single slice has no slice spacing", headers)


def _check_is_straight(stack: Sequence[ImageHeader], normal: NDArray[np.float64]) -> None:
    """Raise GANTRY_TILT where slices drift sideways or the gantry says it was tilted."""
    positions = np.stack([_position(header) for header in stack])
    offsets = positions - positions[0]
    drift_mm = float(np.linalg.norm(offsets - np.outer(offsets @ normal, normal), axis=1).max())
    tilted = [h for h in stack if abs(h.gantry_tilt_degrees or 0) > TILT_TOLERANCE_DEGREES]
    if drift_mm > SHEAR_TOLERANCE_MM or tilted:
        raise refusal(
            DicomErrorCode.GANTRY_TILT,
            "slices must be stacked along their normal, without gantry tilt",
            tilted or stack,
            {"sideways_drift_mm": round(drift_mm, 3)},
        )


def _check_is_even(stack: Sequence[ImageHeader], along: CoordinatesMm) -> None:
    """Raise for slices in one place, gaps of whole slices, and uneven distances."""
    gaps = np.diff(along)
    doubled = np.flatnonzero(gaps < SAME_POSITION_MM)
    if len(doubled):
        raise refusal(
            DicomErrorCode.DUPLICATE_SLICES,
            "several slices lie in the same place",
            [stack[i] for i in _with_next(doubled)],
        )
    usual = float(np.sort(gaps)[(len(gaps) - 1) // 2])  # a distance that occurs, not a mean of two
    odd = np.flatnonzero(np.abs(gaps - usual) > SLICE_SPACING_TOLERANCE_MM)
    if not len(odd):
        return
    slices_wide = np.rint(gaps[odd] / usual)
    remainders = np.abs(gaps[odd] - slices_wide * usual)
    offenders = [stack[i] for i in _with_next(odd)]
    if np.all((slices_wide >= 2) & (remainders <= SLICE_SPACING_TOLERANCE_MM)):
        raise refusal(
            DicomErrorCode.MISSING_SLICES,
            "slices are missing between those sent",
            offenders,
            {
                "slice_spacing_mm": round(usual, 4),
                "missing_slices": int((slices_wide - 1).sum()),
                "gaps": [
                    {
                        "after_sop_instance_uid": stack[i].sop_instance_uid,
                        "before_sop_instance_uid": stack[i + 1].sop_instance_uid,
                        "missing_slices": int(width) - 1,
                    }
                    for i, width in zip(odd.tolist(), slices_wide, strict=True)
                ],
            },
        )
    raise refusal(
        DicomErrorCode.IRREGULAR_SPACING,
        "the distances between slices differ",
        offenders,
        {
            "slice_spacing_mm": round(usual, 4),
            "smallest_mm": round(float(gaps.min()), 4),
            "largest_mm": round(float(gaps.max()), 4),
        },
    )


def _with_next(indices: NDArray[np.intp]) -> list[int]:
    return sorted({int(i) for i in indices} | {int(i) + 1 for i in indices})


def _odd_ones(
    headers: Sequence[ImageHeader], feature: Callable[[ImageHeader], Hashable]
) -> list[ImageHeader]:
    """Return the images whose feature is not the commonest; ties go to the first by value."""
    counts = Counter(feature(header) for header in headers)
    usual = min(counts, key=lambda value: (-counts[value], repr(value)))
    return [header for header in headers if feature(header) != usual]


def _far_ones(
    headers: Sequence[ImageHeader], values: NDArray[np.float64], tolerance: float
) -> list[ImageHeader]:
    """Return the images whose values are farther than the tolerance from the median."""
    far = np.abs(values - np.median(values, axis=0)).max(axis=1) > tolerance
    if len(headers) == 2 and far.any():
        far[:] = True
    return [header for header, is_far in zip(headers, far, strict=True) if is_far]


def _directions(header: ImageHeader) -> NDArray[np.float64]:
    return np.array(header.orientation, np.float64).reshape(2, 3)


def _position(header: ImageHeader) -> NDArray[np.float64]:
    return np.array(header.position_mm, np.float64)
