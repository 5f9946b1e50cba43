"""The network's input for the slices of one volume."""

import numpy as np

from ml.arrays import ChannelVolume, HuVolume
from ml.preprocessing.channels import context_taps, window_channels
from ml.preprocessing.crop import Crop


class InputBuilder:
    """Crops, windows and stacks slices with their context, as many as a batch needs."""

    def __init__(self, crop: Crop, hu: HuVolume) -> None:
        """Prepare for a volume whose slices are in LPS order."""
        self.crop = crop
        self._hu = hu
        spacing_mm = crop.geometry.slice_spacing_mm
        self._taps = context_taps(len(hu), spacing_mm, crop.config.context_mm)

    def __len__(self) -> int:
        """Count the slices."""
        return len(self._hu)

    def channels(self, part: slice) -> ChannelVolume:
        """Return the input for a run of slices; only slices within their context are resampled."""
        lower, share = self._taps.lower[part], self._taps.share[part]
        upper = np.where(share > 0, self._taps.upper[part], lower)
        needed = np.unique(np.concatenate([lower, upper]))
        resampled = self.crop.guarded_hu(self._hu[needed])
        context = resampled[np.searchsorted(needed, lower)]
        if share.any():
            above = resampled[np.searchsorted(needed, upper)]
            context += (above - context) * share[:, :, None, None]
        return window_channels(context, self.crop.config)
