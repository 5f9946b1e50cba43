"""Between the mask of one slice and closed polygons in pixel coordinates.

Polygons run 0.49 pixel outside the outermost pixel centres. A hole is joined to the outline
around it by a keyhole, a bridge of no width (PS3.3 C.8.8.6.3), so readers that unite the
contours of a slice and readers that take their exclusive or see the same mask.
"""

from collections.abc import Sequence

import contourpy
import numpy as np
from numpy.typing import NDArray

from ml.arrays import MaskSlice, PixelPoints

LEVEL = 0.51
"""Where marching squares cuts between 0 and 1. At 0.5 a reader that rounds vertices to whole
pixels meets ties and gains or loses a ring of pixels; 0.51 costs 0.01 pixel and is exact."""

MAX_RING_POINTS = 1985
"""Contour Data must stay below 65,535 bytes: longer values lose their VR in any explicit VR
copy. A point of three coordinates below 100 m, three decimals and separators takes 33 bytes."""

_BRIDGE_POINTS = 3
"""Points that joining a hole adds to its own: the landing twice, its first vertex again."""


def mask_to_rings(mask: MaskSlice) -> list[PixelPoints]:
    """Return polygons that enclose the pixel centres of the mask and no others.

    Every part is kept, single pixels and lines one pixel wide included; the polygon of a part
    that would exceed MAX_RING_POINTS is cut between two rows.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return []
    columns = np.flatnonzero(mask.any(axis=0))
    top, left = rows[0], columns[0]
    box = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    padded = np.zeros((box.shape[0] + 2, box.shape[1] + 2), np.float64)
    padded[1:-1, 1:-1] = box
    generator = contourpy.contour_generator(z=padded, fill_type=contourpy.FillType.OuterOffset)
    groups = zip(*generator.filled(LEVEL, np.inf), strict=True)
    shift = np.array([left - 1.0, top - 1.0])
    rings: list[PixelPoints] = []
    for points, offsets in groups:
        closed = np.split(points + shift, offsets[1:-1])
        outline, *holes = (_without_collinear(ring[:-1]) for ring in closed)
        if len(outline) + sum(len(hole) + _BRIDGE_POINTS for hole in holes) <= MAX_RING_POINTS:
            rings.append(_join_holes(outline, holes))
        else:
            rings += _cut([outline, *holes], mask.shape)
    return rings


def rings_to_mask(rings: Sequence[PixelPoints], shape: tuple[int, int]) -> MaskSlice:
    """Return the pixels whose centres lie inside the rings by the even-odd rule.

    Exact: every edge crosses a row of pixel centres at one place or not at all; a centre on
    the outline is inside where it enters from the left or from above.
    """
    rows, columns = shape
    starts = [np.asarray(ring, np.float64) for ring in rings if len(ring) >= 3]
    if not starts:
        return np.zeros(shape, np.bool_)
    start = np.concatenate(starts)
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in starts])
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first = np.clip(np.ceil(low), 0, rows).astype(np.intp)
    counts = np.clip(np.ceil(high), 0, rows).astype(np.intp) - first
    edge = np.repeat(np.arange(len(start)), counts)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    (x0, y0), (x1, y1) = start[edge].T, end[edge].T
    crossing = x0 + (row - y0) * ((x1 - x0) / (y1 - y0))
    column = np.clip(np.ceil(crossing), 0, columns).astype(np.intp)
    hits = np.bincount(row * (columns + 1) + column, minlength=rows * (columns + 1))
    parity = np.bitwise_and(np.cumsum(hits.reshape(rows, columns + 1), axis=1), 1)
    return parity[:, :columns].astype(np.bool_)


def _without_collinear(ring: PixelPoints) -> PixelPoints:
    """Drop vertices in the middle of straight runs; grid steps make the test exact enough."""
    before, after = np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0)
    ahead, behind = after - ring, ring - before
    cross = behind[:, 0] * ahead[:, 1] - behind[:, 1] * ahead[:, 0]
    return ring[np.abs(cross) > 1e-9]


def _join_holes(outline: PixelPoints, holes: Sequence[PixelPoints]) -> PixelPoints:
    """Return one ring that walks from the outline along a bridge round each hole and back.

    Bridges run left from a hole's leftmost vertex to the ring so far. Holes come in order of
    that vertex, so what lies to the left of a hole is already part of the ring.
    """
    ring = outline
    for hole in sorted(holes, key=lambda points: float(points[:, 0].min())):
        leftmost = int(np.argmin(hole[:, 0]))
        edge, landing = _look_left(ring, hole[leftmost])
        around = np.roll(hole, -leftmost, axis=0)
        ring = np.concatenate(
            [ring[: edge + 1], [landing], around, around[:1], [landing], ring[edge + 1 :]]
        )
        moved = np.abs(ring - np.roll(ring, 1, axis=0)).max(axis=1) > 1e-9
        ring = ring[moved]  # a bridge that lands on a vertex repeats it
    return ring


def _look_left(ring: PixelPoints, point: NDArray[np.float64]) -> tuple[int, NDArray[np.float64]]:
    """Return the ring's edge that is first met to the left of a point, and where it is met."""
    x, y = point
    following = np.roll(ring, -1, axis=0)
    low, high = np.minimum(ring[:, 1], following[:, 1]), np.maximum(ring[:, 1], following[:, 1])
    edges = np.flatnonzero((low <= y) & (y <= high))
    start, end = ring[edges], following[edges]
    rise = end[:, 1] - start[:, 1]
    is_level = rise == 0
    share = np.where(is_level, 0.0, (y - start[:, 1]) / np.where(is_level, 1.0, rise))
    met = start[:, 0] + share * (end[:, 0] - start[:, 0])
    right_end = np.maximum(start[:, 0], end[:, 0])
    left_end = np.minimum(start[:, 0], end[:, 0])
    met = np.where(is_level, np.where(right_end <= x, right_end, left_end), met)
    nearest = int(np.argmax(np.where(met <= x, met, -np.inf)))
    return int(edges[nearest]), np.array([met[nearest], y])


def _cut(group: Sequence[PixelPoints], shape: tuple[int, int]) -> list[PixelPoints]:
    """Return the rings of the upper and the lower half of one part.

    The halves leave a seam of 0.02 pixel in which no pixel centre lies: the mask stays exact.
    """
    part = rings_to_mask(group, shape)
    rows = np.flatnonzero(part.any(axis=1))
    middle = (rows[0] + rows[-1] + 1) // 2
    upper, lower = part.copy(), part.copy()
    upper[middle:] = False
    lower[:middle] = False
    return mask_to_rings(upper) + mask_to_rings(lower)
