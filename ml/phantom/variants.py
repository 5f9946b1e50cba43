"""Held-out kinds of phantoms: each leaves the training distribution in one named way.

Reference: the out-of-distribution sets of the project's science notes.
"""

import dataclasses
from collections.abc import Callable
from enum import StrEnum

import numpy as np

from ml.phantom.anatomy import LARGEST_ENVELOPE, Anatomy, UterusPosition
from ml.phantom.tissue import RandomContrast, TissueParameters

THIN_SLICE_MM = 2.5
SMALL_FIELD_MM = 20.0
RANDOM_LEVELS = (25.0, 225.0)
"""Means of random tissues, of 255 levels. Reference: SynthSeg, Billot et al. 2023."""
LEVELS = 255.0
RANDOM_HU = (-150.0, 250.0)
"""Hounsfield units of the levels 0 and 255: the window in which pelves are read."""
GAMMA_SD = 0.5
FIXED_TISSUE = ("intravenous_contrast", "oral_contrast", "random", "layered_contrast")


class PhantomVariant(StrEnum):
    """What a phantom differs in from the one of the same seed in the training distribution."""

    STANDARD = "standard"
    """The training distribution: a fifth after hysterectomy, a fifth of the other uteri
    retroverted, half with intravenous and a quarter with oral contrast, bladders drawn from 85 to
    560 ml, bodies up to 425 mm wide, slices of 5 and 3 mm, no metal."""
    POST_OPERATIVE = "post-operative"
    """No uterus, only the cuff: a fifth of the training distribution, here all."""
    RETROVERTED = "retroverted"
    """Uterine body bent backwards: a sixth of the training distribution, here all."""
    METAL_HIP = "metal-hip"
    """One hip, or both, replaced: streaks, a dark band and photon starvation at the femoral
    heads; never in the training distribution."""
    NO_CONTRAST = "no-contrast"
    """Neither intravenous nor oral contrast: three eighths of the training distribution."""
    OBESE = "obese"
    """Bodies wider than 430 mm, which may exceed the field of view; never in the training
    distribution."""
    EMPTY_BLADDER = "empty-bladder"
    """Bladders below 80 ml; never in the training distribution but for what organs around the
    bladder take from it."""
    THIN_SLICES = "thin-slices"
    """Slices of 2.5 mm (in the tier tiny too, which then has more than 16); never in the training
    distribution. Noise per slice stays as it is."""
    SMALL_FIELD = "small-field"
    """CTV-N contoured to 20 mm below the bifurcation: equal pixels, another protocol; never in
    the training distribution, and not to be seen in the picture."""
    RANDOM_CONTRAST = "random-contrast"
    """Every tissue of random mean and texture, then a gamma curve: no tissue is known by its
    HU. Air and gas keep theirs."""


def vary_anatomy(variant: PhantomVariant, anatomy: Anatomy, rng: np.random.Generator) -> Anatomy:
    """Return the patient of a variant; whatever it does not name stays as drawn."""
    change = _CHANGES.get(variant)
    return anatomy if change is None else change(anatomy, rng)


def vary_tissue(
    variant: PhantomVariant, tissue: TissueParameters, rng: np.random.Generator
) -> TissueParameters:
    """Return the tissues of a variant: random ones, or as drawn."""
    if variant is not PhantomVariant.RANDOM_CONTRAST:
        return tissue
    low, high = RANDOM_HU
    names = [f.name for f in dataclasses.fields(tissue) if f.name not in FIXED_TISSUE]
    levels = rng.uniform(*RANDOM_LEVELS, len(names)) / LEVELS
    means = {n: float(low + (high - low) * v) for n, v in zip(names, levels, strict=True)}
    random = RandomContrast(
        range_hu=RANDOM_HU,
        gamma=float(np.exp(np.clip(rng.normal(0, GAMMA_SD), -1, 1))),
        texture_seed=int(rng.integers(2**31)),
    )
    return dataclasses.replace(tissue, **means, layered_contrast=None, random=random)


def _post_operative(anatomy: Anatomy, _: np.random.Generator) -> Anatomy:
    uterus = dataclasses.replace(
        anatomy.uterus, position=UterusPosition.ABSENT, tumour_radius=None, fibroid_radius=None
    )
    return dataclasses.replace(anatomy, uterus=uterus)


def _retroverted(anatomy: Anatomy, _: np.random.Generator) -> Anatomy:
    uterus = dataclasses.replace(anatomy.uterus, position=UterusPosition.RETROVERTED)
    return dataclasses.replace(anatomy, uterus=uterus)


def _with_metal_hip(anatomy: Anatomy, rng: np.random.Generator) -> Anatomy:
    sides = ((-1,), (1,), (-1, 1))[int(rng.choice(3, p=[0.375, 0.375, 0.25]))]
    return dataclasses.replace(anatomy, replaced_hips=sides)


def _with_empty_bladder(anatomy: Anatomy, rng: np.random.Generator) -> Anatomy:
    volume = float(rng.uniform(40, 70)) / float(np.prod(anatomy.placement.scale))
    bladder = dataclasses.replace(anatomy.bladder, volume_ml=volume)
    return dataclasses.replace(anatomy, bladder=bladder)


def _in_small_field(anatomy: Anatomy, _: np.random.Generator) -> Anatomy:
    lower = anatomy.nodal_top - SMALL_FIELD_MM / anatomy.placement.scale[2]
    return dataclasses.replace(anatomy, nodal_top=lower)


def _obese(anatomy: Anatomy, rng: np.random.Generator) -> Anatomy:
    width = float(rng.uniform(445, 530))
    body = anatomy.body
    side = LARGEST_ENVELOPE * body.envelope_scale[0]
    body = dataclasses.replace(
        body,
        fat_lateral=float(width / 2 / anatomy.placement.scale[0] - side),
        fat_anterior=float(rng.uniform(50, 80)),
        fat_posterior=float(rng.uniform(50, 75)),
        visceral=float(rng.uniform(1.15, 1.25)),
    )
    return dataclasses.replace(anatomy, body=body)


_CHANGES: dict[PhantomVariant, Callable[[Anatomy, np.random.Generator], Anatomy]] = {
    PhantomVariant.POST_OPERATIVE: _post_operative,
    PhantomVariant.RETROVERTED: _retroverted,
    PhantomVariant.METAL_HIP: _with_metal_hip,
    PhantomVariant.OBESE: _obese,
    PhantomVariant.EMPTY_BLADDER: _with_empty_bladder,
    PhantomVariant.SMALL_FIELD: _in_small_field,
}
