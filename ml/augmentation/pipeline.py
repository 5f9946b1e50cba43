"""From slices as cached to slices as trained on."""

from dataclasses import dataclass, field

import torch

from ml.augmentation.affine import AffineRanges, apply_affine, sample_affine
from ml.augmentation.intensity import (
    IntensityChange,
    IntensityRanges,
    apply_intensity,
    sample_intensity,
)
from ml.config import PreprocessingConfig
from ml.preprocessing.intensity import guard_range_hu
from ml.tensors import AffineBatch, GuardedBatch, ImageBatch, LabelBatch


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    """What was drawn for one batch."""

    maps: AffineBatch
    intensity: IntensityChange


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmenter:
    """Draws and applies the changes of one batch."""

    preprocessing: PreprocessingConfig
    affine: AffineRanges = field(default_factory=AffineRanges)
    intensity: IntensityRanges = field(default_factory=IntensityRanges)

    def sample(self, count: int, generator: torch.Generator) -> Augmentation:
        """Draw the changes of a batch of `count` images."""
        return Augmentation(
            maps=sample_affine(count, self.affine, generator),
            intensity=sample_intensity(count, self.intensity, generator),
        )

    def apply(
        self, drawn: Augmentation, hu: GuardedBatch, labels: LabelBatch
    ) -> tuple[ImageBatch, LabelBatch]:
        """Return images in [0, 1] and labels; grey values change on images only."""
        low = guard_range_hu(self.preprocessing)[0]
        moved, labels = apply_affine(hu - low, labels, drawn.maps)
        return apply_intensity(moved + low, drawn.intensity, self.preprocessing), labels
