"""From slices as cached to slices as trained on."""

import math
from dataclasses import dataclass, field

import torch

from ml.augmentation.affine import AffineRanges, sample_affine
from ml.augmentation.elastic import Elastic, ElasticRanges, displacement, sample_elastic
from ml.augmentation.intensity import (
    IntensityChange,
    IntensityRanges,
    apply_intensity,
    sample_intensity,
)
from ml.augmentation.warp import affine_positions, sample_images, sample_labels
from ml.config import AugmentationPreset, PreprocessingConfig
from ml.preprocessing.intensity import guard_range_hu
from ml.tensors import AffineBatch, ContextBatch, ImageBatch, LabelBatch


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What is drawn, and how images are sampled."""

    affine: AffineRanges = field(default_factory=AffineRanges)
    elastic: ElasticRanges = field(default_factory=ElasticRanges)
    intensity: IntensityRanges = field(default_factory=IntensityRanges)
    is_nearest_in_two_steps: bool = False
    """The paper's sampling: affine and elastic map in turn, nearest neighbour for images too and
    the border mirrored. Otherwise one bilinear sampling of both maps, with air outside."""


RECIPES = {
    AugmentationPreset.NONE: Recipe(
        affine=AffineRanges(flip_probability=0.0, probability=0.0),
        elastic=ElasticRanges(probability=0.0),
        intensity=IntensityRanges(probability=0.0),
    ),
    AugmentationPreset.PAPER: Recipe(
        affine=AffineRanges(probability=0.5, scale=0.0, aspect=0.0, shift=0.0, point_shift=0.04),
        elastic=ElasticRanges(probability=1.0),
        intensity=IntensityRanges(
            probability=1.0,
            level=0.0,
            width=0.0,
            brightness=0.1,
            contrast=0.2,
            gamma=math.log(1.25),
            noise_hu=0.0,
        ),
        is_nearest_in_two_steps=True,
    ),
    # no three-point map: what it adds to rotation, scale and shift is shear, as elastic fields do
    AugmentationPreset.STANDARD: Recipe(),
}
"""Where the paper gives no numbers, those of its preset are the middle of what is usual."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    """What was drawn for one batch."""

    maps: AffineBatch
    elastic: Elastic
    intensity: IntensityChange


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmenter:
    """Draws and applies the changes of one batch."""

    preprocessing: PreprocessingConfig
    recipe: Recipe = field(default_factory=Recipe)

    def sample(self, count: int, generator: torch.Generator) -> Augmentation:
        """Draw the changes of a batch of `count` images."""
        return Augmentation(
            maps=sample_affine(count, self.recipe.affine, generator),
            elastic=sample_elastic(count, self.recipe.elastic, generator),
            intensity=sample_intensity(count, self.recipe.intensity, generator),
        )

    def apply(
        self, drawn: Augmentation, hu: ContextBatch, labels: LabelBatch
    ) -> tuple[ImageBatch, LabelBatch]:
        """Return the network's channels and the labels.

        All context slices of an image and its labels move alike; grey values change on images
        only. What was drawn to stay as it is stays so bit by bit.
        """
        hu, labels = self.move(drawn, hu, labels)
        return apply_intensity(hu, drawn.intensity, self.preprocessing), labels

    def move(
        self, drawn: Augmentation, hu: ContextBatch, labels: LabelBatch
    ) -> tuple[ContextBatch, LabelBatch]:
        """Apply the maps alone."""
        still = torch.eye(2, 3)
        moved = (drawn.maps != still).any(dim=(1, 2)) | (drawn.elastic.alpha > 0)
        if not moved.any():
            return hu, labels
        maps = drawn.maps[moved]
        moves = displacement(drawn.elastic, *hu.shape[2:])[moved]
        if self.recipe.is_nearest_in_two_steps:
            mode, padding = "nearest", "reflection"
            steps = [(maps, torch.zeros_like(moves)), (still.expand_as(maps), moves)]
        else:
            mode, padding = "bilinear", "zeros"
            steps = [(maps, moves)]
        low = guard_range_hu(self.preprocessing)[0]
        images, raster = hu[moved], labels[moved]
        for grid in (affine_positions(*step) for step in steps):
            images = sample_images(images, grid, mode=mode, padding=padding, outside_hu=low)
            raster = sample_labels(raster, grid, padding=padding)
        hu, labels = hu.clone(), labels.clone()
        hu[moved], labels[moved] = images, raster
        return hu, labels
