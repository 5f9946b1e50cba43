"""Phantoms by seed: a synthetic pelvic CT with the four structures outlined."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ml.arrays import LabelVolume
from ml.geometry import LEFT, POSTERIOR, Volume, VolumeGeometry
from ml.phantom.acquisition import (
    Acquisition,
    PhantomTier,
    lattice_axes,
    sample_acquisition,
    scan,
)
from ml.phantom.anatomy import Anatomy, sample_anatomy
from ml.phantom.bowel import build_bowel
from ml.phantom.grid import Grid, make_grid
from ml.phantom.labels import label_volume, structure_fields
from ml.phantom.metal import LINER_HU, METAL_HU, build_implants, metal_artefacts
from ml.phantom.organs import Surroundings, build_organs
from ml.phantom.skeleton import build_skeleton
from ml.phantom.soft_tissue import build_soft_tissue
from ml.phantom.tissue import Painter, Solids, TissueParameters, paint_all, sample_tissue
from ml.phantom.variants import THIN_SLICE_MM, PhantomVariant, vary_anatomy, vary_tissue
from ml.phantom.vessels import build_vessels

GENERATOR_VERSION = "2"
"""Changes whenever a seed gives other pixels or labels than before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PhantomSpec:
    """Which phantom, and how finely sampled."""

    seed: int
    tier: PhantomTier = PhantomTier.FULL
    variant: PhantomVariant = PhantomVariant.STANDARD
    """What it differs in from the phantom of the same seed in the training distribution."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Phantom:
    """A synthetic CT with its truth."""

    spec: PhantomSpec
    volume: Volume
    """Head first, supine: LPS axes, slices towards superior."""
    labels: LabelVolume
    """Structure numbers of ml.structures.CERVIX on the volume's grid; 0 is background."""
    anatomy: Anatomy
    tissue: TissueParameters
    acquisition: Acquisition
    generator_version: str = GENERATOR_VERSION


def generate_phantom(spec: PhantomSpec) -> Phantom:
    """Make the phantom of a seed: equal specs give equal arrays."""
    streams = _Streams(*np.random.default_rng(spec.seed).spawn(8))
    anatomy = vary_anatomy(spec.variant, sample_anatomy(streams.anatomy), streams.variant)
    contrast = spec.variant is not PhantomVariant.NO_CONTRAST
    tissue = vary_tissue(
        spec.variant, sample_tissue(streams.tissue, contrast=contrast), streams.variant
    )
    thickness = THIN_SLICE_MM if spec.variant is PhantomVariant.THIN_SLICES else None
    acquisition = sample_acquisition(
        streams.acquisition, spec.tier, anatomy.placement.scale[2], thickness
    )
    # Shapes are smooth: a full image evaluates them at half its resolution and interpolates.
    factor = 2 if spec.tier is PhantomTier.FULL else 1
    grid = make_grid(lattice_axes(acquisition, factor), anatomy.placement, streams.shapes)
    solids = _build_solids(grid, anatomy, streams)
    painter = Painter(grid, factor, anatomy.scale, streams.texture, tissue.random)
    paint_all(painter, grid, anatomy, solids, tissue, streams.shapes)
    painter.apply_curve()
    implants = build_implants(grid, anatomy)
    for metal, liner in implants:
        painter.paint(liner, LINER_HU)
        painter.paint(metal, METAL_HU)
    metals = [metal for metal, _ in implants]
    artefacts = metal_artefacts(grid, acquisition, metals, streams.variant) if metals else None
    fields = structure_fields(grid, anatomy, solids)
    return Phantom(
        spec=spec,
        volume=Volume(
            hu=scan(painter.image, acquisition, anatomy.placement, streams.noise, artefacts),
            geometry=_geometry(acquisition),
        ),
        labels=label_volume(grid, fields, acquisition.sub_slices, factor),
        anatomy=anatomy,
        tissue=tissue,
        acquisition=acquisition,
    )


class _Streams(NamedTuple):
    """A generator for each step, so that a variant's step disturbs no other one."""

    anatomy: np.random.Generator
    tissue: np.random.Generator
    acquisition: np.random.Generator
    shapes: np.random.Generator
    texture: np.random.Generator
    noise: np.random.Generator
    tumour: np.random.Generator
    variant: np.random.Generator


def _build_solids(grid: Grid, anatomy: Anatomy, streams: _Streams) -> Solids:
    skeleton = build_skeleton(grid, anatomy)
    soft = build_soft_tissue(grid, anatomy, streams.shapes)
    vessels = build_vessels(grid, anatomy)
    around = Surroundings(
        bones=skeleton.everything, muscle=soft.muscle, psoas=soft.psoas, vessels=vessels.pelvic
    )
    organs = build_organs(grid, anatomy, around, streams.tumour)
    return Solids(
        skeleton=skeleton,
        tissue=soft,
        vessels=vessels,
        organs=organs,
        bowel=build_bowel(grid, anatomy, soft, organs, vessels),
    )


def _geometry(acquisition: Acquisition) -> VolumeGeometry:
    x, y, _ = lattice_axes(acquisition, 1)
    first = np.array([x[0], y[0], 0.0]) + np.asarray(acquisition.origin_mm)
    positions = np.tile(first, (len(acquisition.slice_positions_mm), 1))
    positions[:, 2] += np.asarray(acquisition.slice_positions_mm)
    return VolumeGeometry(
        rows=acquisition.matrix,
        columns=acquisition.matrix,
        pixel_spacing_mm=(acquisition.pixel_mm, acquisition.pixel_mm),
        row_direction=LEFT,
        column_direction=POSTERIOR,
        # DICOM decimal strings keep 16 characters; a tenth of a micrometre survives them.
        slice_positions_mm=np.round(positions, 4),
    )
