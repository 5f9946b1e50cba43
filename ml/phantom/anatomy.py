"""The anatomy of one phantom: every number that differs between patients, drawn once.

Lengths are anatomical millimetres (see ml.phantom.grid) unless the name says otherwise.
Reference: distributions are calibrated against published pelvimetry, organ volumes and muscle
volumes measured on public label maps; the design is described in the project's science notes.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from ml.phantom.grid import Placement
from ml.phantom.shapes import Point

LARGEST_WIDTH_MM = 425.0
"""Wider bodies are held out of the training distribution, as are emptier bladders."""
LARGEST_ENVELOPE = 152.0
"""Lateral extent of the muscle envelope where it is widest."""
SMALLEST_BLADDER_ML = 85.0
VOLUME_SCALE = (0.78, 1.2)
MEAN_CALIBRE = (0.75, 1.2)
"""Outside these two, CTV-N or rectum would leave their acceptance volumes."""


class UterusPosition(StrEnum):
    """How the uterine body lies."""

    ANTEVERTED = "anteverted"
    RETROVERTED = "retroverted"
    AXIAL = "axial"
    ABSENT = "absent"
    """After hysterectomy: only the vaginal cuff is left."""


class RectalContent(StrEnum):
    """What fills the rectum."""

    COLLAPSED = "collapsed"
    STOOL = "stool"
    GAS = "gas"
    FLUID = "fluid"


@dataclass(frozen=True, kw_only=True, slots=True)
class BodyParameters:
    """Outline and fat."""

    envelope_scale: Point
    """Factors on the muscle envelope: sideways, forward and backward extent."""
    fat_lateral: float
    fat_anterior: float
    fat_posterior: float
    visceral: float
    """Factor on the depth of the abdominal cavity in front."""
    exponent: float
    bone_thickness: float


@dataclass(frozen=True, kw_only=True, slots=True)
class BladderParameters:
    """Size and seat of the bladder."""

    volume_ml: float
    centre_x: float
    shape: Point
    """Factors on the three radii."""
    exponent: float


@dataclass(frozen=True, kw_only=True, slots=True)
class UterusParameters:
    """Uterus, cervix, tumour, parametria and upper vagina."""

    position: UterusPosition
    cervix_centre: Point
    cervix_radii: Point
    corpus_scale: float
    lateral_deviation: float
    fundus_lift: float
    tumour_radius: float | None
    tumour_offset: Point
    parametrium_reach: tuple[float, float]
    """Lateral end of the right and of the left parametrium."""
    fibroid_radius: float | None
    margin: float
    """Dilation of the contour around the tissue."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RectumParameters:
    """Course, calibre and filling of the rectum."""

    content: RectalContent
    calibre: tuple[float, ...]
    """Factor on the radius at each of the seven nodes."""
    offsets: tuple[tuple[float, float], ...]
    """Sideways and backward displacement of each node."""
    wall: float
    gas_level: float
    lower_end: float
    upper_end: float


@dataclass(frozen=True, kw_only=True, slots=True)
class VesselParameters:
    """Course and calibre of iliac vessels."""

    bifurcation: float
    """Height of the aortic bifurcation."""
    radius_factor: float
    jitter_seed: int
    node_count: int
    large_node_radius: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Anatomy:
    """One synthetic patient."""

    head_distance_mm: float
    head_radius: float
    placement: Placement
    body: BodyParameters
    bladder: BladderParameters
    uterus: UterusParameters
    rectum: RectumParameters
    vessels: VesselParameters
    side_jitter_seed: int
    bowel_seed: int
    bowel_loops: int
    nodal_top: float
    """Height to which CTV-N is contoured: the aortic bifurcation in the usual protocol."""
    replaced_hips: tuple[int, ...] = ()
    """Sides whose hip is of metal: -1 right, 1 left."""

    @property
    def scale(self) -> float:
        """Mean millimetres per anatomical millimetre."""
        return float(np.cbrt(self.volume_scale))

    @property
    def volume_scale(self) -> float:
        """Millilitres per anatomical millilitre."""
        return float(np.prod(self.placement.scale))

    @property
    def width_mm(self) -> float:
        """Width of the body where it is widest, the elastic warp left out."""
        half = LARGEST_ENVELOPE * self.body.envelope_scale[0] + self.body.fat_lateral
        return float(2 * half * self.placement.scale[0])


def sample_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw a patient."""
    head_distance = float(np.clip(rng.normal(178, 9), 155, 205))
    s = head_distance / 180
    scale = _scale(rng, s)
    placement = Placement(
        scale=scale,
        shift_mm=(
            float(rng.uniform(-20, 20)),
            float(rng.uniform(-25, 25)) - 15.0,
            0.0,
        ),
        roll_degrees=float(rng.uniform(-3, 3)),
        warp_sd_mm=float(rng.uniform(1.5, 3.5)),
    )
    volume_scale = float(np.prod(scale))
    bladder = _sample_bladder(rng, volume_scale)
    vessels = _sample_vessels(rng)
    return Anatomy(
        head_distance_mm=head_distance,
        head_radius=float(np.clip(rng.normal(21.5, 1.5), 18, 25)),
        placement=placement,
        body=_sample_body(rng, scale[0]),
        bladder=bladder,
        uterus=_sample_uterus(rng, bladder.volume_ml),
        rectum=_sample_rectum(rng),
        vessels=vessels,
        side_jitter_seed=int(rng.integers(2**31)),
        bowel_seed=int(rng.integers(2**31)),
        bowel_loops=int(rng.integers(26, 48)),
        nodal_top=vessels.bifurcation,
    )


def _scale(rng: np.random.Generator, lateral: float) -> Point:
    """Scale depth and height about the width's scale, within what keeps volumes plausible."""
    depth, height = lateral * _around(rng, 0.05), lateral * _around(rng, 0.05)
    volume = lateral * depth * height
    correction = float(np.sqrt(np.clip(volume, *VOLUME_SCALE) / volume))
    return lateral, depth * correction, height * correction


