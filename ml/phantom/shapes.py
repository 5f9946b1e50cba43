"""Signed distances of simple solids in millimetres: negative inside, zero on the surface.

Points are three broadcastable float32 arrays x, y, z; results have their common shape.
Distances of ellipsoids are radial approximations, exact on the surface.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Float32

Distances = Float32[np.ndarray, "slices rows columns"]
FinerDistances = Float32[np.ndarray, "fine_slices fine_rows fine_columns"]
Coordinates = Float32[np.ndarray, "#slices #rows #columns"]
NodeValues = Float[np.ndarray, "_ values"]
Number = int | float
"""Anatomical constants are written as whole numbers; beartype keeps int and float apart."""
Point = tuple[Number, Number, Number]
HalfAxis = Coordinates | np.float32


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Points:
    """Sample points as one array for each coordinate."""

    x: Coordinates
    y: Coordinates
    z: Coordinates


Solid = Callable[[Points], Distances]


def sphere(points: Points, centre: Point, radius: Number) -> Distances:
    """Return the distance to a ball."""
    dx, dy, dz = _offset(points, centre)
    return np.sqrt(dx * dx + dy * dy + dz * dz) - np.float32(radius)


def superellipsoid(
    points: Points, centre: Point, radii: Point, exponent: Number = 2.0
) -> Distances:
    """Return the radial distance to an ellipsoid, boxier with a growing exponent."""
    dx, dy, dz = _offset(points, centre)
    e = np.float32(exponent)
    level = (
        np.abs(dx / np.float32(radii[0])) ** e
        + np.abs(dy / np.float32(radii[1])) ** e
        + np.abs(dz / np.float32(radii[2])) ** e
    ) ** np.float32(1 / exponent)
    length = np.sqrt(dx * dx + dy * dy + dz * dz)
    return _radial(level, length, min(radii))


def superellipse(
    dx: Coordinates, dy: Coordinates, half_x: HalfAxis, half_y: HalfAxis, exponent: Number
) -> Distances:
    """Return the in-plane radial distance to a superellipse whose half axes may vary by slice."""
    e = np.float32(exponent)
    level = (np.abs(dx / half_x) ** e + np.abs(dy / half_y) ** e) ** np.float32(1 / exponent)
    length = np.sqrt(dx * dx + dy * dy)
    return _radial(level, length, float(min(np.min(half_x), np.min(half_y))))


def capsule(
    points: Points, start: Point, end: Point, radius: Number, end_radius: Number | None = None
) -> Distances:
    """Return the distance to a rounded rod whose radius runs evenly from start to end."""
    r0, r1 = radius, radius if end_radius is None else end_radius
    dx, dy, dz = _offset(points, start)
    ax, ay, az = (np.float32(e - s) for s, e in zip(start, end, strict=True))
    length2 = max(float(ax * ax + ay * ay + az * az), 1e-6)
    t = np.clip((dx * ax + dy * ay + dz * az) / np.float32(length2), 0, 1)
    dx, dy, dz = dx - t * ax, dy - t * ay, dz - t * az
    return np.sqrt(dx * dx + dy * dy + dz * dz) - (np.float32(r0) + t * np.float32(r1 - r0))


def tube(
    points: Points, path: Sequence[Point], radii: Sequence[Number], steps: int = 3
) -> Distances:
    """Return the distance to a Catmull-Rom curve through path with a radius at every node.

    Raises:
        ValueError: fewer than two nodes.
    """
    if len(path) < 2:
        raise ValueError("a tube has at least two nodes")
    nodes = catmull_rom(np.column_stack([np.asarray(path, float), radii]), steps)
    result = capsule(points, _point(nodes[0]), _point(nodes[1]), nodes[0, 3], nodes[1, 3])
    for a, b in pairwise(nodes[1:]):
        part = capsule(points, _point(a), _point(b), a[3], b[3])
        np.minimum(result, part, out=result)
    return result


def triangle(points: Points, a: Point, b: Point, c: Point, half_thickness: Number) -> Distances:
    """Return the distance to a rounded triangular plate.

    Reference: unsigned distance of a triangle after I. Quilez, "Distance functions".
    """
    pa, pb, pc = (_offset(points, corner) for corner in (a, b, c))
    va, vb, vc = (np.asarray(corner, float) for corner in (a, b, c))
    edges = ((vb - va, pa), (vc - vb, pb), (va - vc, pc))
    normal = np.cross(vb - va, va - vc)
    inside = sum(np.sign(_dot(p, np.cross(edge, normal))) for edge, p in edges)
    to_edges = np.minimum.reduce([_segment2(edge, p) for edge, p in edges])
    to_plane = _dot(pa, normal) ** 2 / np.float32(normal @ normal)
    return np.sqrt(np.where(inside < 2, to_edges, to_plane)) - np.float32(half_thickness)


def smooth_union(a: Distances, b: Distances, radius: Number) -> Distances:
    """Return the union of two solids with the crease filled over the given radius."""
    k = np.float32(radius)
    h = np.maximum(k - np.abs(a - b), 0) / k
    return np.minimum(a, b) - h * h * k * np.float32(0.25)


def smooth_subtract(a: Distances, b: Distances, radius: Number) -> Distances:
    """Return a without b with the edge rounded over the given radius."""
    return -smooth_union(-a, b, radius)


def catmull_rom(nodes: NodeValues, steps: int) -> NodeValues:
    """Return nodes with steps - 1 further ones between each pair on a Catmull-Rom curve."""
    padded = np.vstack([2 * nodes[0] - nodes[1], nodes, 2 * nodes[-1] - nodes[-2]])
    rows = [nodes[0]]
    for i in range(1, len(padded) - 2):
        p0, p1, p2, p3 = padded[i - 1 : i + 3]
        rows.extend(
            0.5
            * (
                2 * p1
                + (p2 - p0) * t
                + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
                + (3 * p1 - p0 - 3 * p2 + p3) * t**3
            )
            for t in np.arange(1, steps + 1) / steps
        )
    return np.array(rows)


def _radial(level: Distances, length: Distances, smallest_radius: Number) -> Distances:
    # At the very centre both are 0; there the nearest surface is one small radius away.
    safe = np.maximum(level, np.float32(1e-3))
    away = np.maximum(length, np.float32(smallest_radius * 1e-3))
    return np.maximum(away * (1 - 1 / safe), (safe - 1) * np.float32(smallest_radius * 4))


def _offset(points: Points, origin: Point) -> tuple[Coordinates, Coordinates, Coordinates]:
    x, y, z = (np.float32(v) for v in origin)
    return points.x - x, points.y - y, points.z - z


def _dot(p: tuple[Coordinates, Coordinates, Coordinates], v: np.ndarray) -> Distances:
    return p[0] * np.float32(v[0]) + p[1] * np.float32(v[1]) + p[2] * np.float32(v[2])


def _segment2(edge: np.ndarray, p: tuple[Coordinates, Coordinates, Coordinates]) -> Distances:
    t = np.clip(_dot(p, edge) / np.float32(edge @ edge), 0, 1)
    dx, dy, dz = (q - t * np.float32(e) for q, e in zip(p, edge, strict=True))
    return dx * dx + dy * dy + dz * dz


def _point(node: np.ndarray) -> Point:
    return float(node[0]), float(node[1]), float(node[2])
