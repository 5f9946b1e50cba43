"""The four structures as contouring rules over anatomy: what a radiation oncologist outlines.

Reference: nodal CTV after Taylor et al. 2005 (7 mm around vessels, obturator and presacral
strips, bone and muscle excluded); primary CTV as uterus, cervix, tumour, parametria and upper
vagina.
"""

import numpy as np

from ml.arrays import LabelVolume
from ml.phantom.anatomy import Anatomy
from ml.phantom.grid import Field, Grid, cut, grown, join, spread
from ml.phantom.shapes import Distances, Points, smooth_union
from ml.phantom.skeleton import sacrum_front_y
from ml.phantom.tissue import Solids, upsample
from ml.phantom.vessels import EXTERNAL_END
from ml.structures import CERVIX

VESSEL_MARGIN = 7.0
NODE_MARGIN = 3.0
OBTURATOR_STRIP = 17.0
EXTERNAL_MARGIN = 10.0
PRESACRAL_STRIP = 10.0
OBTURATOR_Z = (-2.0, 36.0)
PRESACRAL_Z = (52.0, 98.0)


def structure_fields(grid: Grid, anatomy: Anatomy, solids: Solids) -> dict[str, Field]:
    """Return the outlined solids by structure name; they may still overlap."""
    organs = solids.organs
    hard = [solids.skeleton.everything, solids.skeleton.cartilage, solids.tissue.muscle]
    ctv_uv = cut(_primary(anatomy, solids), [*hard, organs.bladder, organs.rectum])
    ctv_n = cut(_nodal(grid, anatomy, solids), [*hard, organs.bladder, organs.rectum])
    return {
        "Bladder": organs.bladder,
        "Rectum": organs.rectum,
        "CTV-UV": ctv_uv,
        "CTV-N": ctv_n,
    }


def label_volume(grid: Grid, fields: dict[str, Field], sub_slices: int, factor: int) -> LabelVolume:
    """Return disjoint label values on the image's grid; where two meet, priority decides."""
    slices, rows, columns = grid.shape
    labels = np.zeros((slices // sub_slices, rows * factor, columns * factor), np.uint8)
    for structure in sorted(CERVIX.structures, key=lambda s: -s.priority):
        field = fields[structure.name]
        box = (grid.whole[0], *field.box[1:])
        distances = spread(field, (box[0], box[1], box[2]))
        merged = distances.reshape(-1, sub_slices, *distances.shape[1:]).mean(axis=1)
        inside = upsample(merged, factor) < 0
        target = (
            slice(None),
            *(slice(s.start * factor, s.stop * factor) for s in box[1:]),
        )
        labels[target][inside] = structure.number
    return labels


def _primary(anatomy: Anatomy, solids: Solids) -> Field:
    organs = solids.organs
    parts = [organs.uterus, organs.upper_vagina, organs.parametria]
    parts += [organs.tumour] if organs.tumour else []
    return grown(join(parts, 3.0), anatomy.uterus.margin)


def _nodal(grid: Grid, anatomy: Anatomy, solids: Solids) -> Field:
    vessels = solids.vessels
    box = grid.box((-75, -75, -10), (75, 80, anatomy.nodal_top))
    points = grid.at(box)
    around = smooth_union(
        spread(vessels.pelvic, box) - np.float32(VESSEL_MARGIN),
        spread(vessels.nodes, box) - np.float32(NODE_MARGIN),
        4.0,
    )
    external = _shifted_external(grid, vessels.external, box)
    around = np.minimum(around, external)
    around = np.maximum(around, np.float32(EXTERNAL_END) - points.z)
    result = smooth_union(around, _obturator(points, spread(solids.tissue.cavity, box)), 8.0)
    result = np.minimum(result, _presacral(points))
    result = np.maximum(result, points.z - np.float32(anatomy.nodal_top))
    field = Field(box=box, distances=result)
    return cut(field, [solids.bowel.small, solids.bowel.colon, solids.bowel.sigmoid])


def _shifted_external(grid: Grid, external: Field, box: tuple[slice, slice, slice]) -> Distances:
    # 10 mm instead of 7 in front and to the side: the anterolateral external iliac nodes.
    points = grid.at(box)
    wide = spread(external, box) - np.float32(EXTERNAL_MARGIN)
    return np.maximum(wide, points.z - 60)


def _obturator(points: Points, cavity: Distances) -> Distances:
    strip = np.maximum(cavity, -cavity - np.float32(OBTURATOR_STRIP))
    low, high = OBTURATOR_Z
    ends = np.maximum(low - points.z, points.z - high)
    sides = np.maximum(np.float32(20) - np.abs(points.x), np.abs(points.y + 4) - 36)
    return np.maximum(np.maximum(strip, ends), sides)


def _presacral(points: Points) -> Distances:
    slope = np.float32(0.66)  # cosine of the sacrum's inclination: depth across, not along y
    depth = (sacrum_front_y(points.z) + 3 - points.y) * slope
    strip = np.maximum(depth - np.float32(PRESACRAL_STRIP + 3), -depth - 4)
    low, high = PRESACRAL_Z
    ends = np.maximum(low - points.z, points.z - high)
    return np.maximum(np.maximum(strip, ends), np.abs(points.x) - 38)
