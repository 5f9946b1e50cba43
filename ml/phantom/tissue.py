"""Hounsfield units: what every tissue of one phantom looks like, and painting it.

Means vary between patients, texture varies within a tissue; both follow published values.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from ml.phantom.anatomy import Anatomy, RectalContent
from ml.phantom.bowel import Bowel
from ml.phantom.grid import Box, Field, Grid, common, grown, smooth_noise
from ml.phantom.organs import Organs, rectum_axis_y
from ml.phantom.shapes import Distances, FinerDistances
from ml.phantom.skeleton import Skeleton
from ml.phantom.soft_tissue import SoftTissue
from ml.phantom.vessels import Vessels

AIR_HU = -1000.0
GAS_HU = -950.0
LARGEST_HU = 3071
RANDOM_TEXTURE = (5 / 255, 25 / 255)
"""Texture of random tissues as a share of their range. Reference: SynthSeg."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomContrast:
    """Random textures and a curve over the painted picture."""

    range_hu: tuple[float, float]
    """The curve leaves both ends, and all beyond, where they are."""
    gamma: float
    texture_seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TissueParameters:
    """Mean Hounsfield units of one patient."""

    fat: float
    visceral_fat: float
    muscle: float
    urine: float
    layered_contrast: float | None
    """HU of excreted contrast that settled at the back of the bladder."""
    wall: float
    uterus: float
    tumour: float
    parametrium: float
    artery: float
    vein: float
    node: float
    cortical: float
    cancellous: float
    cartilage: float
    stool: float
    bowel_content: float
    colon_content: float
    intravenous_contrast: bool
    oral_contrast: bool
    random: RandomContrast | None = None
    """Set when the means above are no tissue's own."""


def sample_tissue(rng: np.random.Generator, *, contrast: bool = True) -> TissueParameters:
    """Draw the Hounsfield units of a patient, with intravenous contrast in half of them.

    Args:
        rng: All values are drawn whatever the contrast, so that nothing else changes with it.
        contrast: Whether contrast is given at all.
    """
    enhanced = bool(rng.random() < 0.5) and contrast
    oral = bool(rng.random() < 0.25) and contrast
    muscle = float(rng.normal(50, 5)) * (1.15 if enhanced else 1.0)
    plain, bright = float(rng.normal(50, 7)), float(rng.normal(92, 9))
    uterus = bright if enhanced else plain
    vessel, artery = float(rng.normal(42, 4)), float(rng.normal(160, 25))
    vein, layer = float(rng.normal(130, 20)), float(rng.uniform(100, 350))
    layered = bool(rng.random() < 0.2) and enhanced
    bowel, opaque = float(rng.uniform(5, 28)), float(rng.uniform(150, 350))
    fat = float(np.clip(rng.normal(-106, 6), -120, -92))
    return TissueParameters(
        fat=fat,
        visceral_fat=fat + float(rng.uniform(0, 8)),
        muscle=float(np.clip(muscle, 36, 64)),
        urine=float(rng.normal(5, 4)),
        layered_contrast=layer if layered else None,
        wall=float(rng.normal(40, 5)) + (12 if enhanced else 0),
        uterus=uterus,
        tumour=uterus + float(rng.uniform(-12, 8)),
        parametrium=float(rng.uniform(-35, 5)),
        artery=artery if enhanced else vessel,
        vein=vein if enhanced else vessel,
        node=muscle + float(rng.normal(0, 8)),
        cortical=float(np.clip(rng.normal(850, 150), 550, 1200)),
        cancellous=float(np.clip(rng.normal(230, 45), 170, 340)),
        cartilage=float(rng.normal(90, 12)),
        stool=float(rng.normal(15, 22)),
        bowel_content=opaque if oral else bowel,
        colon_content=float(rng.normal(5, 25)),
        intravenous_contrast=enhanced,
        oral_contrast=oral,
    )


