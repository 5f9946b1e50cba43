"""Masks of a CT series to a DICOM RT Structure Set."""

import contextlib
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid

from ml.arrays import MaskVolume, PointsMm
from ml.dicom.contours import mask_to_rings
from ml.dicom.rtstruct_shell import (
    Provenance,
    add_region,
    complete_structure_set,
    start_structure_set,
)
from ml.dicom.series import SeriesIndex
from ml.geometry import VolumeGeometry
from ml.structures import Structure

__all__ = ["Provenance", "write_rtstruct"]

DECIMALS = 3
"""Of a millimetre: a micrometre, far below the 0.01 pixel between outline and pixel edge, and
short enough for the 16 bytes of a decimal string."""

_CONTOUR_DATA = 0x30060050


def write_rtstruct(
    series: SeriesIndex,
    masks: Iterable[tuple[Structure, MaskVolume]],
    provenance: Provenance,
    path: Path,
    *,
    new_uid: Callable[[], str] = lambda: generate_uid(prefix=None),
) -> None:
    """Write an unapproved structure set with one region for each mask; path is whole or untouched.

    masks: on the series' own grid, taken one at a time; an empty one becomes a region without
    contours.

    Raises:
        ValueError: a mask of another shape, or names or numbers that are not unique or not
            writable.
    """
    shell = start_structure_set(series)
    images = _image_sequences(series)
    seen: set[object] = set()
    for structure, mask in masks:
        _check_region(structure, mask, series, seen)
        item = add_region(shell, structure)
        contours = list(_contour_items(mask, series.geometry, images))
        if contours:
            item.ContourSequence = Sequence(contours)
    if not seen:
        raise ValueError("a structure set has at least one region")
    complete_structure_set(shell.ds, series, provenance, (new_uid(), new_uid()))
    _save(shell.ds, path)


def _check_region(
    structure: Structure, mask: MaskVolume, series: SeriesIndex, seen: set[object]
) -> None:
    name = structure.name
    if mask.shape != series.geometry.shape:
        raise ValueError(f"mask {mask.shape} on a series of {series.geometry.shape}")
    if not 0 < len(name) <= 64 or "\\" in name or not name.isprintable():
        raise ValueError(f"{name!r} is no region name")
    if structure.number in seen or name in seen:
        raise ValueError(f"region {structure.number}, {name!r} appears twice")
    seen.update((structure.number, name))


def _image_sequences(series: SeriesIndex) -> list[Sequence]:
    """Return a Contour Image Sequence for each slice; its contours share it."""
    sequences: list[Sequence] = []
    for instance in series.instances:
        image = Dataset()
        image.ReferencedSOPClassUID = instance.sop_class_uid
        image.ReferencedSOPInstanceUID = instance.sop_instance_uid
        sequences.append(Sequence([image]))
    return sequences


def _contour_items(
    mask: MaskVolume, geometry: VolumeGeometry, images: list[Sequence]
) -> Iterator[Dataset]:
    """Yield one Contour Sequence item for each polygon, slices ascending."""
    for number in range(len(mask)):
        for ring in mask_to_rings(mask[number]):
            item = Dataset()
            item.ContourImageSequence = images[number]
            item.ContourGeometricType = "CLOSED_PLANAR"
            item.NumberOfContourPoints = len(ring)
            text = _decimal_strings(geometry.pixels_to_mm(number, ring))
            # One ready string: a list of values would cost ten times the time and memory.
            item[_CONTOUR_DATA] = DataElement(_CONTOUR_DATA, "DS", text, already_converted=True)
            yield item


def _decimal_strings(points_mm: PointsMm) -> str:
    """Return x, y, z of every point as decimal strings of at most 10 bytes."""
    values = np.round(points_mm, DECIMALS) + 0.0  # no minus zero
    return "\\".join(["%.9g"] * values.size) % tuple(values.ravel().tolist())


def _save(dataset: FileDataset, path: Path) -> None:
    """Write beside the target, make it last, and move it into place."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream, warnings.catch_warnings():
            # The CT's character set may be misspelt; what is encoded here is ASCII or ready bytes.
            warnings.filterwarnings("ignore", message=".*(Specific Character Set|Unknown encoding)")
            dataset.save_as(stream, enforce_file_format=True)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
