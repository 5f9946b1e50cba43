"""Which slices and windows make up the network's input."""

from dataclasses import dataclass

import numpy as np

from ml.arrays import ChannelVolume, ContextIndices, ContextShares, ContextVolume
from ml.config import PreprocessingConfig
from ml.preprocessing.intensity import window_to_unit


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ContextTaps:
    """For every slice and every height of context the two slices it lies between."""

    lower: ContextIndices
    upper: ContextIndices
    share: ContextShares
    """Of the upper slice, in [0, 1)."""


def context_taps(
    slice_count: int, slice_spacing_mm: float, context_mm: tuple[float, ...]
) -> ContextTaps:
    """Find the slices at the heights of context; beyond the ends the outermost slice repeats."""
    heights = np.arange(slice_count)[:, None] * slice_spacing_mm + np.asarray(context_mm)
    spacing = slice_spacing_mm or 1.0  # of a single slice, which has no neighbour to lie beside
    positions = np.clip(heights / spacing, 0, slice_count - 1)
    # heights of whole slices must not become two slices of which one has almost no share
    nearest = np.rint(positions)
    positions = np.where(np.abs(positions - nearest) < 1e-6, nearest, positions)
    lower = np.floor(positions).astype(np.int64)
    return ContextTaps(
        lower=lower,
        upper=np.minimum(lower + 1, slice_count - 1),
        share=(positions - lower).astype(np.float32),
    )


def window_channels(hu: ContextVolume, config: PreprocessingConfig) -> ChannelVolume:
    """Map context slices in HU to the network's channels, each window to [0, 1]."""
    windowed = [window_to_unit(hu, window) for window in config.windows]
    slices, _, rows, columns = hu.shape
    return np.stack(windowed, axis=2).reshape(slices, config.channel_count, rows, columns)
