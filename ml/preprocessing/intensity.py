"""Hounsfield units to the network's input range."""

import numpy as np

from ml.arrays import HuVolume, ImageVolume
from ml.config import PreprocessingConfig

GUARD_FACTOR = 2.0
"""Before resampling, values are clipped to this many window widths around the level: padding
of -3024 and metal of 3071 would otherwise bleed into their neighbours, while clipping to the
window itself would move every border between fat and gas."""


def clip_to_guard(hu: HuVolume, config: PreprocessingConfig) -> HuVolume:
    """Limit Hounsfield units to the guard range around the window."""
    low, high = guard_range_hu(config)
    return np.clip(hu, np.int16(np.floor(low)), np.int16(np.ceil(high)))


def guard_range_hu(config: PreprocessingConfig) -> tuple[float, float]:
    """Return the limits applied before resampling."""
    half = config.window_width_hu * GUARD_FACTOR / 2
    return config.window_level_hu - half, config.window_level_hu + half


def window_to_unit(hu: ImageVolume, config: PreprocessingConfig) -> ImageVolume:
    """Map the window to [0, 1]; what lies outside becomes 0 or 1."""
    low = config.window_level_hu - config.window_width_hu / 2
    return np.clip((hu - np.float32(low)) / np.float32(config.window_width_hu), 0, 1)
