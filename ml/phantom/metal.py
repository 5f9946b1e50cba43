"""Hip replacements: metal, and what it does to the picture.

Streaks and starvation are drawn, not simulated from projections: lines through the implant whose
strength grows with the metal in the slice, a dark band across the pelvis and coarse noise in it.
"""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from ml.phantom.acquisition import Acquisition, lattice_axes
from ml.phantom.anatomy import Anatomy
from ml.phantom.grid import Field, Grid, common, cut, join
from ml.phantom.shapes import Distances, Points, capsule, sphere

METAL_HU = 8000.0
"""Beyond what 12 bits hold, so that the blurred edge stays saturated."""
LINER_HU = 60.0
BALL_RADIUS = 15.0
CUP_RADIUS = 26.0
CUP_THICKNESS = 4.0

FULL_STRENGTH_MM2 = 500.0
"""Metal in a slice from which its artefacts grow no more."""
STREAK_HU = 130.0
BAND_HU = 170.0
STARVATION_HU = 45.0
ANGLES = 360


def build_implants(grid: Grid, anatomy: Anatomy) -> list[tuple[Field, Field]]:
    """Return metal and plastic liner of every replaced hip."""
    return [_implant(grid, side) for side in anatomy.replaced_hips]


def _implant(grid: Grid, sign: int) -> tuple[Field, Field]:
    head = (sign * 90, 0, 0)
    neck, tip = (sign * 120, 7, -32), (sign * 115, 6, -150)
    low = (min(sign * 60, sign * 140), -40, -165)
    high = (max(sign * 60, sign * 140), 40, 40)

    def stem(p: Points) -> Distances:
        ball = np.minimum(sphere(p, head, BALL_RADIUS), capsule(p, head, neck, 7, 10))
        return np.minimum(ball, capsule(p, neck, tip, 10, 6))

    def cup(p: Points) -> Distances:
        # Open towards the femur: below and to the side.
        rim = (np.float32(sign) * p.x - 92) * np.float32(0.7) - p.z * np.float32(0.7)
        return np.maximum(sphere(p, head, CUP_RADIUS), rim)

    outer = grid.evaluate(low, high, cup)
    hollow = grid.evaluate(low, high, lambda p: sphere(p, head, CUP_RADIUS - CUP_THICKNESS))
    metal = join([cut(outer, [hollow]), grid.evaluate(low, high, stem)])
    return metal, common(outer, [hollow])


def metal_artefacts(
    grid: Grid, acquisition: Acquisition, metals: Sequence[Field], rng: np.random.Generator
) -> np.ndarray:
    """Return the HU that metal adds, (slices, rows, columns) float32 on the image's grid."""
    axis, _, _ = lattice_axes(acquisition, 1)
    result = np.zeros((len(acquisition.slice_positions_mm), len(axis), len(axis)), np.float32)
    for metal in metals:
        common_lines = rng.standard_normal(ANGLES)
        inside = metal.distances < 0
        x, y = grid.axes_mm[0][metal.box[2]], grid.axes_mm[1][metal.box[1]]
        pixel_mm2 = float(np.diff(x[:2])[0] * np.diff(y[:2])[0])
        for index in range(len(result)):
            sheets = _sub_slices(metal, acquisition.sub_slices, index)
            own_lines = rng.standard_normal(ANGLES)
            coarse = rng.standard_normal(result.shape[1:], np.float32)
            hit = inside[sheets].any(axis=0) if sheets.stop > sheets.start else np.zeros((1, 1))
            if not hit.any():
                continue
            rows, columns = np.nonzero(hit)
            strength = min(1.0, len(rows) * pixel_mm2 / FULL_STRENGTH_MM2)
            dx = (axis - x[columns].mean())[None, :]
            dy = (axis - y[rows].mean())[:, None]
            lines = common_lines + own_lines
            result[index] += strength * _artefact(dx, dy, lines, coarse, acquisition.pixel_mm)
    return result


def _sub_slices(field: Field, sub_slices: int, index: int) -> slice:
    start, stop = field.box[0].start, field.box[0].stop
    low = min(max(index * sub_slices, start), stop)
    high = min(max((index + 1) * sub_slices, start), stop)
    return slice(low - start, high - start)


def _artefact(
    dx: np.ndarray, dy: np.ndarray, lines: np.ndarray, coarse: np.ndarray, pixel_mm: float
) -> np.ndarray:
    distance = np.sqrt(dx * dx + dy * dy)
    smooth = gaussian_filter1d(lines, 1.5, mode="wrap")
    smooth *= STREAK_HU / smooth.std()
    # A line has no direction: half a turn leads to the same one.
    angle = np.mod(np.arctan2(dy, dx), np.pi) * (ANGLES / np.pi)
    streaks = np.interp(angle, np.arange(ANGLES + 1), np.append(smooth, smooth[0]))
    streaks *= np.exp(-distance / 80)
    band = np.exp(-((dy / (11 + 0.05 * distance)) ** 2)) * np.exp(-distance / 130)
    noise = gaussian_filter(coarse, [0.8 / pixel_mm, 6.0 / pixel_mm])
    noise *= STARVATION_HU / noise.std() * np.exp(-((dy / 18) ** 2))
    return (streaks - BAND_HU * band + noise).astype(np.float32)
