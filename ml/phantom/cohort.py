"""Phantoms by seed: a synthetic pelvic CT with the four structures outlined."""

from dataclasses import dataclass

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
from ml.phantom.organs import Surroundings, build_organs
from ml.phantom.skeleton import build_skeleton
from ml.phantom.soft_tissue import build_soft_tissue
from ml.phantom.tissue import Painter, Solids, TissueParameters, paint_all, sample_tissue
from ml.phantom.vessels import build_vessels

GENERATOR_VERSION = "1"
"""Changes whenever a seed gives other pixels or labels than before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PhantomSpec:
    """Which phantom, and how finely sampled."""

    seed: int
    tier: PhantomTier = PhantomTier.FULL


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
    streams = np.random.default_rng(spec.seed).spawn(6)
    anatomy = sample_anatomy(streams[0])
    tissue = sample_tissue(streams[1])
    acquisition = sample_acquisition(streams[2], spec.tier, anatomy.placement.scale[2])
    # Shapes are smooth: a full image evaluates them at half its resolution and interpolates.
    factor = 2 if spec.tier is PhantomTier.FULL else 1
    grid = make_grid(lattice_axes(acquisition, factor), anatomy.placement, streams[3])
    solids = _build_solids(grid, anatomy, streams[3])
    painter = Painter(grid, factor, anatomy.scale, streams[4])
    paint_all(painter, grid, anatomy, solids, tissue, streams[3])
    fields = structure_fields(grid, anatomy, solids)
    hu = scan(painter.image, acquisition, anatomy.placement, streams[5])
    return Phantom(
        spec=spec,
        volume=Volume(hu=hu, geometry=_geometry(acquisition)),
        labels=label_volume(grid, fields, acquisition.sub_slices, factor),
        anatomy=anatomy,
        tissue=tissue,
        acquisition=acquisition,
    )


def _build_solids(grid: Grid, anatomy: Anatomy, rng: np.random.Generator) -> Solids:
    skeleton = build_skeleton(grid, anatomy)
    soft = build_soft_tissue(grid, anatomy, rng)
    vessels = build_vessels(grid, anatomy)
    around = Surroundings(
        bones=skeleton.everything, muscle=soft.muscle, psoas=soft.psoas, vessels=vessels.pelvic
    )
    organs = build_organs(grid, anatomy, around, rng)
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
