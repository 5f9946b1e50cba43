"""Between the mask of one slice and closed polygons in pixel coordinates.

Polygons run 0.49 pixel outside the outermost pixel centres. A hole is joined to the outline
around it by a keyhole, a bridge of no width (PS3.3 C.8.8.6.3), so readers that unite the
contours of a slice and readers that take their exclusive or see the same mask.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import contourpy
import numpy as np
from numpy.typing import NDArray

from ml.arrays import Indices, MaskSlice, PixelPoints

if TYPE_CHECKING:
    from contourpy._contourpy import FillReturn_OuterOffset

LEVEL = 0.51
"""Where marching squares cuts between 0 and 1. At 0.5 a reader that rounds vertices to whole
pixels meets ties and gains or loses a ring of pixels; 0.51 costs 0.01 pixel and is exact."""

MAX_RING_POINTS = 1985
"""Contour Data must stay below 65,535 bytes: longer values lose their VR in any explicit VR
copy. A point of three coordinates below 100 m, three decimals and separators takes 33 bytes."""

BLOCK_CROSSINGS = 2**20
"""Crossings of edges and rows that are worked out at once, in some 100 MB: an edge of two points
may cross every row, so all of a hostile file's would take a thousand times its size."""

_STRAIGHT = 1e-9
"""Cross product, or step, that rounding makes of nothing; real ones are 0.01 or more."""
_BRIDGE_POINTS = 3
"""Points that joining a hole adds to its own: the landing twice, its first vertex again."""