class Painter:
    """A picture into which solids are painted one over another, with partial volume."""

    def __init__(
        self,
        grid: Grid,
        factor: int,
        scale: float,
        rng: np.random.Generator,
        random: RandomContrast | None = None,
    ) -> None:
        self._factor = factor
        self._random = random
        self._textures = np.random.default_rng(random.texture_seed) if random else None
        self._edge = scale / float(np.diff(grid.axes_mm[0][:2])[0]) * factor
        slices, rows, columns = grid.shape
        self.image = np.full((slices, rows * factor, columns * factor), AIR_HU, np.float32)
        pixel = float(np.diff(grid.axes_mm[0][:2])[0])
        self.texture = _texture(rng, grid.shape, pixel)
        self._fine = upsample(self.texture, factor)

    def paint(self, field: Field, hu: float, texture_sd: float = 0.0) -> None:
        """Cover a solid with a mean and a texture in HU."""
        if 0 in field.distances.shape:
            return
        if self._random and self._textures and texture_sd > 0:
            texture_sd = _random_texture(self._random, self._textures)
        distances = upsample(field.distances, self._factor)
        cover = np.clip(np.float32(0.5) - distances * np.float32(self._edge), 0, 1)
        box = (
            field.box[0],
            *(slice(s.start * self._factor, s.stop * self._factor) for s in field.box[1:]),
        )
        target = self.image[box]
        value = self._fine[box] * np.float32(texture_sd) + np.float32(hu)
        target += cover * (value - target)

    def apply_curve(self) -> None:
        """Bend the picture's grey values with the gamma of random contrast, if it has one."""
        if self._random is None:
            return
        low, high = (np.float32(v) for v in self._random.range_hu)
        inside = (self.image > low) & (self.image < high)
        share = (self.image[inside] - low) / (high - low)
        self.image[inside] = low + (high - low) * share ** np.float32(self._random.gamma)


def _random_texture(random: RandomContrast, rng: np.random.Generator) -> float:
    low, high = random.range_hu
    return float(rng.uniform(*RANDOM_TEXTURE)) * (high - low)


def upsample(values: Distances, factor: int) -> FinerDistances:
    """Return values on pixels half the size (factor 2, linear) or as they are (factor 1)."""
    if factor == 1:
        return values
    for axis in (1, 2):
        size = values.shape[axis]
        before = np.take(values, np.maximum(np.arange(size) - 1, 0), axis)
        after = np.take(values, np.minimum(np.arange(size) + 1, size - 1), axis)
        shape = list(values.shape)
        shape[axis] *= 2
        finer = np.empty(shape, np.float32)
        even: list[slice] = [slice(None)] * 3
        odd: list[slice] = [slice(None)] * 3
        even[axis], odd[axis] = slice(0, None, 2), slice(1, None, 2)
        near = values * np.float32(0.75)
        finer[tuple(even)] = near + np.float32(0.25) * before
        finer[tuple(odd)] = near + np.float32(0.25) * after
        values = finer
    return values


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Solids:
    """Everything a phantom is made of."""

    skeleton: Skeleton
    tissue: SoftTissue
    vessels: Vessels
    organs: Organs
    bowel: Bowel


def paint_all(
    painter: Painter,
    grid: Grid,
    anatomy: Anatomy,
    solids: Solids,
    hu: TissueParameters,
    rng: np.random.Generator,
) -> None:
    """Paint a patient on a couch, from the outside in."""
    tissue = solids.tissue
    _paint_couch(painter, grid, anatomy)
    painter.paint(tissue.body, 15.0, 5.0)
    painter.paint(grown(tissue.body, -2.0), hu.fat, 7.0)
    painter.paint(common(tissue.cavity, [grown(tissue.body, -2.0)]), hu.visceral_fat, 9.0)
    painter.paint(tissue.muscle, hu.muscle, 9.0)
    _paint_bowel(painter, grid, solids.bowel, hu, rng)
    _paint_genital(painter, solids.organs, hu)
    _paint_rectum(painter, grid, anatomy, solids.organs, hu, rng)
    _paint_bladder(painter, grid, solids.organs, hu, anatomy)
    painter.paint(solids.vessels.veins, hu.vein, 3.0)
    painter.paint(solids.vessels.arteries, hu.artery, 3.0)
    painter.paint(solids.vessels.nodes, hu.node, 4.0)
    _paint_bones(painter, solids.skeleton, hu)


def _paint_couch(painter: Painter, grid: Grid, anatomy: Anatomy) -> None:
    body, placement = anatomy.body, anatomy.placement
    back = 108 * body.envelope_scale[2] + body.fat_posterior
    top = placement.shift_mm[1] + back * placement.scale[1] + 3 * placement.warp_sd_mm - 2
    x, y, _ = grid.axes_mm
    depth = np.maximum(
        np.maximum(top - y, y - top - 45)[None, :, None], (np.abs(x) - 262)[None, None, :]
    )
    slab = np.broadcast_to(depth.astype(np.float32), grid.shape)
    couch = Field(box=grid.whole, distances=slab)
    painter.paint(couch, -120.0)
    painter.paint(grown(couch, -2.5), -930.0)


def _paint_bones(painter: Painter, bones: Skeleton, hu: TissueParameters) -> None:
    painter.paint(bones.cartilage, hu.cartilage, 6.0)
    shells = ((bones.vertebrae, 1.4), (bones.sacrum, 1.5), (bones.pelvis, 1.7), (bones.femur, 1.8))
    for bone, shell in shells:
        painter.paint(bone, hu.cortical, 50.0)
        painter.paint(grown(bone, -shell), hu.cancellous, 40.0)
    painter.paint(bones.canal, 25.0, 5.0)


