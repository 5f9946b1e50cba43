"""Volume overlap of two masks."""

import math

import numpy as np

from ml.arrays import AnyMask


def dice(prediction: AnyMask, reference: AnyMask) -> float:
    """Return 2 |A and B| / (|A| + |B|): 0 if one is empty, nan if both are.

    Two empty masks say nothing about overlap, so they are left out of means and counted.
    """
    total = np.count_nonzero(prediction) + np.count_nonzero(reference)
    if total == 0:
        return math.nan
    return 2 * np.count_nonzero(prediction & reference) / total


def volume_error_ml(prediction: AnyMask, reference: AnyMask, voxel_volume_ml: float) -> float:
    """Return the predicted minus the reference volume."""
    surplus = np.count_nonzero(prediction) - np.count_nonzero(reference)
    return surplus * voxel_volume_ml
