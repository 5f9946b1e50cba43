"""Which runs of slices a structure may stay in, from the presence head."""

import numpy as np

from ml.arrays import LabelVolume, SliceMask, SlicePresence, SliceValues
from ml.preprocessing.components import connected_parts


def remove_absent(labels: LabelVolume, presence: SlicePresence, gate: tuple[float, float]) -> None:
    """Set structures to background, in place, in slices their presence does not carry.

    Args:
        labels: labels of slices in their order along the normal.
        presence: probability of every structure, numbered from 1, in every slice.
        gate: the values of `kept_slices`.
    """
    for number, values in enumerate(presence.T, start=1):
        for index in np.flatnonzero(~kept_slices(values, gate)):
            label_slice = labels[index]
            label_slice[label_slice == number] = 0


def kept_slices(presence: SliceValues, gate: tuple[float, float]) -> SliceMask:
    """Tell the slices of runs that reach gate[0] all along and gate[1] at least once.

    Such hysteresis keeps the uncertain ends of a run that is certain somewhere, and drops single
    uncertain slices (Canny 1986).
    """
    low, high = gate
    runs, _ = connected_parts(presence >= low)
    return (runs > 0) & np.isin(runs, runs[presence >= high])
