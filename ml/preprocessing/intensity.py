"""Hounsfield units to the range the network's windows need."""

import numpy as np

from ml.arrays import AnyImage, HuVolume
from ml.config import PreprocessingConfig, Window

GUARD_FACTOR = 2.0
"""Before resampling, values are clipped to this many window widths around the level: padding
of -3024 and metal of 3071 would otherwise bleed into their neighbours, while clipping to the
window itself would move every border between fat and gas."""
AIR_HU = -1024.0
"""No guard range goes below: what is less than air is padding."""


def clip_to_guard(hu: HuVolume, config: PreprocessingConfig) -> HuVolume:
    """Limit Hounsfield units to the guard range around the windows."""
    low, high = guard_range_hu(config)
    return np.clip(hu, np.int16(np.floor(low)), np.int16(np.ceil(high)))


def guard_range_hu(config: PreprocessingConfig) -> tuple[float, float]:
    """Return the limits applied before resampling; they hold every window."""
    halves = [window.width_hu * GUARD_FACTOR / 2 for window in config.windows]
    pairs = list(zip(config.windows, halves, strict=True))
    low = min(window.level_hu - half for window, half in pairs)
    return max(AIR_HU, low), max(window.level_hu + half for window, half in pairs)


def window_to_unit(hu: AnyImage, window: Window) -> AnyImage:
    """Map the window to [0, 1]; what lies outside becomes 0 or 1."""
    low = np.float32(window.level_hu - window.width_hu / 2)
    return np.clip((hu - low) / np.float32(window.width_hu), 0, 1)
