"""NIfTI files to arrays in LPS order, without resampling.

A NIfTI affine takes voxel indices (i, j, k) to right-anterior-superior millimetres; here columns
run to the patient's left, rows posterior and slices superior.
Reference: nifti1.h, methods 2 and 3; https://nifti.nimh.nih.gov
"""

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Image
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from ml.arrays import HuVolume, LabelVolume
from ml.data.importing.faults import raise_if_passing
from ml.data.importing.refusals import CaseRefusedError, ImportRefusal
from ml.dicom.stack_rules import MAX_VOXELS
from ml.geometry import DIRECTION_TOLERANCE, LEFT, POSTERIOR, VolumeGeometry

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
SAME_GRID_SHARE = 0.1
"""Of the smallest voxel edge: grids whose corners differ by more are not the same."""
AFFINES_AGREE_MM = 0.1
"""Between sform and qform, whose quaternion is rounded to single precision."""
_CHUNK_BYTES = 1 << 20
_MILLIMETRES = (0, 2)
"""xyzt_units: unknown, which is millimetres everywhere, and millimetres."""
_READ_ERRORS = (
    ImageFileError, HeaderDataError, EOFError, OSError, ValueError, OverflowError, zlib.error,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NiftiArray:
    """The stored values of a file in LPS order."""

    stored: NDArray[np.generic]
    """Slices, rows, columns; before slope and intercept."""
    slope: float
    intercept: float
    geometry: VolumeGeometry


def read_nifti(path: Path) -> NiftiArray:
    """Read a file and turn it to LPS order.

    Raises:
        CaseRefusedError: NIFTI_INVALID, or AFFINE_UNSUPPORTED for axes that are not the
            patient's.
        OSError: the disk or the machine below fails.
    """
    try:
        _check_gzip(path)
        image = nibabel.load(path)
        proxy = image.dataobj if isinstance(image, Nifti1Image) else None
        if not isinstance(image, Nifti1Image) or not isinstance(proxy, ArrayProxy):
            raise _invalid(path, "it is no NIfTI")
        voxels = math.prod(image.shape)
        if voxels > MAX_VOXELS:  # before memory is asked for: a damaged header can say anything
            raise _invalid(path, f"{voxels} voxels are more than {MAX_VOXELS}")
        stored = np.asarray(proxy.get_unscaled())
        slope, intercept = float(proxy.slope), float(proxy.inter)
    except _READ_ERRORS as error:
        raise_if_passing(error)
        raise _invalid(path, f"{type(error).__name__}: {error}") from error
    stored = (
        stored.reshape(stored.shape[:3]) if stored.size == np.prod(stored.shape[:3]) else stored
    )
    if stored.ndim != 3 or stored.size == 0 or stored.dtype.kind not in "iuf":
        raise _invalid(path, f"an array of {stored.shape} of {stored.dtype} is no volume")
    affine = RAS_TO_LPS @ _checked_affine(image, path)
    return _turned(stored, affine, slope, intercept)


def to_hu(array: NiftiArray, path: Path) -> HuVolume:
    """Return Hounsfield units, one slice at a time so that no float volume is held.

    Raises:
        CaseRefusedError: NIFTI_INVALID, values that are no numbers or do not fit 16 bits.
    """
    hu = np.empty(array.geometry.shape, np.int16)
    limits = np.iinfo(np.int16)
    for number, one_slice in enumerate(array.stored):
        values = np.rint(one_slice.astype(np.float64) * array.slope + array.intercept)
        if not (values.min() >= limits.min and values.max() <= limits.max):  # also NaN
            raise _invalid(path, "values are no Hounsfield units of 16 bits")
        hu[number] = values
    return hu


def to_label_values(array: NiftiArray, path: Path) -> LabelVolume:
    """Return whole numbers from 0 to 255.

    Raises:
        CaseRefusedError: NIFTI_INVALID, for any other value.
    """
    values = array.stored.astype(np.float32) * array.slope + array.intercept
    labels = np.where(np.isfinite(values), values, -1)
    if labels.min() < 0 or labels.max() > 255 or (labels != np.rint(labels)).any():
        raise _invalid(path, "labels must be whole numbers from 0 to 255")
    return labels.astype(np.uint8)


def check_same_grid(image: VolumeGeometry, labels: VolumeGeometry, name: str) -> None:
    """Refuse labels that do not lie on their image's voxels.

    Raises:
        CaseRefusedError: GEOMETRY_MISMATCH.
    """
    if image.shape != labels.shape:
        facts = {"file": name, "image_shape": image.shape, "labels_shape": labels.shape}
        raise CaseRefusedError(
            ImportRefusal.GEOMETRY_MISMATCH, "image and labels differ in size", facts
        )
    distance = max(
        float(np.linalg.norm(a - b)) for a, b in zip(_corners(image), _corners(labels), strict=True)
    )
    if distance > SAME_GRID_SHARE * min(image.spacing_mm):
        raise CaseRefusedError(
            ImportRefusal.GEOMETRY_MISMATCH,
            f"image and labels lie up to {distance:.2f} mm apart",
            {"file": name, "distance_mm": round(distance, 3)},
        )


def _check_gzip(path: Path) -> None:
    """Read a compressed file to its checksum, which nibabel never reaches.

    Raises:
        OSError, EOFError, zlib.error: the file is damaged.
    """
    if path.suffix.lower() == ".gz":
        with gzip.open(path) as stream:
            while stream.read(_CHUNK_BYTES):
                pass


def _turned(
    stored: NDArray[np.generic], affine: NDArray[np.float64], slope: float, intercept: float
) -> NiftiArray:
    """Permute and flip the axes so that they run to the left, back and up."""
    directions = affine[:3, :3]
    axes = [int(np.argmax(np.abs(directions[axis]))) for axis in range(3)]  # voxel axis of x, y, z
    turned = stored.transpose(axes[2], axes[1], axes[0])
    origin, steps = affine[:3, 3].copy(), np.empty(3)
    for axis, voxel_axis in enumerate(axes):
        step = directions[axis, voxel_axis]
        if step < 0:
            origin[axis] += step * (stored.shape[voxel_axis] - 1)
            turned = np.flip(turned, 2 - axis)
        steps[axis] = abs(step)
    slices, rows, columns = turned.shape
    positions = np.tile(origin, (slices, 1))
    positions[:, 2] += np.arange(slices) * steps[2]
    geometry = VolumeGeometry(
        rows=rows,
        columns=columns,
        pixel_spacing_mm=(float(steps[1]), float(steps[0])),
        row_direction=LEFT,
        column_direction=POSTERIOR,
        slice_positions_mm=positions,
    )
    return NiftiArray(stored=turned, slope=slope, intercept=intercept, geometry=geometry)


def _checked_affine(image: Nifti1Image, path: Path) -> NDArray[np.float64]:
    """Return the affine to RAS, after all that could make it misleading was looked at."""
    sform, sform_code = image.get_sform(coded=True)
    qform, qform_code = image.get_qform(coded=True)
    if not sform_code and not qform_code:
        raise _unsupported(path, "the file does not say how the patient lies")
    if sform_code and qform_code:
        size = np.array([*image.shape[:3], 1.0])
        if np.abs((sform - qform) * size).sum(axis=1).max() > AFFINES_AGREE_MM:
            raise _unsupported(path, "sform and qform disagree")
    if int(image.header["xyzt_units"]) & 7 not in _MILLIMETRES:
        raise _unsupported(path, "lengths are not in millimetres")
    affine = np.asarray(sform if sform_code else qform, np.float64)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or not (lengths > 0).all():
        raise _unsupported(path, "the affine has no inverse")
    unit = affine[:3, :3] / lengths
    cosines = np.abs(unit.T @ unit - np.eye(3))
    if cosines.max() > DIRECTION_TOLERANCE:
        raise _unsupported(path, "the affine is sheared")
    if np.abs(np.sort(np.abs(unit), axis=0) - [[0], [0], [1]]).max() > DIRECTION_TOLERANCE:
        raise _unsupported(path, "the image is oblique to the patient's axes")
    return affine


def _corners(geometry: VolumeGeometry) -> list[NDArray[np.float64]]:
    slices, rows, columns = geometry.shape
    return [
        geometry.index_to_mm(np.array([[s, r, c]], np.float64))[0]
        for s in (0, slices - 1)
        for r in (0, rows - 1)
        for c in (0, columns - 1)
    ]


def _invalid(path: Path, reason: str) -> CaseRefusedError:
    return CaseRefusedError(
        ImportRefusal.NIFTI_INVALID, f"{path.name}: {reason}", {"file": path.name}
    )


def _unsupported(path: Path, reason: str) -> CaseRefusedError:
    return CaseRefusedError(
        ImportRefusal.AFFINE_UNSUPPORTED, f"{path.name}: {reason}", {"reason": reason}
    )
