"""Bones: pelvis, femora, sacrum and the two lowest lumbar vertebrae."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ml.phantom.anatomy import Anatomy
from ml.phantom.grid import Field, Grid, common, cut, grown, join
from ml.phantom.shapes import (
    Distances,
    Point,
    Points,
    Solid,
    capsule,
    smooth_subtract,
    smooth_union,
    sphere,
    superellipse,
    superellipsoid,
    triangle,
)

SACRUM_Z = np.array([-30.0, -25.0, 0.0, 25.0, 43.0, 62.0, 82.0, 97.0, 104.0])
SACRUM_FRONT_Y = np.array([57.0, 62.0, 79.0, 76.0, 70.0, 55.0, 27.0, 15.0, 18.0])
SACRUM_HALF_WIDTH = np.array([4.0, 5.0, 12.0, 28.0, 36.0, 46.0, 55.0, 50.0, 38.0])
SACRUM_THICKNESS = np.array([4.0, 5.0, 8.0, 14.0, 20.0, 28.0, 38.0, 40.0, 36.0])
JITTER_MM = 2.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Skeleton:
    """Solid bones by how they look in CT."""

    femur: Field
    """Both sides."""
    pelvis: Field
    sacrum: Field
    vertebrae: Field
    cartilage: Field
    """Hip joints, sacro-iliac joints, symphysis and discs: painted under the bones."""
    canal: Field
    everything: Field


def build_skeleton(grid: Grid, anatomy: Anatomy) -> Skeleton:
    """Return the bones of one patient."""
    rng = np.random.default_rng(anatomy.side_jitter_seed)
    sides = [_Side(grid, anatomy, sign, rng) for sign in (-1, 1)]
    femur = join([f for side in sides for f in side.femur()])
    pelvis = join([f for side in sides for f in side.pelvis()])
    pelvis = cut(pelvis, [side.socket() for side in sides])
    sacrum = grid.evaluate((-62, 5, -34), (62, 115, 112), _sacrum)
    vertebrae = join(
        [_vertebra(grid, z, y) for z, y in ((114.0, 8.0), (148.0, -1.0), (182.0, -6.0))]
    )
    cartilage = join([side.joint() for side in sides] + [_discs(grid)])
    canal = grid.evaluate((-14, 20, 40), (14, 80, 210), _canal)
    everything = join([femur, pelvis, sacrum, vertebrae])
    return Skeleton(
        femur=femur,
        pelvis=cut(pelvis, [sacrum], 2.0),
        sacrum=sacrum,
        vertebrae=vertebrae,
        cartilage=cartilage,
        canal=common(canal, [grown(everything, 3.0)]),
        everything=everything,
    )


def sacrum_front_y(z: np.ndarray) -> np.ndarray:
    """Return how far back the pelvic surface of the sacrum lies at a height."""
    return np.interp(z, SACRUM_Z, SACRUM_FRONT_Y).astype(np.float32)


class _Side:
    """One half of the pelvic girdle with its own small asymmetry."""

    def __init__(self, grid: Grid, anatomy: Anatomy, sign: int, rng: np.random.Generator) -> None:
        self._grid = grid
        self._sign = sign
        self._radius = anatomy.head_radius
        self._thickness = anatomy.body.bone_thickness
        self._jitter = rng.normal(0, JITTER_MM, (32, 3))
        self._used = 0

    def femur(self) -> list[Field]:
        head = self._place((90, 0, 0))
        neck_end = self._place((118, 6, -24))
        trochanter = self._place((132, 16, -20))
        shaft = self._place((124, 8, -45))

        def solid(p: Points) -> Distances:
            upper = smooth_union(
                sphere(p, head, self._radius), capsule(p, head, neck_end, 14, 16), 6
            )
            upper = smooth_union(upper, superellipsoid(p, trochanter, (15, 20, 27)), 8)
            return smooth_union(upper, capsule(p, shaft, self._mirror((112, 8, -230)), 16, 14), 8)

        return [self._evaluate((65, -30, -150), (155, 45, 30), solid)]

    def pelvis(self) -> list[Field]:
        return [self._ilium(), self._ischium_and_pubis(), self._acetabulum()]

    def socket(self) -> Field:
        """The hip joint's cavity with the femur's passage out of it."""
        centre = self._mirror((90, 0, 0))
        out = self._mirror((135, 8, -40))

        def solid(p: Points) -> Distances:
            ball = sphere(p, centre, self._radius + 2.5)
            return np.minimum(ball, capsule(p, centre, out, self._radius + 2, self._radius + 6))

        return self._evaluate((60, -35, -75), (165, 45, 30), solid)

    def joint(self) -> Field:
        centre = self._mirror((90, 0, 0))
        return self._evaluate(
            (60, -30, -30), (122, 30, 30), lambda p: sphere(p, centre, self._radius + 3.0)
        )

    def _acetabulum(self) -> Field:
        centre = self._mirror((88, 2, 2))
        radius = self._radius + 10

        def solid(p: Points) -> Distances:
            cup = superellipsoid(p, centre, (radius, radius, radius + 2))
            side = np.float32(self._sign) * p.x
            rim = (side - 96) * np.float32(0.82) - p.z * np.float32(0.5) - p.y * np.float32(0.12)
            return np.maximum(cup, rim)

        return self._evaluate((48, -40, -42), (130, 45, 45), solid)

    def _ilium(self) -> Field:
        roof, notch = self._place((84, 2, 32)), self._place((60, 54, 46))
        spine = self._place((117, -52, 82))
        front, crest = self._place((129, -22, 122)), self._place((126, 12, 139))
        rear, psis = self._place((92, 60, 134)), self._place((46, 92, 97))
        joint = self._place((55, 52, 82))
        rim = (spine, front, crest, rear, psis)
        t = self._thickness

        def solid(p: Points) -> Distances:
            plate = triangle(p, roof, spine, front, 4.0 * t)
            for a, b in ((front, crest), (crest, rear), (rear, joint)):
                plate = np.minimum(plate, triangle(p, roof, a, b, 4.0 * t))
            plate = np.minimum(plate, triangle(p, rear, psis, joint, 6.0 * t))
            plate = np.minimum(plate, triangle(p, roof, joint, notch, 5.0 * t))
            for a, b in pairwise(rim):
                plate = smooth_union(plate, capsule(p, a, b, 5.5 * t), 4)
            column = capsule(p, roof, joint, 11 * t, 9 * t)
            return smooth_union(plate, column, 6)

        return self._evaluate((38, -60, 12), (140, 104, 150), solid)

    def _ischium_and_pubis(self) -> Field:
        body, tuber = self._place((84, 26, -4)), self._place((62, 32, -58))
        pubis = self._mirror((13, -50, -16))
        ramus_top, ramus_end = self._place((72, -20, 12)), self._place((14, -54, -4))
        lower = self._place((20, -34, -46))
        spine = self._place((52, 44, 14))

        def solid(p: Points) -> Distances:
            ischium = capsule(p, body, tuber, 14, 16)
            ischium = smooth_union(ischium, capsule(p, body, spine, 9, 4), 5)
            upper = capsule(p, ramus_top, ramus_end, 8.5, 7)
            front = superellipsoid(p, pubis, (10.5, 9, 19))
            rest = smooth_union(capsule(p, tuber, lower, 7, 6), capsule(p, lower, pubis, 6, 8), 4)
            whole = smooth_union(smooth_union(upper, front, 5), rest, 4)
            return np.maximum(smooth_union(ischium, whole, 4), 2.0 - np.abs(p.x))

        return self._evaluate((0, -66, -82), (102, 56, 30), solid)

    def _evaluate(self, low: Point, high: Point, solid: Solid) -> Field:
        a, b = self._mirror(low), self._mirror(high)
        low2 = (min(a[0], b[0]), a[1], a[2])
        high2 = (max(a[0], b[0]), b[1], b[2])
        return self._grid.evaluate(low2, high2, solid)

    def _place(self, point: Point) -> Point:
        jitter = self._jitter[self._used]
        self._used += 1
        x, y, z = np.asarray(point) + jitter
        return self._mirror((float(x), float(y), float(z)))

    def _mirror(self, point: Point) -> Point:
        return (self._sign * point[0], point[1], point[2])


def _sacrum(p: Points) -> Distances:
    z = p.z
    slope = np.gradient(SACRUM_FRONT_Y, SACRUM_Z)
    cosine = np.interp(z, SACRUM_Z, 1 / np.sqrt(1 + slope**2)).astype(np.float32)
    half = np.interp(z, SACRUM_Z, SACRUM_THICKNESS).astype(np.float32) / 2
    width = np.interp(z, SACRUM_Z, SACRUM_HALF_WIDTH).astype(np.float32)
    # The front is concave from side to side: the wings reach further forward than the middle.
    bow = np.float32(4) - (p.x / width) ** 2 * np.float32(4)
    depth = half / np.maximum(cosine, 0.6)
    dy = p.y - sacrum_front_y(z) - depth + bow - 3
    ring = superellipse(p.x, dy, width, depth, 2.4) * cosine
    caps = np.maximum(z - 103, -30 - z)
    return smooth_subtract(np.maximum(ring, caps), _foramina(p), 2)


def _foramina(p: Points) -> Distances:
    holes = []
    for z in (76.0, 57.0, 39.0):
        y = float(np.interp(z, SACRUM_Z, SACRUM_FRONT_Y))
        holes += [capsule(p, (x, y - 8, z - 6), (x * 0.8, y + 18, z + 6), 4) for x in (-20.0, 20.0)]
    return np.minimum.reduce(holes)


def _vertebra(grid: Grid, z: float, y: float) -> Field:
    def solid(p: Points) -> Distances:
        ellipse = superellipse(p.x, p.y - y, np.float32(25), np.float32(17), 2.3)
        body = np.maximum(ellipse, np.abs(p.z - z) - 13)
        arch = capsule(p, (0, y + 44, z - 4), (0, y + 62, z - 12), 4.5)
        for sign in (-1, 1):
            pedicle = capsule(p, (sign * 15, y + 12, z + 4), (sign * 20, y + 34, z), 5.5)
            lamina = capsule(p, (sign * 20, y + 34, z), (0, y + 44, z - 4), 4.5)
            wing = capsule(p, (sign * 20, y + 22, z + 2), (sign * 40, y + 26, z + 2), 4)
            for part in (pedicle, lamina, wing):
                arch = np.minimum(arch, part)
        return smooth_union(body, arch, 3)

    return grid.evaluate((-46, y - 20, z - 20), (46, y + 70, z + 18), solid)


def _discs(grid: Grid) -> Field:
    def solid(p: Points) -> Distances:
        centre = np.interp(p.z, [95.0, 114, 148, 182], [20.0, 8, -1, -6]).astype(np.float32)
        column = superellipse(p.x, p.y - centre, np.float32(24), np.float32(16), 2.3)
        return np.maximum(column, 100 - p.z)

    return grid.evaluate((-28, -28, 96), (28, 40, 240), solid)


def _canal(p: Points) -> Distances:
    centre = np.interp(p.z, [40.0, 62, 82, 100, 114, 148, 182], [80.0, 72, 56, 40, 34, 25, 20])
    return superellipse(p.x, p.y - centre.astype(np.float32), np.float32(11), np.float32(8), 2.0)
