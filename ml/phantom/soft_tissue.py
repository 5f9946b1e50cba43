"""Outline, fat, muscle and the cavity that holds the organs."""

from dataclasses import dataclass

import numpy as np

from ml.phantom.anatomy import Anatomy
from ml.phantom.grid import Field, Grid, common, cut, join, smooth_noise
from ml.phantom.shapes import (
    Distances,
    Number,
    Point,
    Points,
    smooth_union,
    superellipse,
    superellipsoid,
    tube,
)

LEVELS = np.array([-140.0, -90, -60, -25, 0, 30, 60, 100, 150, 200])
ENVELOPE_SIDE = np.array([140.0, 146, 150, 152, 152, 148, 142, 136, 134, 134])
ENVELOPE_FRONT = np.array([50.0, 60, 66, 70, 72, 76, 82, 90, 94, 96])
ENVELOPE_BACK = np.array([70.0, 82, 92, 100, 102, 105, 107, 108, 106, 104])

CAVITY_LEVELS = np.array([-62.0, -45, -20, 0, 30, 60, 90, 120, 150, 200])
CAVITY_SIDE = np.array([6.0, 17, 36, 47, 57, 76, 95, 108, 114, 114])
CAVITY_FRONT = np.array([2.0, 6, 40, 58, 66, 73, 80, 83, 85, 87])
CAVITY_BACK = np.array([40.0, 52, 68, 80, 78, 62, 34, 26, 24, 20])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SoftTissue:
    """Solids that fill the body between skin and organs."""

    body: Field
    muscle: Field
    """All muscles, intermuscular fat left out."""
    cavity: Field
    """Fat-filled space inside the muscular wall."""
    psoas: Field
    piriformis: Field


def build_soft_tissue(grid: Grid, anatomy: Anatomy, rng: np.random.Generator) -> SoftTissue:
    """Return outline, muscle and cavity of one patient."""
    warped = grid.at(grid.whole)
    # Outline and wall follow whole slices: one height each keeps the look-up tables cheap.
    height = (grid.axes_mm[2] - grid.placement.shift_mm[2]) / grid.placement.scale[2]
    p = Points(x=warped.x, y=warped.y, z=height.astype(np.float32)[:, None, None])
    body_parameters = anatomy.body
    side, front, back = body_parameters.envelope_scale
    belly = np.interp(LEVELS, [20.0, 110.0], [1.0, body_parameters.visceral])
    outline = _Outline(
        side=ENVELOPE_SIDE * side,
        front=ENVELOPE_FRONT * front * belly,
        back=ENVELOPE_BACK * back,
        exponent=body_parameters.exponent,
    )
    envelope = outline.distances(p, (0.0, 0.0, 0.0))
    fat = (body_parameters.fat_lateral, body_parameters.fat_anterior, body_parameters.fat_posterior)
    body = outline.distances(p, fat)
    cavity = np.maximum(_cavity(p, belly * front), envelope + 8)
    muscle = np.maximum(envelope, -cavity)
    muscle = np.maximum(muscle, -_septa(grid, p, envelope, cavity, rng))
    whole = grid.whole
    body_field, cavity_field = Field(box=whole, distances=body), Field(box=whole, distances=cavity)
    psoas = _pair(grid, PSOAS_PATH, PSOAS_RADII)
    piriformis = _pair(grid, PIRIFORMIS_PATH, PIRIFORMIS_RADII)
    wall = cut(Field(box=whole, distances=muscle), [_ischioanal_fossa(grid)])
    return SoftTissue(
        body=body_field,
        muscle=join([wall, common(psoas, [body_field]), piriformis, _levator(grid)]),
        cavity=cavity_field,
        psoas=psoas,
        piriformis=piriformis,
    )


PSOAS_PATH = ((40, 6, 190), (46, 8, 150), (62, 0, 100), (76, -24, 52), (90, -32, 8), (84, -10, -32))
PSOAS_RADII = (17, 20, 19, 17, 13, 9)
PIRIFORMIS_PATH = ((24, 76, 52), (52, 66, 40), (88, 46, 20), (118, 22, 0))
PIRIFORMIS_RADII = (8, 10, 9, 5)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Outline:
    side: np.ndarray
    front: np.ndarray
    back: np.ndarray
    exponent: float

    def distances(self, p: Points, fat: tuple[float, float, float]) -> Distances:
        """Trunk and thighs, grown sideways, forward and backward."""
        lateral, anterior, posterior = fat
        half_x = _by_level(p, LEVELS, self.side + lateral)
        front = _by_level(p, LEVELS, self.front + anterior)
        back = _by_level(p, LEVELS, self.back + posterior)
        centre = (back - front) / 2
        trunk = superellipse(p.x, p.y - centre, half_x, (front + back) / 2, self.exponent)
        trunk = np.maximum(trunk, -82 - p.z)
        inner = np.interp(p.z, [-130.0, -60.0], [4.0, -12.0]).astype(np.float32)
        thigh_half = (half_x - inner) / 2
        thighs = superellipse(
            np.abs(p.x) - inner - thigh_half, p.y - centre, thigh_half, (front + back) / 2, 2.1
        )
        return smooth_union(trunk, np.maximum(thighs, p.z + 45), 8)


