"""Moves images and labels along a grid of positions."""

import torch
from torch.nn import functional as F

from ml.tensors import AffineBatch, ContextBatch, DisplacementBatch, GridBatch, LabelBatch


def affine_positions(maps: AffineBatch, moves: DisplacementBatch) -> GridBatch:
    """Return the input position of every pixel: its own, displaced, then mapped."""
    rows, columns = moves.shape[2:]
    x = moves[:, 0] + _centers(columns)
    y = moves[:, 1] + _centers(rows)[:, None]
    entries = maps[:, :, :, None, None]
    return torch.stack(
        [entries[:, i, 0] * x + entries[:, i, 1] * y + entries[:, i, 2] for i in (0, 1)], dim=-1
    )


def sample_images(
    hu: ContextBatch, grid: GridBatch, *, mode: str, padding: str, outside_hu: float
) -> ContextBatch:
    """Sample all context slices of an image at the same positions."""
    moved = F.grid_sample(
        hu - outside_hu, grid, mode=mode, padding_mode=padding, align_corners=False
    )
    return moved + outside_hu


def sample_labels(labels: LabelBatch, grid: GridBatch, *, padding: str) -> LabelBatch:
    """Sample labels at the nearest pixel; beyond a border without padding lies background."""
    raster = F.grid_sample(
        labels[:, None].float(), grid, mode="nearest", padding_mode=padding, align_corners=False
    )
    return raster[:, 0].long()


def _centers(size: int) -> torch.Tensor:
    return (torch.arange(size) * 2 + 1) / size - 1
