"""From logits on the crop to labels on the CT's own pixels."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ml.arrays import CoveredLabelVolume
from ml.preprocessing.crop import AxisMap, Crop
from ml.tensors import FineLogitBatch, LogitBatch


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AxisTaps:
    """For every covered CT pixel of an axis its two crop neighbours and the upper one's share."""

    lower: Tensor
    upper: Tensor
    share: Tensor

    def between(self, first: int, last: int) -> tuple[slice, "AxisTaps"]:
        """Return the covered pixels that depend on crop pixels first..last, and their taps."""
        found = torch.nonzero((self.upper >= first) & (self.lower <= last)).flatten()
        if not len(found):
            return slice(0, 0), self._part(slice(0, 0))
        part = slice(int(found[0]), int(found[-1]) + 1)
        return part, self._part(part)

    def _part(self, part: slice) -> "AxisTaps":
        return AxisTaps(lower=self.lower[part], upper=self.upper[part], share=self.share[part])


class Uncropper:
    """Turns logits of slices into labels of the CT pixels the crop covers.

    Logits are interpolated bilinearly at the centre of every CT pixel, then the largest wins, so
    borders are not bound to the crop's pixels. Only one batch of logits is held at a time.
    """

    def __init__(self, crop: Crop, device: torch.device) -> None:
        self._rows = _axis_taps(crop.rows, device)
        self._columns = _axis_taps(crop.columns, device)

    def labels(self, logits: LogitBatch) -> CoveredLabelVolume:
        """Return labels of slices over the covered rows and columns.

        Interpolation between pixels where background wins leaves background the winner, so only
        the box of the foreground is computed.
        """
        shape = (len(logits), len(self._rows.lower), len(self._columns.lower))
        labels = torch.zeros(shape, dtype=torch.uint8, device=logits.device)
        foreground = (logits.argmax(dim=1) > 0).any(dim=0)
        if foreground.any():
            row_part, rows = self._rows.between(*_extent(foreground.any(dim=1)))
            column_part, columns = self._columns.between(*_extent(foreground.any(dim=0)))
            fine = _interpolate(_interpolate(logits, rows, dim=2), columns, dim=3)
            labels[:, row_part, column_part] = fine.argmax(dim=1).to(torch.uint8)
        return labels.cpu().numpy()


def _axis_taps(axis: AxisMap, device: torch.device) -> AxisTaps:
    positions = torch.from_numpy(axis.positions)
    lower = positions.floor().long()
    return AxisTaps(
        lower=lower.to(device),
        upper=(lower + 1).clamp(max=len(axis.crop_mm) - 1).to(device),
        share=(positions - lower).float().to(device),
    )


def _interpolate(logits: LogitBatch, taps: AxisTaps, *, dim: int) -> FineLogitBatch:
    share = taps.share[:, None] if dim == 2 else taps.share
    below = logits.index_select(dim, taps.lower)
    return torch.lerp(below, logits.index_select(dim, taps.upper), share)


def _extent(occupied: Tensor) -> tuple[int, int]:
    indices = torch.nonzero(occupied).flatten()
    return int(indices[0]), int(indices[-1])
