"""What a physicist should look at before trusting the contours of a job."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from scipy import ndimage

from ml.arrays import CoordinatesMm, HuVolume, LabelVolume, PositionMask
from ml.inference.postprocessing import Components
from ml.preprocessing.body import Body
from ml.preprocessing.crop import Crop
from ml.structures import Structure, StructureSet

CORE_RADIUS_MM = 100.0
"""Body nearer than this to its slice's centre can hold the structures: CTV-N reaches about 80 mm
to either side. A 250 mm crop always cuts hips, so only this core counts as lost."""
LOST_CORE_FRACTION = 0.02
"""Share of the core outside the crop above which a job carries a warning."""
PADDING_BELOW_HU = -1100
"""Values below air mark pixels outside the scanner's field of view."""

MIDLINE_MM = 50.0
"""Bone farther to the side than this is hip or iliac wing, not spine or sacrum."""
PELVIC_BONE_CM2 = 14.0
"""Least bone beside the midline in the richest tenth of a pelvic scan's slices. Measured: 31 to 52
in slices of three real pelves, 28 to 63 in phantoms, 8 in an abdomen, 4 to 9 in two thighs."""
CROSS_IN_PLANE = np.array([[[0, 1, 0], [1, 1, 1], [0, 1, 0]]], bool)


class QualityCode(StrEnum):
    """Stable reasons for a second look; clients may branch on them, so values never change."""

    EMPTY_STRUCTURE = "empty_structure"
    IMPLAUSIBLE_VOLUME = "implausible_volume"
    SEVERAL_COMPONENTS = "several_components"
    TOUCHES_FIELD_OF_VIEW = "touches_field_of_view"
    CUT_AT_LAST_SLICE = "cut_at_last_slice"
    CROP_LOST_BODY = "crop_lost_body"
    NO_PELVIS = "no_pelvis"


