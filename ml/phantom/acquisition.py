"""The scanner: sampling, point spread, noise, beam hardening and quantisation."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.ndimage import gaussian_filter

from ml.arrays import HuVolume
from ml.phantom.grid import Placement
from ml.phantom.tissue import LARGEST_HU

POINT_SPREAD_SIGMA_MM = 0.65
NOISE_SIGMA_MM = 0.9


class PhantomTier(StrEnum):
    """How finely a phantom is sampled; the anatomy is the same in all tiers."""

    TINY = "tiny"
    """64 x 64 pixels, 16 slices: for tests."""
    SMALL = "small"
    """256 x 256 pixels over the same field of view: for training on a coarse grid."""
    FULL = "full"
    """512 x 512 pixels: what a scanner sends."""


MATRIX = {PhantomTier.TINY: 64, PhantomTier.SMALL: 256, PhantomTier.FULL: 512}
TINY_SLICES = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Acquisition:
    """Scan settings of one phantom."""

    matrix: int
    field_of_view_mm: float
    slice_positions_mm: tuple[float, ...]
    """Heights of the slice centres above the femoral heads."""
    slice_thickness_mm: float
    sub_slices: int
    """Slices are averaged from this many thinner ones: partial volume along z."""
    origin_mm: tuple[float, float, float]
    """Where the scanner's zero lies in the frame of reference."""
    noise_sd_hu: float
    hardening_hu: float
    streak_hu: float

    @property
    def pixel_mm(self) -> float:
        """Edge of a pixel."""
        return self.field_of_view_mm / self.matrix


def sample_acquisition(
    rng: np.random.Generator,
    tier: PhantomTier,
    z_scale: float,
    slice_thickness_mm: float | None = None,
) -> Acquisition:
    """Draw scan settings; the same generator state gives the same field of view in all tiers.

    Args:
        rng: State to draw from.
        tier: Fineness; the coarsest has few slices, however thick they must be.
        z_scale: Millimetres of a patient's anatomical millimetre along z.
        slice_thickness_mm: Overrides what is drawn, in all tiers.
    """
    field_of_view = 500.0 if rng.random() < 0.7 else float(rng.uniform(430, 620))
    thickness = float(rng.choice([5.0, 3.0], p=[0.58, 0.42]))
    bottom = float(rng.uniform(-106, -56)) * z_scale
    top = float(rng.uniform(154, 166)) * z_scale
    phase = float(rng.uniform(0, 1))
    origin = (
        round(float(rng.uniform(-8, 8)), 1),
        round(float(rng.uniform(-210, -120)), 1),
        round(float(rng.uniform(-900, 200)), 1),
    )
    noise = float(rng.uniform(8, 18))
    hardening, streak = float(rng.uniform(4, 14)), float(rng.uniform(1, 5))
    if tier is PhantomTier.TINY:
        thickness = (top - bottom) / TINY_SLICES
    thickness = slice_thickness_mm or thickness
    count = round((top - bottom) / thickness)
    positions = bottom + (np.arange(count) + phase) * thickness
    matrix = MATRIX[tier]
    # Larger pixels average several of a scanner's: less noise in each.
    softening = (matrix / 512) ** 0.4
    return Acquisition(
        matrix=matrix,
        field_of_view_mm=field_of_view,
        slice_positions_mm=tuple(float(v) for v in positions),
        slice_thickness_mm=thickness,
        sub_slices=1 if thickness <= 3 else (2 if thickness <= 5 else 4),
        origin_mm=origin,
        noise_sd_hu=noise * softening,
        hardening_hu=hardening,
        streak_hu=streak * softening,
    )


def lattice_axes(
    acquisition: Acquisition, factor: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return scanner x, y, z of the lattice whose pixels are factor times the image's."""
    coarse = acquisition.pixel_mm * factor
    count = acquisition.matrix // factor
    in_plane = (np.arange(count) - (count - 1) / 2) * coarse
    m = acquisition.sub_slices
    offsets = (np.arange(m) - (m - 1) / 2) * acquisition.slice_thickness_mm / m
    z = (np.asarray(acquisition.slice_positions_mm)[:, None] + offsets).ravel()
    return in_plane, in_plane.copy(), z


def scan(
    image: np.ndarray,
    acquisition: Acquisition,
    placement: Placement,
    rng: np.random.Generator,
    artefacts: np.ndarray | None = None,
) -> HuVolume:
    """Return the painted sub-slices as a scanner would reconstruct them.

    Args:
        image: HU of the sub-slices.
        acquisition: How they are scanned.
        placement: Where the patient lies.
        rng: State to draw the noise from.
        artefacts: HU to add to every pixel of every slice before it is quantised.
    """
    m = acquisition.sub_slices
    slices = image.reshape(-1, m, *image.shape[1:]).mean(axis=1)
    pixel = acquisition.pixel_mm
    in_plane, _, _ = lattice_axes(acquisition, 1)
    x = (in_plane - placement.shift_mm[0])[None, :]
    y = (in_plane - placement.shift_mm[1])[:, None]
    hips = np.exp(-((y / 22) ** 2)) * (np.abs(x) < 125)
    centre = 0.9 + 0.3 * np.exp(-(x**2 + y**2) / 110**2)
    result = np.empty(slices.shape, np.int16)
    for index, z in enumerate(acquisition.slice_positions_mm):
        at_hips = float(np.exp(-((z / 24) ** 2)))
        picture = gaussian_filter(slices[index], POINT_SPREAD_SIGMA_MM / pixel)
        noise = gaussian_filter(
            rng.standard_normal(picture.shape, np.float32), NOISE_SIGMA_MM / pixel
        )
        noise *= acquisition.noise_sd_hu / float(noise.std())
        streak = gaussian_filter(rng.standard_normal((len(in_plane), 1)), [2.0 / pixel, 0])
        streak *= acquisition.streak_hu * at_hips / float(streak.std())
        picture += noise * (centre + 0.5 * at_hips * hips)
        picture += (streak - acquisition.hardening_hu * at_hips) * hips
        if artefacts is not None:
            picture += artefacts[index]
        result[index] = np.rint(np.clip(picture, -1024, LARGEST_HU))
    return result
