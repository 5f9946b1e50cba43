"""Noise, changes of the windows, brightness, contrast and gamma."""

from dataclasses import dataclass

import torch

from ml.config import PreprocessingConfig, Window
from ml.tensors import ContextBatch, ImageBatch, ImageMask, PerImage


@dataclass(frozen=True, kw_only=True, slots=True)
class IntensityRanges:
    """How far grey values may change; every draw is uniform within these limits."""

    probability: float = 0.7
    """Share of images that are changed at all."""
    level: float = 0.05
    """Move of a window's level, of its width: 15 HU of 300."""
    width: float = 0.15
    """Relative change of a window's width."""
    brightness: float = 0.06
    contrast: float = 0.12
    gamma: float = 0.15
    """Limit of |log gamma|."""
    noise_hu: float = 15.0
    """Largest standard deviation of the noise added before windowing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IntensityChange:
    """What was drawn, one value per image."""

    changed: ImageMask
    level: PerImage
    width: PerImage
    brightness: PerImage
    contrast: PerImage
    gamma: PerImage
    noise_hu: PerImage
    noise_seed: int


def sample_intensity(
    count: int, ranges: IntensityRanges, generator: torch.Generator
) -> IntensityChange:
    """Draw one change per image."""
    changed = torch.rand(count, generator=generator) < ranges.probability

    def draw(limit: float) -> PerImage:
        return (torch.rand(count, generator=generator) * 2 - 1) * limit

    return IntensityChange(
        changed=changed,
        level=draw(ranges.level),
        width=1 + draw(ranges.width),
        brightness=draw(ranges.brightness),
        contrast=1 + draw(ranges.contrast),
        gamma=torch.exp(draw(ranges.gamma)),
        noise_hu=draw(ranges.noise_hu).abs(),
        noise_seed=int(torch.randint(2**62, (1,), generator=generator)),
    )


def apply_intensity(
    hu: ContextBatch, change: IntensityChange, config: PreprocessingConfig
) -> ImageBatch:
    """Return the network's channels with the drawn change; images without one as in inference.

    All windows of an image are jittered alike, each by its own width, and its context slices
    all in the same way.
    """
    images = plain_channels(hu, config)
    chosen = change.changed
    if not chosen.any():
        return images
    noisy = _with_noise(hu[chosen], change)
    width = _spread(change.width[chosen])
    level = _spread(change.level[chosen])
    values = torch.stack(
        [_unit(noisy, w.level_hu + level * w.width_hu, w.width_hu * width) for w in config.windows],
        dim=2,
    ).flatten(1, 2)
    # in place: the time goes into memory, not into arithmetic
    values.pow_(_spread(change.gamma[chosen])).sub_(0.5)
    values.mul_(_spread(change.contrast[chosen])).add_(0.5)
    images[chosen] = values.add_(_spread(change.brightness[chosen])).clamp_(0, 1)
    return images


def plain_channels(hu: ContextBatch, config: PreprocessingConfig) -> ImageBatch:
    """Window HU to [0, 1] as inference does: all windows of the first offset, then the next."""
    return torch.stack([_plain(hu, window) for window in config.windows], dim=2).flatten(1, 2)


def _plain(hu: ContextBatch, window: Window) -> ContextBatch:
    low = window.level_hu - window.width_hu / 2
    return (hu - low).div_(window.width_hu).clamp_(0, 1)


def _unit(hu: ContextBatch, level_hu: torch.Tensor, width_hu: torch.Tensor) -> ContextBatch:
    return (hu - (level_hu - width_hu / 2)).div_(width_hu).clamp_(0, 1)


def _with_noise(hu: ContextBatch, change: IntensityChange) -> ContextBatch:
    deviation = change.noise_hu[change.changed]
    if not deviation.any():
        return hu
    source = torch.Generator().manual_seed(change.noise_seed)
    return torch.randn(hu.shape, generator=source).mul_(_spread(deviation)).add_(hu)


def _spread(values: PerImage) -> torch.Tensor:
    return values[:, None, None, None]