@dataclass(frozen=True, kw_only=True, slots=True)
class QualityWarning:
    """One reason for a second look."""

    code: QualityCode
    structure: str | None
    """Name of the structure, or None where the whole job is meant."""
    message: str
    facts: dict[str, float | int | str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Result:
    """A contoured volume in LPS order, with what was learned on the way."""

    hu: HuVolume
    labels: LabelVolume
    crop: Crop
    body: Body
    components: dict[str, Components]
    volumes_ml: dict[str, float]


def find_warnings(result: Result, structures: StructureSet) -> tuple[QualityWarning, ...]:
    """Return all warnings of a job, those on the whole volume first."""
    boxes = ndimage.find_objects(result.labels, max_label=len(structures.structures))
    warnings = [*_pelvis_warnings(result.body), *_crop_warnings(result.crop, result.body)]
    for structure, box in zip(structures.structures, boxes, strict=True):
        if box is None:
            warnings.append(_empty(structure))
        else:
            warnings += _volume_warnings(structure, result.volumes_ml[structure.name])
            warnings += _component_warnings(structure, result.components[structure.name])
            warnings += _border_warnings(structure, box, result)
    return tuple(warnings)


def _pelvis_warnings(body: Body) -> Iterator[QualityWarning]:
    bone_cm2 = lateral_bone_cm2(body)
    if bone_cm2 < PELVIC_BONE_CM2:
        yield QualityWarning(
            code=QualityCode.NO_PELVIS,
            structure=None,
            message="no pelvic bones were found; the contours are not to be trusted",
            facts={"lateral_bone_cm2": round(bone_cm2, 1), "expected_cm2": PELVIC_BONE_CM2},
        )


def lateral_bone_cm2(body: Body) -> float:
    """Return the bone beside the midline of the slices that have most of it.

    A tenth of the slices has more. Hips and iliac wings fill tens of square centimetres, the
    spine is at the midline and ribs are thin.
    """
    if body.is_empty:
        return 0.0
    columns = body.mask.sum(axis=1, dtype=np.float64)
    middle = (columns @ body.x_mm) / np.maximum(columns.sum(axis=1), 1)
    lateral = np.abs(body.x_mm[None] - middle[:, None]) > MIDLINE_MM
    per_slice = (body.bone & lateral[:, None, :]).sum(axis=(1, 2)) * body.pixel_area_mm2 / 100
    return float(np.percentile(per_slice, 90))


def _crop_warnings(crop: Crop, body: Body) -> Iterator[QualityWarning]:
    lost = lost_core_fraction(crop, body)
    if lost > LOST_CORE_FRACTION:
        yield QualityWarning(
            code=QualityCode.CROP_LOST_BODY,
            structure=None,
            message="part of the body that can hold the structures lies outside the network's view",
            facts={"lost_fraction": round(lost, 4), "limit": LOST_CORE_FRACTION},
        )


def lost_core_fraction(crop: Crop, body: Body) -> float:
    """Return the share of the body within CORE_RADIUS_MM of its slice's centre that is not seen."""
    occupied = body.mask.sum(axis=(1, 2), dtype=np.float64)
    if not occupied.any():
        return 0.0
    count = np.maximum(occupied, 1)
    middle_x = body.mask.sum(axis=1, dtype=np.float64) @ body.x_mm / count
    middle_y = body.mask.sum(axis=2, dtype=np.float64) @ body.y_mm / count
    near_x = np.abs(body.x_mm[None] - middle_x[:, None]) <= CORE_RADIUS_MM
    near_y = np.abs(body.y_mm[None] - middle_y[:, None]) <= CORE_RADIUS_MM
    core = body.mask & near_y[:, :, None] & near_x[:, None, :]
    seen_x = _is_seen(body.x_mm, crop.columns.crop_mm)
    seen_y = _is_seen(body.y_mm, crop.rows.crop_mm)
    seen = core & seen_y[None, :, None] & seen_x[None, None, :]
    return 1 - float(np.count_nonzero(seen) / max(1, np.count_nonzero(core)))


def _is_seen(positions_mm: CoordinatesMm, crop_mm: CoordinatesMm) -> PositionMask:
    return (positions_mm >= crop_mm[0]) & (positions_mm <= crop_mm[-1])


def _empty(structure: Structure) -> QualityWarning:
    return QualityWarning(
        code=QualityCode.EMPTY_STRUCTURE,
        structure=structure.name,
        message=f"{structure.name} was not found",
    )


def _volume_warnings(structure: Structure, volume_ml: float) -> Iterator[QualityWarning]:
    low, high = structure.plausible_volume_ml
    if not low <= volume_ml <= high:
        yield QualityWarning(
            code=QualityCode.IMPLAUSIBLE_VOLUME,
            structure=structure.name,
            message=f"{structure.name} has {volume_ml:.0f} ml, usual are {low:.0f} to {high:.0f}",
            facts={"volume_ml": round(volume_ml, 1), "low_ml": low, "high_ml": high},
        )


def _component_warnings(structure: Structure, parts: Components) -> Iterator[QualityWarning]:
    """Warn of parts too large to be noise that had to be taken away."""
    large = [volume for volume in parts.dropped_ml if volume >= structure.min_component_ml]
    if large:
        yield QualityWarning(
            code=QualityCode.SEVERAL_COMPONENTS,
            structure=structure.name,
            message=f"{structure.name} fell into several parts; smaller ones were taken away",
            facts={"dropped_parts": len(large), "dropped_ml": round(sum(large), 1)},
        )


def _border_warnings(
    structure: Structure, box: tuple[slice, slice, slice], result: Result
) -> Iterator[QualityWarning]:
    name = structure.name
    slices, _, _ = result.labels.shape
    if box[0].start == 0 or box[0].stop == slices:
        yield QualityWarning(
            code=QualityCode.CUT_AT_LAST_SLICE,
            structure=name,
            message=f"{name} reaches the first or last slice and may continue beyond",
            facts={"end": "inferior" if box[0].start == 0 else "superior"},
        )
    if _touches_field_of_view(structure, box, result):
        yield QualityWarning(
            code=QualityCode.TOUCHES_FIELD_OF_VIEW,
            structure=name,
            message=f"{name} touches the border of the field of view",
        )
    elif _touches_crop(box, result.crop):
        yield QualityWarning(
            code=QualityCode.CROP_LOST_BODY,
            structure=name,
            message=f"{name} touches the border of the network's view and may continue beyond",
        )


def _touches_field_of_view(
    structure: Structure, box: tuple[slice, slice, slice], result: Result
) -> bool:
    """Tell whether a structure touches the image's edge or pixels outside the scanner's circle."""
    limits = result.labels.shape
    if any(box[axis].start == 0 or box[axis].stop == limits[axis] for axis in (1, 2)):
        return True
    around = (
        box[0],
        slice(box[1].start - 1, box[1].stop + 1),
        slice(box[2].start - 1, box[2].stop + 1),
    )
    padding = result.hu[around] < PADDING_BELOW_HU
    if not padding.any():
        return False
    grown = ndimage.binary_dilation(result.labels[around] == structure.number, CROSS_IN_PLANE)
    return bool(np.logical_and(grown, padding).any())


def _touches_crop(box: tuple[slice, slice, slice], crop: Crop) -> bool:
    rows, columns = crop.rows.covered, crop.columns.covered
    return (
        box[1].start <= rows.start
        or box[1].stop >= rows.stop
        or box[2].start <= columns.start
        or box[2].stop >= columns.stop
    )