def mask_to_rings(mask: MaskSlice) -> list[PixelPoints]:
    """Return polygons that enclose the pixel centres of the mask and no others.

    Every part is kept, single pixels and lines one pixel wide included; the polygon of a part
    that would exceed MAX_RING_POINTS is cut in two.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return []
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
    top, left = rows[0], columns[0]
    box = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    rings: list[PixelPoints] = []
    for points, offsets in _outlines(box):
        group = _straightened(points + np.array([left, top], np.float64), offsets)
        outline, *holes = group
        if len(outline) + sum(len(hole) + _BRIDGE_POINTS for hole in holes) <= MAX_RING_POINTS:
            rings.append(_join_holes(outline, holes))
        else:
            rings += _cut(group, mask.shape)
    return rings


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Edges:
    """The edges of closed rings, and the rows of pixel centres that each crosses."""

    start: PixelPoints
    end: PixelPoints
    first: Indices
    """The first row."""
    counts: Indices
    """How many rows."""


def rings_to_mask(rings: Sequence[PixelPoints], shape: tuple[int, int]) -> MaskSlice:
    """Return the pixels whose centres lie inside the rings by the even-odd rule.

    Exact: every edge crosses a row of pixel centres at one place or not at all; a centre on
    the outline is inside where it enters from the left or from above.
    """
    return fill(find_edges(rings, shape[0]), shape)


def find_edges(rings: Sequence[PixelPoints], rows: int) -> Edges:
    """Return the edges of the rings that enclose something."""
    starts = [np.asarray(ring, np.float64) for ring in rings if len(ring) >= 3]
    start = np.concatenate([np.empty((0, 2)), *starts])
    end = np.concatenate([np.empty((0, 2)), *(np.roll(ring, -1, axis=0) for ring in starts)])
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first = np.clip(np.ceil(low), 0, rows).astype(np.intp)
    counts = np.clip(np.ceil(high), 0, rows).astype(np.intp) - first
    return Edges(start=start, end=end, first=first, counts=counts)


def fill(edges: Edges, shape: tuple[int, int], block: int = BLOCK_CROSSINGS) -> MaskSlice:
    """Return the pixels of rings_to_mask, working out about a block of crossings at once."""
    rows, columns = shape
    until = np.cumsum(edges.counts)
    total = int(until[-1]) if len(until) else 0
    if not total:
        return np.zeros(shape, np.bool_)
    cuts = np.searchsorted(until, np.arange(block, total, block)) + 1
    first, *others = (slice(*ends) for ends in pairwise([0, *cuts.tolist(), len(until)]))
    size = rows * (columns + 1)
    hits = np.bincount(_crossings(edges, first, columns), minlength=size)
    for other in others:
        hits += np.bincount(_crossings(edges, other, columns), minlength=size)
    parity = np.bitwise_and(np.cumsum(hits.reshape(rows, columns + 1), axis=1), 1)
    return parity[:, :columns].astype(np.bool_)


def _crossings(edges: Edges, block: slice, columns: int) -> Indices:
    """Return where the edges cross rows: the index of the next pixel, of a column more a row."""
    counts, start, end = edges.counts[block], edges.start[block], edges.end[block]
    edge = np.repeat(np.arange(len(counts)), counts)
    nth = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
    row = nth + edges.first[block][edge]
    (x0, y0), (x1, y1) = start[edge].T, end[edge].T
    # Multiplied first: a slope would overflow where an edge rises by next to nothing.
    crossing = x0 + (row - y0) * (x1 - x0) / (y1 - y0)
    column = np.clip(np.ceil(crossing), 0, columns).astype(np.intp)
    return row * (columns + 1) + column


def _outlines(box: MaskSlice) -> Iterator[tuple[PixelPoints, Indices]]:
    """Yield for each part the points of its closed outline and holes, and where each starts.

    The box is widened by a pixel all round, so that every outline closes.
    """
    levels = np.zeros((box.shape[0] + 2, box.shape[1] + 2), np.float64)
    levels[1:-1, 1:-1] = box
    x = np.broadcast_to(np.arange(-1.0, box.shape[1] + 1), levels.shape)
    y = np.broadcast_to(np.arange(-1.0, box.shape[0] + 1)[:, np.newaxis], levels.shape)
    # Not contour_generator(): its search for invalid values takes half of the time.
    generator = contourpy.SerialContourGenerator(
        x,
        y,
        levels,
        np.array(False),  # noqa: FBT003  # no cell is masked
        corner_mask=False,
        line_type=contourpy.LineType.Separate,
        fill_type=contourpy.FillType.OuterOffset,
        quad_as_tri=False,
        z_interp=contourpy.ZInterp.Linear,
    )
    points, offsets = cast("FillReturn_OuterOffset", generator.filled(LEVEL, np.inf))
    for part, starts in zip(points, offsets, strict=True):
        yield part, starts.astype(np.intp)


def _straightened(points: PixelPoints, offsets: Indices) -> list[PixelPoints]:
    """Return the rings, open, without the vertices in the middle of straight runs."""
    before, after = np.arange(-1, len(points) - 1), np.arange(1, len(points) + 1)
    before[offsets[:-1]] = offsets[1:] - 2  # the last point of a closed ring is its first
    after[-1] = 0
    behind, ahead = points - points[before], points[after] - points
    turns = np.abs(behind[:, 0] * ahead[:, 1] - behind[:, 1] * ahead[:, 0]) > _STRAIGHT
    turns[offsets[1:] - 1] = False
    return [points[start:end][turns[start:end]] for start, end in pairwise(offsets.tolist())]


def _join_holes(outline: PixelPoints, holes: Sequence[PixelPoints]) -> PixelPoints:
    """Return one ring that walks from the outline along a bridge round each hole and back.

    Bridges run left from a hole's leftmost vertex to the ring so far. Holes come in order of
    that vertex, so what lies to the left of a hole is already part of the ring.
    """
    if not holes:
        return outline
    closed = np.concatenate([outline, outline[:1]])
    for hole in sorted(holes, key=lambda points: float(points[:, 0].min())):
        leftmost = int(np.argmin(hole[:, 0]))
        edge, landing = _look_left(closed, hole[leftmost])
        closed = np.concatenate(
            [
                closed[: edge + 1],
                landing,
                hole[leftmost:],
                hole[: leftmost + 1],
                landing,
                closed[edge + 1 :],
            ]
        )
    moves = np.abs(np.diff(closed, axis=0)).max(axis=1) > _STRAIGHT
    return closed[1:][moves]  # a bridge that lands on a vertex repeats it


def _look_left(closed: PixelPoints, point: NDArray[np.float64]) -> tuple[int, PixelPoints]:
    """Return the closed ring's edge that is first met to the left of a point, and where."""
    x, y = point
    heights = closed[:, 1]
    edges = np.flatnonzero(
        (np.minimum(heights[:-1], heights[1:]) <= y) & (y <= np.maximum(heights[:-1], heights[1:]))
    )
    (x0, y0), (x1, y1) = closed[edges].T, closed[edges + 1].T
    rise = y1 - y0
    is_level = rise == 0
    share = np.where(is_level, 0.0, (y - y0) / np.where(is_level, 1.0, rise))
    right_end, left_end = np.maximum(x0, x1), np.minimum(x0, x1)
    level_end = np.where(right_end <= x, right_end, left_end)
    met = np.where(is_level, level_end, x0 + share * (x1 - x0))
    nearest = int(np.argmax(np.where(met <= x, met, -np.inf)))
    return int(edges[nearest]), np.array([[met[nearest], y]])


def _cut(group: Sequence[PixelPoints], shape: tuple[int, int]) -> list[PixelPoints]:
    """Return the rings of the two halves of one part, cut across its longer side.

    The halves leave a seam of 0.02 pixel in which no pixel centre lies: the mask stays exact.
    """
    part = rings_to_mask(group, shape)
    rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    first, second = part.copy(), part.copy()
    if np.ptp(rows) > np.ptp(columns):
        middle = (rows[0] + rows[-1] + 1) // 2
        first[middle:], second[:middle] = False, False
    else:
        middle = (columns[0] + columns[-1] + 1) // 2
        first[:, middle:], second[:, :middle] = False, False
    return mask_to_rings(first) + mask_to_rings(second)