def _around(rng: np.random.Generator, sd: float) -> float:
    return float(np.clip(rng.normal(1.0, sd), 1 - 2.5 * sd, 1 + 2.5 * sd))


def _sample_body(rng: np.random.Generator, lateral_scale: float) -> BodyParameters:
    fatness = float(rng.lognormal(0.0, 0.4))
    envelope = (_around(rng, 0.04), _around(rng, 0.05), _around(rng, 0.05))
    widest = LARGEST_WIDTH_MM / 2 / lateral_scale - LARGEST_ENVELOPE * envelope[0]
    return BodyParameters(
        envelope_scale=envelope,
        fat_lateral=float(np.clip(27 * fatness * _around(rng, 0.15), 7, widest)),
        fat_anterior=float(np.clip(23 * fatness * _around(rng, 0.2), 6, 70)),
        fat_posterior=float(np.clip(28 * fatness * _around(rng, 0.15), 8, 70)),
        visceral=float(rng.uniform(0.92, 1.15) + 0.1 * (fatness > 1.4)),
        exponent=float(rng.uniform(2.2, 2.7)),
        bone_thickness=float(rng.uniform(0.9, 1.15)),
    )


def _sample_bladder(rng: np.random.Generator, volume_scale: float) -> BladderParameters:
    # Below the smallest, what is drawn is mirrored at it: clipping would pile bladders up there.
    volume = float(230 * rng.lognormal(0.0, 0.45))
    volume = max(volume, SMALLEST_BLADDER_ML**2 / volume)
    volume = min(volume, 560.0)
    return BladderParameters(
        volume_ml=volume / volume_scale,
        centre_x=float(rng.normal(0, 4)),
        shape=(_around(rng, 0.08), _around(rng, 0.08), _around(rng, 0.08)),
        exponent=float(rng.uniform(2.0, 2.6)),
    )


def _sample_uterus(rng: np.random.Generator, bladder_ml: float) -> UterusParameters:
    position = UterusPosition(
        rng.choice([p.value for p in UterusPosition], p=[0.60, 0.16, 0.04, 0.20])
    )
    absent = position is UterusPosition.ABSENT
    factor = float(rng.uniform(0.8, 1.1))
    has_tumour = bool(rng.random() < 0.6) and not absent
    tumour = float(rng.uniform(15, 28)) if has_tumour else None
    full = np.cbrt(bladder_ml / 250)
    return UterusParameters(
        position=position,
        cervix_centre=(
            float(rng.normal(0, 5)),
            float(np.clip(13 + 5 * (full - 1) + rng.normal(0, 4), 6, 24)),
            float(np.clip(16 + 8 * (full - 1) + rng.normal(0, 7), 6, 34)),
        ),
        cervix_radii=(17 * factor, 15 * factor, 17 * factor),
        corpus_scale=float(rng.uniform(0.78, 1.22)),
        lateral_deviation=float(np.clip(rng.normal(0, 9), -18, 18)),
        fundus_lift=float(np.clip(rng.normal(10 * (full - 1), 6), -10, 12)),
        tumour_radius=tumour,
        tumour_offset=(float(rng.normal(0, 4)), float(rng.normal(0, 2)), float(rng.normal(0, 5))),
        parametrium_reach=(float(rng.uniform(34, 46)), float(rng.uniform(34, 46))),
        fibroid_radius=float(rng.uniform(8, 18)) if rng.random() < 0.1 and not absent else None,
        margin=float(rng.uniform(0.5, 2.0)),
    )


def _sample_rectum(rng: np.random.Generator) -> RectumParameters:
    content = RectalContent(rng.choice([c.value for c in RectalContent], p=[0.2, 0.37, 0.32, 0.11]))
    base = {RectalContent.COLLAPSED: 0.78, RectalContent.STOOL: 1.0}.get(content, 1.02)
    mean = base * float(rng.lognormal(0.0, 0.12))
    calibre = np.clip(mean * rng.lognormal(0.0, 0.12, 7), 0.55, 1.35)
    calibre *= np.clip(calibre.mean(), *MEAN_CALIBRE) / calibre.mean()
    offsets = rng.normal(0, [4.0, 3.0], (7, 2)) * np.array(
        [[0.3], [0.6], [1], [1], [1], [1], [0.8]]
    )
    return RectumParameters(
        content=content,
        calibre=tuple(float(v) for v in calibre),
        offsets=tuple((float(a), float(b)) for a, b in offsets),
        wall=float(rng.uniform(3.0, 4.5)),
        gas_level=float(rng.uniform(-0.5, 0.9)),
        lower_end=float(rng.normal(-43, 5)),
        upper_end=float(np.clip(rng.normal(82, 9), 62, 104)),
    )


def _sample_vessels(rng: np.random.Generator) -> VesselParameters:
    return VesselParameters(
        bifurcation=float(np.clip(rng.normal(138, 7), 122, 152)),
        radius_factor=_around(rng, 0.1),
        jitter_seed=int(rng.integers(2**31)),
        node_count=int(rng.integers(6, 31)),
        large_node_radius=float(rng.uniform(5, 12)) if rng.random() < 0.15 else None,
    )