def _paint_genital(painter: Painter, organs: Organs, hu: TissueParameters) -> None:
    painter.paint(organs.parametria, hu.parametrium, 22.0)
    painter.paint(organs.vagina, hu.wall, 5.0)
    painter.paint(organs.uterus, hu.uterus, 7.0)
    if organs.cavity_line:
        painter.paint(organs.cavity_line, hu.uterus - 14, 3.0)
    if organs.tumour:
        painter.paint(organs.tumour, hu.tumour, 8.0)
    painter.paint(organs.urethra, hu.wall, 4.0)
    painter.paint(organs.anal_canal, hu.wall + 8, 5.0)


def _paint_bladder(
    painter: Painter, grid: Grid, organs: Organs, hu: TissueParameters, anatomy: Anatomy
) -> None:
    thickness = 4.5 if anatomy.bladder.volume_ml < 100 else 3.0
    painter.paint(organs.bladder, hu.wall, 4.0)
    lumen = grown(organs.bladder, -thickness)
    painter.paint(lumen, hu.urine, 2.0)
    if hu.layered_contrast is not None:
        level = np.float32(-12) - grid.at(lumen.box).y
        layer = Field(box=lumen.box, distances=np.maximum(lumen.distances, level))
        painter.paint(layer, hu.layered_contrast, 6.0)


def _paint_rectum(
    painter: Painter,
    grid: Grid,
    anatomy: Anatomy,
    organs: Organs,
    hu: TissueParameters,
    rng: np.random.Generator,
) -> None:
    parameters = anatomy.rectum
    painter.paint(organs.rectum, hu.wall, 5.0)
    lumen = grown(organs.rectum, -parameters.wall)
    points = grid.at(lumen.box)
    if parameters.content is RectalContent.COLLAPSED:
        painter.paint(grown(lumen, -2.0), hu.wall - 18, 6.0)
        return
    content = hu.stool if parameters.content is not RectalContent.FLUID else 12.0
    solid = parameters.content is RectalContent.STOOL
    painter.paint(lumen, content, 16.0 if solid else 4.0)
    wave = smooth_noise(rng, _axes(grid, lumen.box), 22.0)
    if parameters.content is RectalContent.GAS:
        level = (parameters.gas_level + np.float32(0.5) * wave) * np.float32(11)
        depth = points.y - rectum_axis_y(anatomy, points.z) - level
        painter.paint(
            Field(box=lumen.box, distances=np.maximum(lumen.distances, depth)), GAS_HU, 5.0
        )
    elif solid:
        _paint_bubbles(painter, grown(lumen, -1.5), float(rng.uniform(0.9, 1.8)))


def _paint_bubbles(painter: Painter, lumen: Field, threshold: float) -> None:
    bubbles = (np.float32(threshold) - painter.texture[lumen.box]) * 3
    painter.paint(Field(box=lumen.box, distances=np.maximum(lumen.distances, bubbles)), -700.0)


def _paint_bowel(
    painter: Painter, grid: Grid, bowel: Bowel, hu: TissueParameters, rng: np.random.Generator
) -> None:
    for field, content, gas in (
        (bowel.small, hu.bowel_content, 1.9),
        (bowel.colon, hu.colon_content, 0.7),
    ):
        painter.paint(field, hu.wall + 2, 6.0)
        lumen = grown(field, -2.5)
        painter.paint(lumen, content, 8.0)
        wave = smooth_noise(rng, _axes(grid, lumen.box), 26.0)
        pocket = np.maximum(lumen.distances, (np.float32(gas) - wave) * 8)
        painter.paint(Field(box=lumen.box, distances=pocket), GAS_HU)
    painter.paint(bowel.sigmoid, hu.wall, 6.0)
    lumen = grown(bowel.sigmoid, -3.5)
    painter.paint(lumen, hu.stool, 14.0)
    _paint_bubbles(painter, lumen, 1.0)


def _texture(rng: np.random.Generator, shape: tuple[int, int, int], pixel_mm: float) -> Distances:
    fine = gaussian_filter(
        rng.standard_normal(shape, np.float32), [0.7, 2 / pixel_mm, 2 / pixel_mm]
    )
    wide = gaussian_filter(rng.standard_normal(shape, np.float32), [2, 6 / pixel_mm, 6 / pixel_mm])
    mixed = fine / fine.std() + wide / wide.std()
    return (mixed / mixed.std()).astype(np.float32)


def _axes(grid: Grid, box: Box) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, y, z = grid.axes_mm
    return x[box[2]], y[box[1]], z[box[0]]
