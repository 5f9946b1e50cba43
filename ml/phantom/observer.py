"""How another observer would have contoured: what truth leaves open between experts.

Two observers of one case bound what any network can reach against a single one of them.
Reference: the observer model of the project's science notes; that observers differ most at the
upper and lower end follows the KROG 15-06 study of CTVs of the cervix.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt

from ml.arrays import LabelVolume, MaskVolume
from ml.phantom.grid import KNOT_SHARE, smooth_noise
from ml.phantom.shapes import Distances
from ml.structures import CERVIX, Structure

TARGETS = ("CTV-N", "CTV-UV")
"""Drawn with a margin, which observers choose; organs have a wall to follow."""
SLICES_APART_MM = 1e6
"""A slice's contour knows nothing of its neighbours'."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ObserverModel:
    """How far observers differ from the truth.

    Raises:
        ValueError: fewest end slices above the most, or a negative size.
    """

    end_slices: tuple[int, int] = (1, 2)
    """Fewest and most slices by which either end of a structure lies too high or too low."""
    margin_mm: float = 1.0
    """Largest deviation of a target's margin: 6 to 8 mm where 7 mm is the rule."""
    displacement_sd_mm: float = 1.5
    """Of the contour in its slice, along its normal."""
    displacement_sigma_mm: float = 15.0
    """Standard deviation of the Gaussian that smooths the displacement."""

    def __post_init__(self) -> None:
        """Check the sizes."""
        fewest, most = self.end_slices
        if not 0 <= fewest <= most:
            raise ValueError(f"end_slices are {self.end_slices}, not fewest and most")
        if min(self.margin_mm, self.displacement_sd_mm) < 0 or self.displacement_sigma_mm <= 0:
            raise ValueError("sizes of an observer model are not negative, its sigma is above 0")


def observe(
    labels: LabelVolume,
    spacing_mm: tuple[float, float, float],
    rng: np.random.Generator,
    model: ObserverModel | None = None,
) -> LabelVolume:
    """Return what one observer contours of a truth.

    Where structures meet, the priority of the structure set decides, as in the truth. Observers
    see no picture here: their contours may reach into bone or muscle by what they deviate.

    Args:
        labels: Structure numbers of ml.structures.CERVIX; slices in the order of their heights.
        spacing_mm: Of slices, rows and columns.
        rng: The observer: equal states contour equally.
        model: How far observers differ.
    """
    model = model or ObserverModel()
    result = np.zeros_like(labels)
    for structure in sorted(CERVIX.structures, key=lambda s: -s.priority):
        mask = labels == structure.number
        if mask.any():
            box = _box(mask, spacing_mm, model)
            drawn = _redraw(mask[box], structure, spacing_mm, rng, model)
            result[box][drawn] = structure.number
    return result


def _redraw(
    mask: MaskVolume,
    structure: Structure,
    spacing_mm: tuple[float, float, float],
    rng: np.random.Generator,
    model: ObserverModel,
) -> MaskVolume:
    sz, sy, sx = spacing_mm
    sizes = zip(reversed(mask.shape), (sx, sy, sz), strict=True)
    x, y, z = ((np.arange(n) - (n - 1) / 2) * s for n, s in sizes)
    wave = smooth_noise(rng, (x, y, z), model.displacement_sigma_mm / KNOT_SHARE)
    outward = np.float32(model.displacement_sd_mm) * wave
    margin = float(rng.uniform(-model.margin_mm, model.margin_mm))
    if structure.name in TARGETS:
        outward += np.float32(margin)
    drawn = _distances(mask, spacing_mm) < outward
    # A structure keeps its middle third, however short it is.
    room = int(mask.any(axis=(1, 2)).sum()) // 3
    low, high = (_end_shift(rng, model, room) for _ in range(2))
    return _move_ends(drawn, mask, low, high)


def _distances(mask: MaskVolume, spacing_mm: tuple[float, float, float]) -> Distances:
    """Return each pixel's distance to the contour in its slice, in mm, negative inside."""
    sampling = (SLICES_APART_MM, *spacing_mm[1:])
    # Distances are between pixel centres; the contour runs half a pixel before the next one.
    half = min(spacing_mm[1:]) / 2
    outside = np.asarray(distance_transform_edt(~mask, sampling)) - half
    inside = np.asarray(distance_transform_edt(mask, sampling)) - half
    return np.where(mask, -inside, outside).astype(np.float32)


def _end_shift(rng: np.random.Generator, model: ObserverModel, room: int) -> int:
    """Return by how many slices a structure is drawn longer, or (below 0) shorter, at an end."""
    fewest, most = model.end_slices
    shift = int(rng.integers(fewest, most + 1)) * int(rng.choice([-1, 1]))
    return max(shift, -room)


def _move_ends(drawn: MaskVolume, mask: MaskVolume, low: int, high: int) -> MaskVolume:
    found = np.flatnonzero(mask.any(axis=(1, 2)))
    first, last = int(found[0]), int(found[-1])
    result = drawn.copy()
    result[: first + max(-low, 0)] = False
    result[last + 1 - max(-high, 0) :] = False
    # The observer who goes on repeats the contour of the last slice.
    result[max(first - max(low, 0), 0) : first] = drawn[first]
    result[last + 1 : last + 1 + max(high, 0)] = drawn[last]
    return result


def _box(
    mask: MaskVolume, spacing_mm: tuple[float, float, float], model: ObserverModel
) -> tuple[slice, slice, slice]:
    reach_mm = model.margin_mm + 5 * model.displacement_sd_mm
    reach = [model.end_slices[1], *(int(np.ceil(reach_mm / s)) + 1 for s in spacing_mm[1:])]
    slices = []
    for axis, (size, extra) in enumerate(zip(mask.shape, reach, strict=True)):
        found = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        slices.append(slice(max(int(found[0]) - extra, 0), min(int(found[-1]) + extra + 1, size)))
    return slices[0], slices[1], slices[2]
