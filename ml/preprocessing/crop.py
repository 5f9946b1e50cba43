"""The body-centred crop in millimetres, and the exact way back to the CT's own grid.

Index i of an axis has its centre at origin + i x spacing on both grids, so nothing moves by half
a pixel. Slices are never resampled. The classes here keep what they derive (cached_property), so
they have no slots.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ml.arrays import (
    CoordinatesMm,
    CropLabelVolume,
    CropVolume,
    HuVolume,
    LabelVolume,
    MaskVolume,
    ResamplingMatrix,
)
from ml.config import PreprocessingConfig
from ml.geometry import AxisAlignment, Volume, VolumeGeometry, align_to_lps
from ml.preprocessing.body import Body, find_body
from ml.preprocessing.intensity import clip_to_guard, guard_range_hu


@dataclass(frozen=True, kw_only=True, eq=False)
class Crop:
    """Where the network's square lies on one volume.

    Arrays given to its methods are in LPS order; `alignment` turns the series' own order to it.
    """

    config: PreprocessingConfig
    alignment: AxisAlignment
    geometry: VolumeGeometry
    """The volume's geometry in LPS order."""
    center_mm: tuple[float, float]
    """LPS x and y of the crop's centre."""

    @cached_property
    def rows(self) -> "AxisMap":
        """How rows of the CT and of the crop meet."""
        return self._axis_map(axis=1)

    @cached_property
    def columns(self) -> "AxisMap":
        """How columns of the CT and of the crop meet."""
        return self._axis_map(axis=0)

    def guarded_hu(self, hu: HuVolume) -> CropVolume:
        """Return slices on the crop's grid in HU, clipped to the guard range.

        Means over the crop's pixels where the CT is finer, so that noise is averaged instead of
        aliased; bilinear where it is coarser. Outside the image there is air.
        """
        low = np.float32(guard_range_hu(self.config)[0])
        window = hu[:, self.rows.window, self.columns.window]
        above_air = clip_to_guard(window, self.config).astype(np.float32) - low
        return self.rows.weights @ above_air @ self.columns.weights.T + low

    def labels(self, labels: LabelVolume) -> CropLabelVolume:
        """Return the label with the largest share of every pixel; outside the image background.

        Shares come from the images' own kernel. The nearest label would do on a finer grid, but
        on a coarser one it moves every border by up to half a CT pixel.
        """
        window = labels[:, self.rows.window, self.columns.window]
        largest = 1 - self._share(window > 0)
        found = np.zeros(largest.shape, np.uint8)
        for label in np.unique(window[window > 0]):
            share = self._share(window == label)
            found[share > largest] = label
            np.maximum(largest, share, out=largest)
        return found

    def _share(self, mask: MaskVolume) -> CropVolume:
        return self.rows.weights @ mask.astype(np.float32) @ self.columns.weights.T

    def _axis_map(self, axis: int) -> "AxisMap":
        origin = float(self.geometry.slice_positions_mm[:, axis].mean())
        count = self.geometry.columns if axis == 0 else self.geometry.rows
        spacing = self.geometry.pixel_spacing_mm[1 - axis]
        size, step = self.config.crop_size_px, self.config.pixel_spacing_mm
        first = self.center_mm[axis] - (size - 1) / 2 * step
        return AxisMap(
            image_mm=origin + np.arange(count) * spacing,
            image_spacing_mm=spacing,
            crop_mm=first + np.arange(size) * step,
            crop_spacing_mm=step,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class AxisMap:
    """One in-plane axis of the CT beside the same axis of the crop, both in mm."""

    image_mm: CoordinatesMm
    image_spacing_mm: float
    crop_mm: CoordinatesMm
    crop_spacing_mm: float

    @cached_property
    def window(self) -> slice:
        """Pixels of the CT that the crop depends on, or that lie inside it."""
        reach = self.crop_spacing_mm + self.image_spacing_mm
        inside = (self.image_mm > self.crop_mm[0] - reach) & (
            self.image_mm < self.crop_mm[-1] + reach
        )
        indices = np.flatnonzero(inside)
        return slice(int(indices[0]), int(indices[-1]) + 1) if len(indices) else slice(0, 0)

    @cached_property
    def weights(self) -> ResamplingMatrix:
        """Share of every CT pixel of the window in every pixel of the crop.

        The length by which the two pixels overlap, the crop's widened to the CT's where it is
        finer: the mean over the crop's pixel, and where the CT is coarser plain linear
        interpolation. Weights sum to 1 away from the border; straight ramps stay straight to an
        eighth of a CT pixel, exactly where the CT is coarser.
        """
        width = max(self.image_spacing_mm, self.crop_spacing_mm)
        distance = np.abs(self.crop_mm[:, None] - self.image_mm[None, self.window])
        overlap = (width + self.image_spacing_mm) / 2 - distance
        return (np.clip(overlap, 0, self.image_spacing_mm) / width).astype(np.float32)

    @cached_property
    def covered(self) -> slice:
        """Pixels of the CT whose centres lie in a pixel of the crop."""
        half = self.crop_spacing_mm / 2
        inside = (self.image_mm >= self.crop_mm[0] - half) & (
            self.image_mm <= self.crop_mm[-1] + half
        )
        indices = np.flatnonzero(inside)
        return slice(int(indices[0]), int(indices[-1]) + 1) if len(indices) else slice(0, 0)

    @cached_property
    def positions(self) -> CoordinatesMm:
        """Fractional crop index of every covered pixel, within the crop's outermost centres."""
        index = (self.image_mm[self.covered] - self.crop_mm[0]) / self.crop_spacing_mm
        return np.clip(index, 0, len(self.crop_mm) - 1)


def plan_crop(volume: Volume, config: PreprocessingConfig) -> tuple[Crop, Body]:
    """Centre the crop on the body of the whole volume; labels play no part.

    Raises:
        NotAxialError: the series is not axial.
    """
    alignment = align_to_lps(volume.geometry)
    geometry = alignment.geometry_to_lps(volume.geometry)
    body = find_body(alignment.to_lps(volume.hu), geometry)
    crop = Crop(config=config, alignment=alignment, geometry=geometry, center_mm=body.center_mm())
    return crop, body
