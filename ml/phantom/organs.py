"""Bladder, uterus with cervix, parametria and vagina, and the rectum."""

from dataclasses import dataclass

import numpy as np

from ml.phantom.anatomy import Anatomy, UterusPosition
from ml.phantom.grid import Field, Grid, cut, grown, join, smooth_noise, spread
from ml.phantom.shapes import (
    Distances,
    Point,
    Points,
    capsule,
    catmull_rom,
    smooth_subtract,
    smooth_union,
    superellipse,
    superellipsoid,
    tube,
)

RECTUM_PATH = (
    (0, 33, -46),
    (0, 42, -24),
    (0, 47, 0),
    (2, 47, 20),
    (4, 40, 42),
    (6, 27, 62),
    (10, 12, 80),
)
RECTUM_RADII = (11, 15, 18, 16, 14, 13, 12.5)
UPPER_VAGINA_MM = 25.0
"""Length of vagina below the cervix that belongs to CTV-UV."""
UPPER_VAGINA_AFTER_HYSTERECTOMY_MM = 35.0
"""Below where the cervix was. Reference: three centimetres of vagina below the cuff, Small et al.
2008, with the margin for the filling of bladder and rectum."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Organs:
    """Outer surfaces of the organs; where two touch, the later ones gave way."""

    bladder: Field
    uterus: Field
    """Body and cervix; after hysterectomy, the vaginal cuff."""
    cavity_line: Field | None
    tumour: Field | None
    parametria: Field
    vagina: Field
    upper_vagina: Field
    anal_canal: Field
    urethra: Field
    rectum: Field
    colon_path: tuple[Point, ...]
    """Course of the sigmoid from the take-off, for the bowel."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Surroundings:
    """What organs give way to."""

    bones: Field
    muscle: Field
    psoas: Field
    vessels: Field


def build_organs(
    grid: Grid, anatomy: Anatomy, around: Surroundings, rng: np.random.Generator
) -> Organs:
    """Return the organs of one patient, free of their surroundings and of each other."""
    bones = around.bones
    uterus, line = _uterus(grid, anatomy)
    firm = join([bones, around.psoas, around.vessels])
    free = smooth_subtract(uterus.distances, spread(firm, uterus.box) - 3, 6.0)
    uterus = Field(box=uterus.box, distances=free)
    line = cut(line, [firm], 6.0) if line else None
    tumour = _tumour(grid, anatomy, rng)
    rectum, colon_path = _rectum(grid, anatomy)
    vagina = _vagina(grid, anatomy)
    solid = [uterus, vagina] + ([tumour] if tumour else [])
    rectum = cut(rectum, [bones], 2.0)
    genital = join(solid)
    rectum = cut(rectum, [genital], 2.0)
    bladder = _bladder(grid, anatomy, join([genital, rectum]), bones)
    top = anatomy.uterus.cervix_centre[2] - anatomy.uterus.cervix_radii[2]
    absent = anatomy.uterus.position is UterusPosition.ABSENT
    length = UPPER_VAGINA_AFTER_HYSTERECTOMY_MM if absent else UPPER_VAGINA_MM
    low = Field(box=vagina.box, distances=top - length - grid.at(vagina.box).z)
    upper = Field(box=vagina.box, distances=np.maximum(vagina.distances, low.distances))
    return Organs(
        bladder=bladder,
        uterus=uterus,
        cavity_line=line,
        tumour=tumour,
        parametria=cut(_parametria(grid, anatomy), [around.muscle]),
        vagina=vagina,
        upper_vagina=upper,
        anal_canal=_anal_canal(grid, anatomy),
        urethra=grid.evaluate(
            (-8, -40, -60), (8, -5, -5), lambda p: capsule(p, (0, -24, -14), (0, -20, -52), 6, 5)
        ),
        rectum=rectum,
        colon_path=colon_path,
    )


def _bladder(grid: Grid, anatomy: Anatomy, neighbours: Field, bones: Field) -> Field:
    parameters = anatomy.bladder
    full = float(np.cbrt(parameters.volume_ml / 250))
    radii = [r * full * f for r, f in zip((48.5, 35.5, 36.5), parameters.shape, strict=True)]
    centre = (parameters.centre_x, -27 + 3 * full, -17 + 35 * full)
    low = tuple(c - 1.25 * r for c, r in zip(centre, radii, strict=True))
    high = tuple(c + 1.25 * r for c, r in zip(centre, radii, strict=True))
    box = grid.box((low[0], low[1], low[2]), (high[0], high[1], high[2]))
    p = grid.at(box)
    # What the neighbours take away comes back by growing, so that the volume stays as drawn.
    growth = 1.0
    keep_out = np.minimum(spread(neighbours, box) - 3, spread(bones, box) - 4)
    keep_out = np.minimum(keep_out, _pelvic_side_wall(p))
    result = superellipsoid(p, centre, (radii[0], radii[1], radii[2]), parameters.exponent)
    spacing = [np.diff(axis[:2])[0] for axis in grid.axes_mm]
    voxel_ml = float(np.prod(spacing) / np.prod(anatomy.placement.scale) / 1000)
    for _ in range(5):
        a, b, c = (r * growth for r in radii)
        free = superellipsoid(p, centre, (a, b, c), parameters.exponent)
        result = smooth_subtract(free, keep_out, 5.0)
        volume = float(np.count_nonzero(result < 0)) * voxel_ml
        growth *= float(np.clip(np.cbrt(parameters.volume_ml / max(volume, 1.0)), 0.9, 1.12))
    return Field(box=box, distances=result)


