"""Volumes in one frame: the network's body-centred crop, heights counted from the scan's middle.

What baselines know of position is what a network could know without looking at organs.
"""

from dataclasses import dataclass

import numpy as np

from ml.arrays import (
    CoordinatesMm,
    CoveredLabelVolume,
    CropLabelVolume,
    CropVolume,
    Indices,
    LabelVolume,
)
from ml.config import PreprocessingConfig
from ml.geometry import Volume
from ml.preprocessing.crop import AxisMap, Crop, plan_crop


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FramedVolume:
    """A volume and where its crop lies."""

    volume: Volume
    crop: Crop
    heights_mm: CoordinatesMm
    """Of every slice in LPS order, above the middle between the first and the last."""

    def hu(self) -> CropVolume:
        """Return the crop in HU, clipped to the guard range, slices towards superior."""
        return self.crop.guarded_hu(self.crop.alignment.to_lps(np.asarray(self.volume.hu)))

    def crop_labels(self, labels: LabelVolume) -> CropLabelVolume:
        """Bring labels of the volume's own grid onto the crop."""
        return self.crop.labels(self.crop.alignment.to_lps(np.asarray(labels)))

    def volume_labels(self, labels: CropLabelVolume) -> LabelVolume:
        """Bring labels of the crop onto the volume's own grid: every pixel takes its nearest."""
        found = np.zeros(self.volume.geometry.shape, np.uint8)
        rows, columns = self.crop.rows, self.crop.columns
        turned = self.crop.alignment.to_lps(found)
        turned[:, rows.covered, columns.covered] = _picked(labels, rows, columns)
        return found


def frame_volume(volume: Volume, config: PreprocessingConfig) -> FramedVolume:
    """Place a volume in the frame; labels play no part.

    Raises:
        NotAxialError: the series is not axial.
    """
    crop, _ = plan_crop(volume, config)
    z = crop.geometry.slice_positions_mm[:, 2]
    return FramedVolume(volume=volume, crop=crop, heights_mm=z - (z[0] + z[-1]) / 2)


def _picked(labels: CropLabelVolume, rows: AxisMap, columns: AxisMap) -> CoveredLabelVolume:
    picks = _nearest(rows), _nearest(columns)
    return labels[:, picks[0][:, None], picks[1][None, :]]


def _nearest(axis: AxisMap) -> Indices:
    return np.rint(axis.positions).astype(np.int64)
