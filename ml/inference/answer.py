"""What networks think of a whole volume, and the labels that follow under a configuration."""

from dataclasses import dataclass

import numpy as np

from ml.arrays import (
    ClassOffsets,
    CropLabelVolume,
    LabelSlice,
    LogitSlice,
    LogitVolume,
    SlicePresence,
)
from ml.config import PostprocessingConfig
from ml.inference.postprocessing import postprocess
from ml.inference.presence import remove_absent
from ml.preprocessing.crop import Crop
from ml.structures import StructureSet


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Answer:
    """The networks' answer on the crop's grid, in LPS order, before postprocessing."""

    logits: LogitVolume
    """In half precision: ten bytes a pixel with five classes."""
    presence: SlicePresence | None
    """None without a presence head."""
    crop: Crop
    """Where the logits lie."""

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Slice, row and column spacing of the logits."""
        pixel_mm = self.crop.config.pixel_spacing_mm
        return self.crop.geometry.slice_spacing_mm, pixel_mm, pixel_mm


def answer_labels(
    answer: Answer, structures: StructureSet, config: PostprocessingConfig
) -> CropLabelVolume:
    """Return labels on the crop's grid, postprocessed.

    Mirroring is part of the answer itself, so config.flip plays no part. Without a presence head
    there is nothing to gate.
    """
    offsets = threshold_offsets(config)
    labels = np.stack([_largest(logits, offsets) for logits in answer.logits])
    if answer.presence is not None and config.presence_gate is not None:
        remove_absent(labels, answer.presence, config.presence_gate)
    postprocess(labels, structures, answer.spacing_mm, config)
    return labels


def threshold_offsets(config: PostprocessingConfig) -> ClassOffsets | None:
    """Return what to subtract from logits so that the largest class respects the thresholds.

    Against its best rival a structure has the probability t where its logit leads by
    log(t / (1 - t)). None stands for thresholds of .5, the plain argmax.
    """
    if not config.thresholds:
        return None
    thresholds = np.asarray(config.thresholds, np.float32)
    return np.concatenate([np.zeros(1, np.float32), np.log(thresholds / (1 - thresholds))])


def _largest(logits: LogitSlice, offsets: ClassOffsets | None) -> LabelSlice:
    values = logits.astype(np.float32)
    if offsets is not None:
        values -= offsets[:, None, None]
    return values.argmax(axis=0).astype(np.uint8)
