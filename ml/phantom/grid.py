"""Where a phantom is sampled: anatomical coordinates on a coarse lattice, and solids in boxes.

The anatomical frame has its origin midway between the femoral heads, x to the left, y posterior,
z superior, and is scaled so that the heads are 180 mm apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml.phantom.shapes import Distances, Number, Point, Points, Solid, smooth_union

OUTSIDE = np.float32(999.0)
"""Distance given to samples a solid was never evaluated at."""

BOX_MARGIN_MM = 16.0
"""Samples around a solid's nominal box: covers the elastic warp and the roll."""

WARP_KNOT_MM = 45.0
"""Distance of the control points of the elastic warp."""

KNOT_SHARE = 0.7
"""Standard deviation of the Gaussian about every knot, of the knots' distance."""

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """How the anatomical frame lies in the scanner."""

    scale: Point
    """Millimetres per anatomical millimetre along x, y, z."""
    shift_mm: Point
    roll_degrees: float
    warp_sd_mm: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Field:
    """Signed distances of a solid inside a box of the lattice."""

    box: Box
    distances: Distances


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Grid:
    """The lattice in scanner millimetres and the anatomical coordinates of its points."""

    axes_mm: tuple[np.ndarray, np.ndarray, np.ndarray]
    """Scanner x, y, z of columns, rows and (sub-)slices."""
    placement: Placement
    points: Points

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns."""
        x, y, z = self.axes_mm
        return len(z), len(y), len(x)

    @property
    def whole(self) -> Box:
        """The box of all points."""
        slices, rows, columns = self.shape
        return slice(0, slices), slice(0, rows), slice(0, columns)

    def box(self, low: Point, high: Point) -> Box:
        """Return the part of the lattice that holds an anatomical box and its margin."""
        corners = np.array(
            [
                (x, y, z)
                for x in (low[0], high[0])
                for y in (low[1], high[1])
                for z in (low[2], high[2])
            ]
        )
        scanner = to_scanner(self.placement, corners)
        slices = []
        for axis, values in zip(self.axes_mm, scanner.T, strict=True):
            start = int(np.searchsorted(axis, values.min() - BOX_MARGIN_MM))
            stop = int(np.searchsorted(axis, values.max() + BOX_MARGIN_MM))
            slices.append(slice(start, max(stop, start)))
        return slices[2], slices[1], slices[0]

    def at(self, box: Box) -> Points:
        """Return the anatomical coordinates inside a box."""
        return Points(x=self.points.x[box], y=self.points.y[box], z=self.points.z[box])

    def evaluate(self, low: Point, high: Point, solid: Solid) -> Field:
        """Return a solid's distances inside an anatomical box."""
        box = self.box(low, high)
        return Field(box=box, distances=solid(self.at(box)))


def make_grid(
    axes_mm: tuple[np.ndarray, np.ndarray, np.ndarray],
    placement: Placement,
    rng: np.random.Generator,
) -> Grid:
    """Return the lattice with its elastically warped anatomical coordinates."""
    x, y, z = axes_mm
    roll = np.radians(placement.roll_degrees)
    u = (x - placement.shift_mm[0])[None, None, :]
    v = (y - placement.shift_mm[1])[None, :, None]
    w = (z - placement.shift_mm[2])[:, None, None]
    straight = (
        (np.cos(roll) * u + np.sin(roll) * v) / placement.scale[0],
        (-np.sin(roll) * u + np.cos(roll) * v) / placement.scale[1],
        w / placement.scale[2],
    )
    warped = [
        (s + placement.warp_sd_mm * smooth_noise(rng, axes_mm, WARP_KNOT_MM)).astype(np.float32)
        for s in straight
    ]
    points = Points(x=warped[0], y=warped[1], z=warped[2])
    return Grid(axes_mm=axes_mm, placement=placement, points=points)


def to_scanner(placement: Placement, points: np.ndarray) -> np.ndarray:
    """Place anatomical points (n, 3) in the scanner, the elastic warp left out."""
    roll = np.radians(placement.roll_degrees)
    x, y, z = (points * np.asarray(placement.scale)).T
    turned = np.stack([np.cos(roll) * x - np.sin(roll) * y, np.sin(roll) * x + np.cos(roll) * y, z])
    return turned.T + np.asarray(placement.shift_mm)


def smooth_noise(
    rng: np.random.Generator,
    axes_mm: tuple[np.ndarray, np.ndarray, np.ndarray],
    knot_mm: Number,
) -> np.ndarray:
    """Return unit-variance noise of Gaussian correlation, the same at a place on any lattice."""
    limits = ((-340.0, 340.0), (-340.0, 340.0), (-200.0, 280.0))
    knots = [np.arange(low, high, knot_mm) for low, high in limits]
    values = rng.standard_normal([len(k) for k in reversed(knots)])
    weights = [_weights(axis, k, knot_mm) for axis, k in zip(axes_mm, knots, strict=True)]
    values = np.einsum("kji,xi->kjx", values, weights[0], optimize=True)
    values = np.einsum("kjx,yj->kyx", values, weights[1], optimize=True)
    return np.tensordot(weights[2], values, axes=1).astype(np.float32)


def spread(field: Field, box: Box) -> Distances:
    """Return a field's distances on another box, OUTSIDE where it has none."""
    result = np.full([s.stop - s.start for s in box], OUTSIDE, np.float32)
    shared = [
        slice(max(a.start, b.start), min(a.stop, b.stop))
        for a, b in zip(field.box, box, strict=True)
    ]
    if all(s.stop > s.start for s in shared):
        target = tuple(
            slice(s.start - b.start, s.stop - b.start) for s, b in zip(shared, box, strict=True)
        )
        source = tuple(
            slice(s.start - b.start, s.stop - b.start)
            for s, b in zip(shared, field.box, strict=True)
        )
        result[target] = field.distances[source]
    return result


def join(fields: Sequence[Field], crease_mm: Number = 0.0) -> Field:
    """Return the union of solids on the box that holds all of them."""
    box = (_hull(fields, 0), _hull(fields, 1), _hull(fields, 2))
    result = spread(fields[0], box)
    for field in fields[1:]:
        other = spread(field, box)
        result = smooth_union(result, other, crease_mm) if crease_mm else np.minimum(result, other)
    return Field(box=box, distances=result)


def cut(field: Field, others: Sequence[Field], margin_mm: Number = 0.0) -> Field:
    """Return a solid without others grown by a margin."""
    result = field.distances
    for other in others:
        result = np.maximum(result, np.float32(margin_mm) - spread(other, field.box))
    return Field(box=field.box, distances=result)


def common(field: Field, others: Sequence[Field]) -> Field:
    """Return the part of a solid that lies in all the others."""
    result = field.distances
    for other in others:
        result = np.maximum(result, spread(other, field.box))
    return Field(box=field.box, distances=result)


def grown(field: Field, margin_mm: Number) -> Field:
    """Return a solid dilated (or, below 0, eroded) by a margin."""
    return Field(box=field.box, distances=field.distances - np.float32(margin_mm))


def _hull(fields: Sequence[Field], axis: int) -> slice:
    return slice(min(f.box[axis].start for f in fields), max(f.box[axis].stop for f in fields))


def _weights(axis: np.ndarray, knots: np.ndarray, knot_mm: Number) -> np.ndarray:
    raw = np.exp(-0.5 * ((axis[:, None] - knots[None, :]) / (KNOT_SHARE * knot_mm)) ** 2)
    return raw / np.sqrt((raw * raw).sum(axis=1, keepdims=True))
