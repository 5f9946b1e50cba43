"""Flip, rotation, scale and shift in one sampling."""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from ml.tensors import AffineBatch, FeatureMaps, LabelBatch


@dataclass(frozen=True, kw_only=True, slots=True)
class AffineRanges:
    """How far images may be moved; every draw is uniform within these limits."""

    flip_probability: float = 0.5
    """Left and right change places; the four structures are unpaired, so no label changes."""
    probability: float = 0.7
    """Share of images that are turned, scaled and shifted at all."""
    rotation_degrees: float = 12.0
    scale: float = 0.12
    """Relative; drawn for rows and columns separately about a common factor."""
    aspect: float = 0.05
    shift: float = 0.1
    """In halves of the image's edge, so .1 of 250 mm is 12.5 mm."""


def sample_affine(count: int, ranges: AffineRanges, generator: torch.Generator) -> AffineBatch:
    """Draw one map per image, from output to input positions in [-1, 1]."""
    moved = (_uniform(count, 1.0, generator) * 0.5 + 0.5) < ranges.probability
    angle = torch.deg2rad(_uniform(count, ranges.rotation_degrees, generator)) * moved
    scale = 1 + _uniform(count, ranges.scale, generator) * moved
    aspect = 1 + _uniform(count, ranges.aspect, generator) * moved
    shift_x = _uniform(count, ranges.shift, generator) * moved
    shift_y = _uniform(count, ranges.shift, generator) * moved
    flipped = (_uniform(count, 1.0, generator) * 0.5 + 0.5) < ranges.flip_probability
    mirror = torch.where(flipped, -1.0, 1.0)
    cos, sin = torch.cos(angle), torch.sin(angle)
    across = torch.stack([mirror * scale * aspect * cos, -mirror * scale * sin, shift_x], dim=1)
    down = torch.stack([scale * sin, scale / aspect * cos, shift_y], dim=1)
    return torch.stack([across, down], dim=1)


def apply_affine(
    images: FeatureMaps, labels: LabelBatch, maps: AffineBatch
) -> tuple[FeatureMaps, LabelBatch]:
    """Move images (bilinear, 0 beyond the border) and labels (nearest) by the same map."""
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, mode="bilinear", align_corners=False)
    raster = F.grid_sample(labels[:, None].float(), grid, mode="nearest", align_corners=False)
    return moved, raster[:, 0].long()


def _uniform(count: int, limit: float, generator: torch.Generator) -> torch.Tensor:
    return (torch.rand(count, generator=generator) * 2 - 1) * limit
