"""Where a structure starts and stops: the failure the paper names, in slices.

Science: a.5, d.3 (A). Volumes here are in LPS order, so the slice index grows towards superior.
"""

import math
from dataclasses import dataclass

import numpy as np

from ml.arrays import MaskVolume


@dataclass(frozen=True, kw_only=True, slots=True)
class SlicePresence:
    """In how many slices a structure is drawn, and in how many it should be."""

    true_positive: int
    false_positive: int
    """Drawn where it is not."""
    false_negative: int
    """Not drawn where it is."""
    true_negative: int
    superior_end_error_slices: float
    """Predicted minus true index of the uppermost slice; positive reaches too far up."""
    inferior_end_error_slices: float
    """Predicted minus true index of the lowest slice; positive stops too high. Both errors are
    nan where one of the masks is empty."""

    @property
    def errors(self) -> int:
        """Slices in which the structure appears or is missing wrongly."""
        return self.false_positive + self.false_negative

    @property
    def sensitivity(self) -> float:
        """Share of the slices with the structure that show it; nan if there is none."""
        return _share(self.true_positive, self.false_negative)

    @property
    def specificity(self) -> float:
        """Share of the slices without the structure that are left empty; nan if there is none."""
        return _share(self.true_negative, self.false_positive)


def measure_presence(prediction: MaskVolume, reference: MaskVolume) -> SlicePresence:
    """Compare presence slice by slice.

    Args:
        prediction: a mask in LPS order (slices ascend to superior).
        reference: the truth on the same grid.
    """
    found, truth = prediction.any(axis=(1, 2)), reference.any(axis=(1, 2))
    superior, inferior = math.nan, math.nan
    if found.any() and truth.any():
        found_at, true_at = np.flatnonzero(found), np.flatnonzero(truth)
        superior = float(found_at[-1] - true_at[-1])
        inferior = float(found_at[0] - true_at[0])
    return SlicePresence(
        true_positive=int(np.count_nonzero(found & truth)),
        false_positive=int(np.count_nonzero(found & ~truth)),
        false_negative=int(np.count_nonzero(truth & ~found)),
        true_negative=int(np.count_nonzero(~found & ~truth)),
        superior_end_error_slices=superior,
        inferior_end_error_slices=inferior,
    )


def _share(hits: int, misses: int) -> float:
    return hits / (hits + misses) if hits + misses else math.nan