def _cavity(p: Points, belly: np.ndarray) -> Distances:
    half_x = _by_level(p, CAVITY_LEVELS, CAVITY_SIDE)
    factor = np.interp(CAVITY_LEVELS, LEVELS, belly)
    front = _by_level(p, CAVITY_LEVELS, CAVITY_FRONT * factor)
    back = _by_level(p, CAVITY_LEVELS, CAVITY_BACK)
    centre, half_y = (back - front) / 2, (front + back) / 2
    ring = superellipse(p.x, p.y - centre, half_x, half_y, 2.4)
    return np.maximum(ring, -58 - p.z)


def _septa(
    grid: Grid, p: Points, envelope: Distances, cavity: Distances, rng: np.random.Generator
) -> Distances:
    """Intermuscular fat: sheets at wavy depths below the envelope and irregular pockets."""
    wave = smooth_noise(rng, grid.axes_mm, 30.0)
    patches = smooth_noise(rng, grid.axes_mm, 16.0)
    thick = rng.uniform(0.8, 1.8)
    first = np.abs(envelope + 27 + 3 * wave) - np.float32(thick)
    second = np.abs(envelope + 52 + 6 * wave) - np.float32(thick)
    rays = np.abs(np.sin(np.arctan2(p.y - 10, np.abs(p.x) - 60) * 3.5 + wave * np.float32(0.6)))
    ray = rays * np.float32(16) - np.float32(thick * 0.8)
    ray = np.maximum(ray, np.maximum(p.z - 45, envelope + 3))
    pockets = (np.float32(1.75) - patches) * 6
    sheets = np.minimum(np.minimum(first, second), np.minimum(pockets, ray))
    # The wall right beside the cavity (inner obturator muscle, abdominal wall) stays whole.
    return np.maximum(sheets, np.float32(9) - cavity)


def _levator(grid: Grid) -> Field:
    def solid(p: Points) -> Distances:
        z = np.clip(p.z, -46, 0)
        half = np.interp(z, [-46.0, -30, 0], [14.0, 24, 46]).astype(np.float32)
        ring = superellipse(p.x, p.y - 30, half, half * np.float32(0.9) + 4, 2.2)
        shell = np.abs(ring) - np.float32(2.2)
        return np.maximum(np.maximum(shell, np.abs(p.z + 24) - 22), 4 - p.y)

    return grid.evaluate((-54, 0, -50), (54, 80, 2), solid)


def _ischioanal_fossa(grid: Grid) -> Field:
    def solid(p: Points) -> Distances:
        side = Points(x=np.abs(p.x), y=p.y, z=p.z)
        fossa = superellipsoid(side, (36, 52, -38), (19, 30, 34))
        perineum = superellipsoid(p, (0, 92, -60), (34, 30, 60))
        front = superellipsoid(side, (20, 0, -70), (16, 26, 22))
        femoral = superellipsoid(side, (65, -58, -12), (22, 17, 62))
        return np.minimum(np.minimum(fossa, perineum), np.minimum(front, femoral))

    return grid.evaluate((-90, -80, -120), (90, 124, 54), solid)


def _pair(grid: Grid, path: tuple[Point, ...], radii: tuple[Number, ...]) -> Field:
    xs, ys, zs = zip(*path, strict=True)
    reach = max(radii)
    low = (-max(xs) - reach, min(ys) - reach, min(zs) - reach)
    high = (max(xs) + reach, max(ys) + reach, max(zs) + reach)

    def solid(p: Points) -> Distances:
        return tube(Points(x=np.abs(p.x), y=p.y, z=p.z), path, radii, 2)

    return grid.evaluate(low, high, solid)


def _by_level(p: Points, levels: np.ndarray, values: np.ndarray) -> Distances:
    return np.interp(p.z, levels, values).astype(np.float32)
