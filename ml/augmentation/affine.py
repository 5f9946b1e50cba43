"""Flip, rotation, scale, shift and the three-point affine map, one matrix per image."""

from dataclasses import dataclass

import torch

from ml.tensors import AffineBatch, PointMoves

THREE_POINTS = ((2 / 3, 2 / 3), (2 / 3, -2 / 3), (-2 / 3, -2 / 3))
"""(x, y) a third of the edge beside the centre, on three of the four diagonals."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AffineRanges:
    """How far images may be moved; every draw is uniform within these limits."""

    flip_probability: float = 0.5
    """Left and right change places; the four structures are unpaired, so no label changes. Never
    up and down: patients lie on their backs."""
    probability: float = 0.7
    """Share of images that are turned, scaled and shifted at all."""
    rotation_degrees: float = 12.0
    scale: float = 0.12
    """Relative; drawn for rows and columns separately about a common factor."""
    aspect: float = 0.05
    shift: float = 0.1
    """In halves of the image's edge, so .1 of 250 mm is 12.5 mm."""
    point_shift: float = 0.0
    """Of the three-point map, in edges of the image: adds shear to what the others draw."""


def sample_affine(count: int, ranges: AffineRanges, generator: torch.Generator) -> AffineBatch:
    """Draw one map per image."""
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
    maps = torch.stack([across, down], dim=1)
    if ranges.point_shift:
        # edges to halves of edges
        moves = _uniform(count * 6, 2 * ranges.point_shift, generator).reshape(count, 3, 2)
        maps = compose(maps, three_point_affine(moves))
    return maps


def three_point_affine(moves: PointMoves) -> AffineBatch:
    """Return the map that takes each of THREE_POINTS to itself plus its move.

    The affine part of a recipe that is widely copied under the name of Simard et al., Best
    Practices for Convolutional Neural Networks Applied to Visual Document Analysis, 2003.
    """
    points = torch.tensor([(*point, 1.0) for point in THREE_POINTS], dtype=torch.float64)
    inverse = torch.linalg.inv(points).to(moves.dtype)
    # the identity and what the moves add to it: without moves nothing is rounded
    return torch.eye(2, 3, dtype=moves.dtype) + (inverse @ moves).transpose(1, 2)


def compose(outer: AffineBatch, inner: AffineBatch) -> AffineBatch:
    """Return the map that applies `inner` first."""
    joined = outer[:, :, :2] @ inner
    joined[:, :, 2] += outer[:, :, 2]
    return joined


def _uniform(count: int, limit: float, generator: torch.Generator) -> torch.Tensor:
    return (torch.rand(count, generator=generator) * 2 - 1) * limit
