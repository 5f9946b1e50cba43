"""What one case is like: geometry, Hounsfield units, and each structure's size and place."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.arrays import CoordinatesMm, HuVolume, MaskVolume, VectorMm
from ml.config import PreprocessingConfig
from ml.data.dataset import LabelledCase, case_sha256
from ml.geometry import VolumeGeometry
from ml.preprocessing.body import Body
from ml.preprocessing.components import connected_parts
from ml.preprocessing.crop import plan_crop
from ml.structures import StructureSet

PERCENTILES = (0.5, 5.0, 25.0, 50.0, 75.0, 95.0, 99.5)
_TOUCHING = np.ones((3, 3, 3), np.bool_)
"""26 neighbours: parts that meet at a corner are one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StructureFingerprint:
    """One structure of one case."""

    volume_ml: float
    slices: int
    """Slices that show it."""
    absent_share: float
    """Share of the scan's slices that do not."""
    gap_slices: int
    """Slices between its first and last that do not."""
    above_lower_end_mm: float
    """Distance of its lowest slice from the scan's lowest."""
    below_upper_end_mm: float
    touches_edge: bool
    """It reaches the edge of an image, or the first or last slice: it may be cut off."""
    components: int
    """Connected parts, 26-neighbourhood."""
    hu_mean: float
    hu_sd: float
    offset_mm: tuple[float, float, float]
    """Centroid, LPS x and y from the body's centre, z from the mean of the structures."""
    outside_crop: int
    """Voxels whose centres lie outside the network's crop."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseFingerprint:
    """One case."""

    case_id: str
    patient_id: str
    sha256: str
    """Of HU, labels and geometry."""
    hu_sha256: str
    """Of the HU alone."""
    shape: tuple[int, int, int]
    """Slices, rows, columns in LPS order."""
    spacing_mm: tuple[float, float, float]
    extent_mm: tuple[float, float, float]
    body_found: bool
    hu_percentiles: tuple[float, ...]
    """Of the body, at PERCENTILES; of the whole image where no body was found."""
    identical_slices: tuple[int, ...]
    """Slices equal to the one below: copies, or interpolation to a finer grid."""
    structures: dict[str, StructureFingerprint]
    """By name; structures the case does not show are absent."""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "CaseFingerprint":  # Any: json
        """Rebuild from json."""
        structures = {
            name: StructureFingerprint(**{**facts, "offset_mm": tuple(facts["offset_mm"])})
            for name, facts in values["structures"].items()
        }
        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        return cls(**{**values, **lists, "structures": structures})


def measure_case(
    case: LabelledCase, structures: StructureSet, config: PreprocessingConfig
) -> CaseFingerprint:
    """Measure a case; the crop is the one the network would get.

    Raises:
        NotAxialError: the series is not axial.
    """
    crop, body = plan_crop(case.volume, config)
    hu = crop.alignment.to_lps(np.asarray(case.volume.hu))
    labels = crop.alignment.to_lps(np.asarray(case.labels))
    same = (hu[1:] == hu[:-1]).all(axis=(1, 2))
    masks = {s.name: labels == s.number for s in structures.structures}
    boxes = {name: _bounding_box(mask) for name, mask in masks.items() if mask.any()}
    centroids = {name: _centroid(masks[name], box, crop.geometry) for name, box in boxes.items()}
    center = _reference_point(body, centroids)
    covered = np.zeros(labels.shape[1:], np.bool_)
    covered[crop.rows.covered, crop.columns.covered] = True
    found = {
        name: _measure_structure(masks[name], box, hu, crop.geometry)
        | {
            "offset_mm": _rounded(centroids[name] - center),
            "outside_crop": int(np.count_nonzero(masks[name] & ~covered)),
        }
        for name, box in boxes.items()
    }
    return CaseFingerprint(
        case_id=case.case_id,
        patient_id=case.patient_id,
        sha256=case_sha256(case),
        hu_sha256=hashlib.sha256(np.ascontiguousarray(case.volume.hu).data).hexdigest(),
        shape=crop.geometry.shape,
        spacing_mm=_rounded(np.array(crop.geometry.spacing_mm)),
        extent_mm=_rounded(np.array(crop.geometry.extent_mm)),
        body_found=not body.is_empty,
        hu_percentiles=tuple(
            np.percentile(_body_hu(hu, body, crop.geometry), PERCENTILES).tolist()
        ),
        identical_slices=tuple((np.flatnonzero(same) + 1).tolist()),
        structures={name: StructureFingerprint(**facts) for name, facts in found.items()},
    )


Box = tuple[slice, slice, slice]


def _measure_structure(
    mask: MaskVolume, box: Box, hu: HuVolume, geometry: VolumeGeometry
) -> dict[str, Any]:  # Any: fields of several types
    inside: MaskVolume = mask[box]
    values = hu[box][inside]
    shown = inside.any(axis=(1, 2))
    z = geometry.slice_positions_mm[:, 2]
    return {
        "volume_ml": round(values.size * geometry.voxel_volume_ml, 3),
        "slices": int(shown.sum()),
        "absent_share": round(1 - int(shown.sum()) / len(mask), 4),
        "gap_slices": shown.size - int(shown.sum()),
        "above_lower_end_mm": round(float(z[box[0].start] - z[0]), 3),
        "below_upper_end_mm": round(float(z[-1] - z[box[0].stop - 1]), 3),
        "touches_edge": any(
            part.start == 0 or part.stop == size for part, size in zip(box, mask.shape, strict=True)
        ),
        "components": connected_parts(inside, _TOUCHING)[1],
        "hu_mean": round(float(values.mean()), 2),
        "hu_sd": round(float(values.std()), 2),
    }


def _bounding_box(mask: MaskVolume) -> Box:
    def along(axis: int) -> slice:
        others = tuple(other for other in range(3) if other != axis)
        shown = np.flatnonzero(mask.any(axis=others))
        return slice(int(shown[0]), int(shown[-1]) + 1)

    return along(0), along(1), along(2)


def _centroid(mask: MaskVolume, box: Box, geometry: VolumeGeometry) -> VectorMm:
    """Return the mean position of a mask in LPS mm; slices may be unevenly spaced."""
    inside = mask[box]
    by_slice = inside.sum(axis=(1, 2), dtype=np.float64)
    z = by_slice @ geometry.slice_positions_mm[box[0], 2]
    rows = inside.sum(axis=(0, 2), dtype=np.float64) @ np.arange(box[1].start, box[1].stop)
    columns = inside.sum(axis=(0, 1), dtype=np.float64) @ np.arange(box[2].start, box[2].stop)
    between_rows, between_columns = geometry.pixel_spacing_mm
    origin = geometry.slice_positions_mm.mean(axis=0)
    count = by_slice.sum()
    return np.array(
        [origin[0] + columns / count * between_columns, origin[1] + rows / count * between_rows,
         z / count]
    )  # fmt: skip


def _reference_point(body: Body, centroids: dict[str, VectorMm]) -> VectorMm:
    """Return the body's centre; along z, where scans begin anywhere, the structures' mean."""
    z = float(np.mean([centroid[2] for centroid in centroids.values()])) if centroids else 0.0
    return np.array([*body.center_mm(), z])


def _body_hu(hu: HuVolume, body: Body, geometry: VolumeGeometry) -> NDArray[np.int16]:
    """Return the HU of the body on the coarse grid on which it was found."""
    between_rows, between_columns = geometry.pixel_spacing_mm
    row_step = _step(body.y_mm, between_rows)
    column_step = _step(body.x_mm, between_columns)
    coarse = hu[body.slice_indices][:, ::row_step, ::column_step]
    return coarse[body.mask] if not body.is_empty else coarse.ravel()


def _step(coordinates_mm: CoordinatesMm, spacing_mm: float) -> int:
    """Return how many pixels of the image lie between two of the mask."""
    if len(coordinates_mm) < 2:
        return np.iinfo(np.int32).max  # a single pixel: the first
    return round(float(coordinates_mm[1] - coordinates_mm[0]) / spacing_mm)


def _rounded(values: VectorMm) -> tuple[float, float, float]:
    first, second, third = (round(float(value), 4) for value in values)
    return first, second, third
