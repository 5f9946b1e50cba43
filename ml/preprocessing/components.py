"""Connected parts of a mask."""

from typing import cast

import numpy as np
from scipy import ndimage

from ml.arrays import AnyMask, PartNumbers


def connected_parts(mask: AnyMask, neighbours: AnyMask | None = None) -> tuple[PartNumbers, int]:
    """Number the connected parts of a mask from 1; neighbours across faces unless given."""
    numbers, count = cast("tuple[PartNumbers, int]", ndimage.label(mask, neighbours))
    return numbers, count


def part_sizes(numbers: PartNumbers, count: int) -> np.ndarray:
    """Return the voxels of background and of every part."""
    return np.bincount(numbers.ravel(), minlength=count + 1)