def _pelvic_side_wall(p: Points) -> Distances:
    levels = [-40.0, -15, 0, 30, 60, 90]
    half = np.interp(p.z, levels, [20.0, 31, 39, 48, 64, 80]).astype(np.float32)
    front = np.interp(p.z, levels, [34.0, 40, 47, 61, 70, 76]).astype(np.float32)
    # Rounded like the cavity itself; nothing bounds the bladder behind but its neighbours.
    return -superellipse(p.x, p.y - 30, half, front + 30, 2.8)


def _uterus(grid: Grid, anatomy: Anatomy) -> tuple[Field, Field | None]:
    parameters = anatomy.uterus
    cx, cy, cz = parameters.cervix_centre
    radii = parameters.cervix_radii
    if parameters.position is UterusPosition.ABSENT:
        centre, size = (cx, cy, cz - 14), (19.0, 9.0, 8.0)
        cuff = grid.evaluate(
            (cx - 20, cy - 10, cz - 24),
            (cx + 20, cy + 10, cz - 4),
            lambda p: superellipsoid(p, centre, size),
        )
        return cuff, None
    c = parameters.corpus_scale
    path, thickness = _corpus(anatomy)
    low = np.min(path, axis=0) - 30 * c
    high = np.max(path, axis=0) + 30 * c
    low = np.minimum(low, np.array(parameters.cervix_centre) - np.array(radii))

    def solid(p: Points) -> Distances:
        cervix = superellipsoid(p, parameters.cervix_centre, radii, 2.2)
        body = tube(p, path, thickness, 3)
        whole = smooth_union(cervix, body, 5)
        if parameters.fibroid_radius is None:
            return whole
        x, y, z = path[2]
        r = parameters.fibroid_radius
        return smooth_union(whole, superellipsoid(p, (x + 16 * c, y, z + 8), (r, r, r)), 4)

    field = grid.evaluate(_point(low), _point(high), solid)
    line = grid.evaluate(_point(low), _point(high), lambda p: tube(p, path[1:], (1.5, 3.5, 2.5), 2))
    return field, line


def _corpus(anatomy: Anatomy) -> tuple[tuple[Point, ...], tuple[float, ...]]:
    parameters = anatomy.uterus
    c = parameters.corpus_scale
    cx, cy, cz = parameters.cervix_centre
    course = {
        UterusPosition.ANTEVERTED: ((0, 0, 6), (0, -7, 26), (0, -22, 46), (0, -36, 56)),
        UterusPosition.RETROVERTED: ((0, 0, 6), (0, 3, 26), (0, 12, 42), (0, 20, 48)),
        UterusPosition.AXIAL: ((0, 0, 6), (0, -2, 26), (0, -5, 46), (0, -7, 60)),
    }[parameters.position]
    path = []
    for dx, dy, dz in course:
        far = dz / 56
        path.append(
            (
                cx + (dx + parameters.lateral_deviation * far) * c,
                cy + dy * c,
                cz + dz * c + parameters.fundus_lift * max(far - 0.4, 0),
            )
        )
    return tuple(path), tuple(r * c for r in (14, 18, 24.5, 20))


def _tumour(grid: Grid, anatomy: Anatomy, rng: np.random.Generator) -> Field | None:
    parameters = anatomy.uterus
    if parameters.tumour_radius is None:
        return None
    r = parameters.tumour_radius
    centre = np.asarray(parameters.cervix_centre) + np.asarray(parameters.tumour_offset)
    field = grid.evaluate(
        _point(centre - r - 8),
        _point(centre + r + 8),
        lambda p: superellipsoid(p, _point(centre), (r * 1.08, r * 0.85, r), 2.0),
    )
    noise = smooth_noise(rng, _box_axes(grid, field), 9.0)
    return Field(box=field.box, distances=field.distances + np.float32(1.6) * noise)


