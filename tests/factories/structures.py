"""Masks that break naive writers and readers of contours, and structures to carry them."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ml.dicom.rtstruct import Provenance, write_rtstruct
from ml.dicom.series import SeriesIndex
from ml.geometry import VolumeGeometry
from ml.structures import CERVIX, Structure

PROVENANCE = Provenance(
    software_version="0.1.0",
    model_version="demo-1",
    weights_sha256="0123456789abcdef" * 4,
    created_at=datetime(2026, 3, 4, 5, 6, 7, 890000, UTC),
)


def make_structure(number: int, name: str) -> Structure:
    return replace(CERVIX.structures[0], name=name, number=number, color_rgb=(255, number, 0))


def hard_masks(geometry: VolumeGeometry) -> dict[str, np.ndarray]:
    """At least 40 rows and columns and 5 slices are needed."""
    slices, rows, columns = geometry.shape
    z, y, x = np.ogrid[:slices, :rows, :columns]
    middle = slices // 2
    masks = {
        name: np.zeros(geometry.shape, np.bool_)
        for name in ("thin line", "single voxel", "border", "gaps", "diagonal", "small hole")
    }
    ball = (x - columns * 0.6) ** 2 + (y - rows * 0.35) ** 2 + (4 * (z - middle)) ** 2
    masks["sphere"] = ball <= (rows * 0.2) ** 2
    around = (x - 15) ** 2 + (y - rows * 0.6) ** 2 + 0 * z
    masks["tube"] = (around <= 11**2) & (around > 6**2)
    masks["two parts"] = (around <= 5**2) | ((x - 30) ** 2 + (y - 8) ** 2 + 0 * z <= 4**2)
    masks["nested"] = masks["tube"] | (around <= 3**2)
    masks["thin line"][1:4, rows // 2, 5:30] = True
    masks["thin line"][1:4, 5:20, columns // 2] = True
    masks["thin line"][middle, np.arange(2, 14), np.arange(20, 32)] = True
    masks["single voxel"][middle, rows // 2 + 3, 7] = True
    masks["border"][:, :4, :9] = True
    masks["border"][:, -3:, -8:] = True
    masks["border"][:, 12:20, 0] = True
    masks["gaps"][[0, -1], 10:14, 10:19] = True
    masks["diagonal"][middle, 5:10, 5:10] = masks["diagonal"][middle, 10:15, 10:15] = True
    masks["small hole"][middle, 6:21, 6:21] = True
    masks["small hole"][middle, 10, 10] = False
    masks["small hole"][middle, 14:16, 14:17] = False
    masks["small hole"][middle, [10, 11], [16, 17]] = False
    return {name: np.broadcast_to(m, geometry.shape).copy() for name, m in sorted(masks.items())}


def box_masks(geometry: VolumeGeometry) -> dict[str, np.ndarray]:
    """Two boxes that fit into any image of 16 by 16 pixels."""
    boxes = {"left": np.s_[1:4, 3:9, 2:7], "right": np.s_[0:3, 5:14, 8:15]}
    masks = {name: np.zeros(geometry.shape, np.bool_) for name in boxes}
    for name, box in boxes.items():
        masks[name][box] = True
    return masks


def write_masks(
    path: Path, series: SeriesIndex, masks: dict[str, np.ndarray]
) -> Iterator[Structure]:
    """Write the masks as regions numbered from 1; return the structures."""
    structures = [make_structure(number, name) for number, name in enumerate(masks, start=1)]
    write_rtstruct(series, zip(structures, masks.values(), strict=True), PROVENANCE, path)
    return iter(structures)
