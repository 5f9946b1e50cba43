"""Small bowel, colon and sigmoid: what fills the cavity and resembles the structures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml.phantom.anatomy import Anatomy
from ml.phantom.grid import Field, Grid, common, cut, grown, join
from ml.phantom.organs import Organs, rectum_course
from ml.phantom.shapes import Number, Point, tube
from ml.phantom.soft_tissue import SoftTissue
from ml.phantom.vessels import Vessels


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Bowel:
    """Outer surfaces of the bowel."""

    small: Field
    colon: Field
    sigmoid: Field


def build_bowel(
    grid: Grid, anatomy: Anatomy, tissue: SoftTissue, organs: Organs, vessels: Vessels
) -> Bowel:
    """Return bowel that gives way to every organ and to the fat around vessels."""
    rng = np.random.default_rng(anatomy.bowel_seed)
    inside = grown(tissue.cavity, -4.0)
    genital = [organs.bladder, organs.uterus] + ([organs.tumour] if organs.tumour else [])
    keep_clear = [(join(genital), 3.0), (organs.rectum, 9.0), (vessels.pelvic, 7.5)]
    keep_clear += [(tissue.psoas, 2.0), (join([vessels.arteries, vessels.veins]), 3.0)]
    keep_clear.append((organs.parametria, 1.5))

    def fit(field: Field) -> Field:
        result = common(field, [inside])
        for other, margin in keep_clear:
            result = cut(result, [other], margin)
        return result

    loops = [_loop(grid, rng) for _ in range(anatomy.bowel_loops)]
    small = loops[0]
    for loop in loops[1:]:
        # Neighbouring loops keep their own walls: each takes only the room the others left.
        small = join([small, cut(loop, [small], 2.0)])
    sigmoid = _sigmoid(grid, anatomy, organs)
    sigmoid = common(sigmoid, [inside])
    sigmoid = cut(sigmoid, [join(genital)], 2.0)
    sigmoid = cut(cut(sigmoid, [vessels.pelvic], 4.0), [organs.rectum], 0.0)
    colon = fit(join([_right_colon(grid, rng), _left_colon(grid, rng)]))
    small = cut(cut(fit(small), [colon], 2.0), [sigmoid], 4.0)
    return Bowel(small=small, colon=colon, sigmoid=sigmoid)


def _loop(grid: Grid, rng: np.random.Generator) -> Field:
    start = np.array([rng.uniform(-75, 75), rng.uniform(-72, 0), rng.uniform(50, 185)])
    path = [start]
    for _ in range(3):
        step = rng.normal(0, [24, 14, 14])
        path.append(np.clip(path[-1] + step, [-90, -75, 48], [90, 15, 210]))
    radius = float(rng.uniform(8, 13))
    return _tube(grid, path, [radius * float(rng.uniform(0.85, 1.15)) for _ in path])


def _sigmoid(grid: Grid, anatomy: Anatomy, organs: Organs) -> Field:
    radius = float(rectum_course(anatomy)[1][-1])
    path = [np.asarray(node) for node in organs.colon_path]
    return _tube(grid, path, [radius, radius * 0.95, 13, 12, 12])


def _right_colon(grid: Grid, rng: np.random.Generator) -> Field:
    x = rng.uniform(-88, -74)
    bottom = rng.uniform(72, 100)
    path = [
        np.array([x + 8, -28, bottom]),
        np.array([x, -22, bottom + 35]),
        np.array([x, -10, 230]),
    ]
    return _tube(grid, path, [20, 24, 22])


def _left_colon(grid: Grid, rng: np.random.Generator) -> Field:
    x = rng.uniform(80, 94)
    path = [np.array([x - 4, -6, 105]), np.array([x, 2, 140]), np.array([x + 2, 8, 230])]
    return _tube(grid, path, [13, 14, 14])


def _tube(grid: Grid, path: list[np.ndarray], radii: Sequence[Number]) -> Field:
    nodes = np.asarray(path)
    reach = max(radii) + 6
    points: tuple[Point, ...] = tuple((float(x), float(y), float(z)) for x, y, z in nodes)
    low, high = nodes.min(0) - reach, nodes.max(0) + reach
    return grid.evaluate(
        (float(low[0]), float(low[1]), float(low[2])),
        (float(high[0]), float(high[1]), float(high[2])),
        lambda p: tube(p, points, radii, 2),
    )