def _vagina(grid: Grid, anatomy: Anatomy) -> Field:
    cx, cy, cz = anatomy.uterus.cervix_centre
    bottom = cz - anatomy.uterus.cervix_radii[2]
    path = ((0, 0, -62), (0, 8, -36), (cx * 0.5, cy - 1, bottom - 12), (cx, cy - 1, bottom + 6))

    def solid(p: Points) -> Distances:
        flat = Points(x=p.x * np.float32(0.5), y=p.y, z=p.z)
        half = tuple((x * 0.5, float(y), float(z)) for x, y, z in path)
        return tube(flat, half, (5.0, 5.5, 7.5, 8.0), 3)

    return grid.evaluate((-24, -12, -70), (24, cy + 16, bottom + 16), solid)


def _parametria(grid: Grid, anatomy: Anatomy) -> Field:
    parameters = anatomy.uterus
    cx, cy, cz = parameters.cervix_centre
    absent = parameters.position is UterusPosition.ABSENT
    z = cz - (10 if absent else 1)
    wings = []
    for sign, reach in zip((-1, 1), parameters.parametrium_reach, strict=True):
        near, far = (cx + sign * 12, cy, z), (sign * reach, cy + 4, z - 1)
        wings.append(_wing(grid, near, far))
    return join(wings)


def _wing(grid: Grid, near: Point, far: Point) -> Field:
    low = (min(near[0], far[0]) - 14, near[1] - 14, near[2] - 18)
    high = (max(near[0], far[0]) + 14, far[1] + 14, near[2] + 18)

    def solid(p: Points) -> Distances:
        # Taller than deep: squeezing z makes the rod's section an ellipse.
        flat = Points(x=p.x, y=p.y, z=p.z * np.float32(0.8))
        a, b = (near[0], near[1], near[2] * 0.8), (far[0], far[1], far[2] * 0.8)
        return capsule(flat, a, b, 13, 11)

    return grid.evaluate(low, high, solid)


def _rectum(grid: Grid, anatomy: Anatomy) -> tuple[Field, tuple[Point, ...]]:
    parameters = anatomy.rectum
    path, radii = rectum_course(anatomy)
    low = np.min(path, axis=0) - 32
    high = np.max(path, axis=0) + 32

    def solid(p: Points) -> Distances:
        course = tube(p, path, radii, 3)
        ends = np.maximum(parameters.lower_end - p.z, p.z - parameters.upper_end - 6)
        return np.maximum(course, ends)

    end = path[-1]
    reach = np.array([[26, -22, 4], [46, -30, 6], [62, -22, 22], [82, 0, 44]], float)
    sigmoid = (end, *(_point(np.asarray(end) + step) for step in reach))
    return grid.evaluate(_point(low), _point(high), solid), sigmoid


def rectum_course(anatomy: Anatomy) -> tuple[tuple[Point, ...], tuple[float, ...]]:
    """Return centre line and radii of the rectum from anal canal to take-off."""
    parameters = anatomy.rectum
    nodes = np.asarray(RECTUM_PATH, float)
    nodes[:, :2] += np.asarray(parameters.offsets)
    stretch = (parameters.upper_end - 20) / 60.0
    nodes[4:, 2] = 20 + (nodes[4:, 2] - 20) * stretch
    # A higher take-off lies further forward on the sacral curve, as the bone demands.
    nodes[4:, 1] = np.interp(nodes[4:, 2], [20.0, 42, 62, 82, 104], [47.0, 42, 29, 8, -8])
    nodes[4:, 1] += [parameters.offsets[i][1] - 2 for i in (4, 5, 6)]
    path = tuple(_point(node) for node in nodes)
    radii = tuple(r * c for r, c in zip(RECTUM_RADII, parameters.calibre, strict=True))
    return path, radii


def rectum_axis_y(anatomy: Anatomy, z: np.ndarray) -> np.ndarray:
    """Return how far back the rectum's centre line lies at a height."""
    nodes = catmull_rom(np.asarray(rectum_course(anatomy)[0]), 4)
    return np.interp(z, nodes[:, 2], nodes[:, 1]).astype(np.float32)


def _anal_canal(grid: Grid, anatomy: Anatomy) -> Field:
    start = rectum_course(anatomy)[0][0]
    z = anatomy.rectum.lower_end

    def solid(p: Points) -> Distances:
        return np.maximum(capsule(p, (start[0], start[1], z), (0, 50, -84), 12, 11), p.z - z)

    return grid.evaluate((-14, 15, -96), (14, 66, z + 4), solid)


def wall(field: Field, thickness: float) -> Field:
    """Return what lies inside an organ's wall."""
    return grown(field, -thickness)


def _box_axes(grid: Grid, field: Field) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, y, z = grid.axes_mm
    return x[field.box[2]], y[field.box[1]], z[field.box[0]]


def _point(values: np.ndarray) -> Point:
    return float(values[0]), float(values[1]), float(values[2])
