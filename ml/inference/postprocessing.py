"""What is known of a structure beyond the network: how many parts it has, and that it is solid."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ml.arrays import LabelVolume, MaskSlice, MaskVolume
from ml.config import PostprocessingConfig
from ml.inference.gap_filling import fill_gaps
from ml.preprocessing.components import connected_parts, part_sizes
from ml.structures import Structure, StructureSet

NEIGHBOURS_26 = np.ones((3, 3, 3), bool)


@dataclass(frozen=True, kw_only=True, slots=True)
class Components:
    """Connected parts of a structure in the network's answer."""

    kept_ml: tuple[float, ...]
    """Volumes of the parts that stay, largest first."""
    dropped_ml: tuple[float, ...]
    """Volumes of the parts that were taken away, largest first."""


def postprocess(
    labels: LabelVolume,
    structures: StructureSet,
    spacing_mm: tuple[float, float, float],
    config: PostprocessingConfig | None = None,
) -> dict[str, Components]:
    """Clean labels in place and tell which parts every structure had.

    Short gaps along the normal are filled first, so that they do not part a structure. Parts beyond
    Structure.max_components or below min_component_ml go to background, if the configuration says
    so; holes within a slice up to max_hole_mm2 are filled where they are background. Labels stay
    disjoint.

    Args:
        labels: labels of slices in their order along the normal.
        structures: what the labels mean.
        spacing_mm: slice, row and column spacing.
        config: gaps and parts; None stands for its defaults.
    """
    config = config or PostprocessingConfig()
    for structure in structures.structures:
        fill_gaps(labels, structure.number, config.fill_gap_slices, spacing_mm[1:])
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    boxes = ndimage.find_objects(labels, max_label=len(structures.structures))
    components: dict[str, Components] = {}
    for structure in structures.structures:
        box = boxes[structure.number - 1]
        if box is None:
            components[structure.name] = Components(kept_ml=(), dropped_ml=())
            continue
        part = labels[box]
        components[structure.name] = _find_parts(part, structure, voxel_ml, drop=config.drop_parts)
        _fill_holes(part, structure, spacing_mm[1] * spacing_mm[2])
    return components


def _find_parts(
    part: LabelVolume, structure: Structure, voxel_ml: float, *, drop: bool
) -> Components:
    """Measure the parts; on request set those that do not belong to background."""
    numbered, count = connected_parts(part == structure.number, NEIGHBOURS_26)
    sizes = part_sizes(numbered, count)[1:]
    order = np.argsort(-sizes, kind="stable")
    volumes = [float(sizes[i]) * voxel_ml for i in order]
    kept = [
        rank
        for rank, volume in enumerate(volumes)
        if rank == 0
        or not drop
        or (rank < structure.max_components and volume >= structure.min_component_ml)
    ]
    dropped = [rank for rank in range(count) if rank not in kept]
    if dropped:
        is_dropped = np.zeros(count + 1, bool)
        is_dropped[order[dropped] + 1] = True
        part[is_dropped[numbered]] = 0
    return Components(
        kept_ml=tuple(volumes[rank] for rank in kept),
        dropped_ml=tuple(volumes[rank] for rank in dropped),
    )


def _fill_holes(part: LabelVolume, structure: Structure, pixel_mm2: float) -> None:
    mask: MaskVolume = part == structure.number
    limit = structure.max_hole_mm2 / pixel_mm2
    for label_slice, mask_slice in zip(part, mask, strict=True):
        if mask_slice.any():
            label_slice[_small_holes(mask_slice, limit) & (label_slice == 0)] = structure.number


def _small_holes(mask: MaskSlice, max_pixels: float) -> MaskSlice:
    outside, count = connected_parts(np.pad(~mask, 1, constant_values=True))
    if count == 1:
        return np.zeros_like(mask)
    is_hole = part_sizes(outside, count) <= max_pixels
    is_hole[[0, outside[0, 0]]] = False
    return is_hole[outside][1:-1, 1:-1]
