"""Iliac vessels, the great vessels above them, and lymph nodes along them."""

from dataclasses import dataclass

import numpy as np

from ml.phantom.anatomy import Anatomy
from ml.phantom.grid import Field, Grid, join
from ml.phantom.shapes import Distances, Point, Points, superellipsoid, tube

EXTERNAL = ((31, 2, 100), (42, -16, 78), (50, -32, 56), (58, -45, 30), (65, -54, 8), (69, -60, -20))
THIGH = ((69, -60, -20), (71, -58, -60), (74, -46, -120), (76, -30, -220))
INTERNAL = ((31, 2, 100), (37, 20, 82), (43, 34, 62), (46, 38, 42), (44, 32, 24))
VEIN_OFFSET = (-4.0, 9.0, 0.0)
EXTERNAL_END = 20.0
"""Height at which the external iliac vessels leave the pelvis: top of the femoral heads."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Vessels:
    """Vessels by contrast phase and by role in the nodal contour."""

    arteries: Field
    veins: Field
    external: Field
    """External iliac artery and vein."""
    pelvic: Field
    """Common, external and internal iliac vessels, both sides."""
    nodes: Field


def build_vessels(grid: Grid, anatomy: Anatomy) -> Vessels:
    """Return the vessels and nodes of one patient."""
    parameters = anatomy.vessels
    rng = np.random.default_rng(parameters.jitter_seed)
    top = parameters.bifurcation
    arteries, veins, external, pelvic = [], [], [], []
    paths: list[tuple[Point, ...]] = []
    for sign in (-1, 1):
        side = _side_paths(sign, top, rng)
        paths += [side["common"], side["external"], side["internal"]]
        f = parameters.radius_factor
        artery = {
            "common": _tube(grid, side["common"], 5.5 * f, 5.0 * f),
            "external": _tube(grid, side["external"], 4.6 * f, 4.4 * f),
            "internal": _tube(grid, side["internal"], 3.9 * f, 2.6 * f),
            "thigh": _tube(grid, side["thigh"], 4.4 * f, 3.2 * f),
        }
        vein = {
            "common": _tube(grid, _common_vein(sign, top, side["common"]), 6.4 * f, 6.0 * f),
            "external": _tube(grid, _shifted(side["external"], sign), 5.6 * f, 5.4 * f),
            "internal": _tube(grid, _shifted(side["internal"], sign), 4.5 * f, 3.2 * f),
            "thigh": _tube(grid, _shifted(side["thigh"], sign), 5.2 * f, 4.0 * f),
        }
        arteries += artery.values()
        veins += vein.values()
        external += [artery["external"], vein["external"]]
        pelvic += [t[name] for t in (artery, vein) for name in ("common", "external", "internal")]
    aorta = ((1.0, -29.0, top - 1), (2.0, -29.0, top + 30), (3.0, -29.0, 240.0))
    cava = ((-12.0, -17.0, top - 14), (-17.0, -20.0, top + 20), (-18.0, -22.0, 240.0))
    arteries.append(_tube(grid, aorta, 8.5, 9.0))
    veins.append(_tube(grid, cava, 9.5, 11.0))
    return Vessels(
        arteries=join(arteries, 2.0),
        veins=join(veins, 2.0),
        external=join(external),
        pelvic=join(pelvic),
        nodes=_nodes(grid, anatomy, paths, rng),
    )


def _side_paths(sign: int, top: float, rng: np.random.Generator) -> dict[str, tuple[Point, ...]]:
    fork = np.array([31.0, 2.0, 100.0]) + rng.normal(0, [2, 2, 4])
    start = np.array([5.0, -28.0, top])
    middle = (start + fork) / 2 + np.array([1.0, 1.0, 0]) + rng.normal(0, 1.5, 3)
    sway = rng.normal(0, 2.0, 3)
    external = _bent(EXTERNAL, fork, sway, rng)
    return {
        "common": _mirrored([start, middle, fork], sign),
        "external": _mirrored(external, sign),
        "internal": _mirrored(_bent(INTERNAL, fork, rng.normal(0, 2.0, 3), rng), sign),
        "thigh": _mirrored([external[-1], *np.asarray(THIGH[1:], float)], sign),
    }


def _bent(
    path: tuple[Point, ...],
    fork: np.ndarray,
    sway: np.ndarray,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    nodes = [np.asarray(node, float) + sway + rng.normal(0, 1.2, 3) for node in path[1:]]
    return [fork, *nodes]


def _mirrored(nodes: list[np.ndarray], sign: int) -> tuple[Point, ...]:
    return tuple((float(sign * n[0]), float(n[1]), float(n[2])) for n in nodes)


def _shifted(path: tuple[Point, ...], sign: int) -> tuple[Point, ...]:
    dx, dy, dz = VEIN_OFFSET
    return tuple((x + sign * dx, y + dy, z + dz) for x, y, z in path)


def _common_vein(sign: int, top: float, artery: tuple[Point, ...]) -> tuple[Point, ...]:
    end = _shifted(artery, sign)[-1]
    start = (-10.0, -14.0, top - 12)
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 - 3, (start[2] + end[2]) / 2 + 3)
    return start, middle, end


def _tube(grid: Grid, path: tuple[Point, ...], radius: float, end_radius: float) -> Field:
    radii = np.linspace(radius, end_radius, len(path))
    xs, ys, zs = np.asarray(path).T
    low = (xs.min() - radius, ys.min() - radius, zs.min() - radius)
    high = (xs.max() + radius, ys.max() + radius, zs.max() + radius)
    return grid.evaluate(low, high, lambda p: tube(p, path, list(radii), 2))


def _nodes(
    grid: Grid, anatomy: Anatomy, paths: list[tuple[Point, ...]], rng: np.random.Generator
) -> Field:
    parameters = anatomy.vessels
    radii = list(rng.uniform(1.8, 4.0, parameters.node_count))
    if parameters.large_node_radius is not None:
        radii.append(parameters.large_node_radius)
    fields = []
    for radius in radii:
        path = np.asarray(paths[int(rng.integers(len(paths)))])
        i = int(rng.integers(len(path) - 1))
        t = rng.random()
        spot = path[i] * (1 - t) + path[i + 1] * t
        angle = rng.uniform(0, 2 * np.pi)
        away = 5.5 + radius + rng.uniform(0, 2)
        spot = spot + away * np.array([np.cos(angle), np.sin(angle), 0])
        fields.append(_node(grid, spot, radius, float(rng.uniform(1.0, 1.7))))
    return join(fields)


def _node(grid: Grid, spot: np.ndarray, radius: float, elongation: float) -> Field:
    centre = (float(spot[0]), float(spot[1]), float(max(spot[2], EXTERNAL_END + 6)))
    radii = (radius, radius, radius * elongation)
    low = tuple(c - r for c, r in zip(centre, radii, strict=True))
    high = tuple(c + r for c, r in zip(centre, radii, strict=True))

    def solid(p: Points) -> Distances:
        return superellipsoid(p, centre, radii)

    return grid.evaluate((low[0], low[1], low[2]), (high[0], high[1], high[2]), solid)
