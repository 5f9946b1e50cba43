"""Changes of window, brightness, contrast, gamma and noise."""

from dataclasses import dataclass

import torch

from ml.config import PreprocessingConfig
from ml.tensors import GuardedBatch, ImageBatch, PerImage


@dataclass(frozen=True, kw_only=True, slots=True)
class IntensityRanges:
    """How far grey values may change; every draw is uniform within these limits."""

    probability: float = 0.7
    """Share of images that are changed at all."""
    level_hu: float = 15.0
    width_hu: float = 45.0
    brightness: float = 0.06
    contrast: float = 0.12
    gamma: float = 0.15
    """Limit of |log gamma|."""
    noise: float = 0.05
    """Largest standard deviation, of the window's width."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IntensityChange:
    """What was drawn, one value per image."""

    level_hu: PerImage
    width_hu: PerImage
    brightness: PerImage
    contrast: PerImage
    gamma: PerImage
    noise: PerImage
    noise_seed: int


def sample_intensity(
    count: int, ranges: IntensityRanges, generator: torch.Generator
) -> IntensityChange:
    """Draw one change per image."""
    changed = torch.rand(count, generator=generator) < ranges.probability

    def draw(limit: float) -> PerImage:
        return (torch.rand(count, generator=generator) * 2 - 1) * limit * changed

    return IntensityChange(
        level_hu=draw(ranges.level_hu),
        width_hu=draw(ranges.width_hu),
        brightness=draw(ranges.brightness),
        contrast=1 + draw(ranges.contrast),
        gamma=torch.exp(draw(ranges.gamma)),
        noise=draw(ranges.noise).abs(),
        noise_seed=int(torch.randint(2**62, (1,), generator=generator)),
    )


def apply_intensity(
    hu: GuardedBatch, change: IntensityChange, config: PreprocessingConfig
) -> ImageBatch:
    """Window HU to [0, 1] with the drawn change; without one this is the plain window."""
    width = config.windows[0].width_hu + _spread(change.width_hu)
    low = config.windows[0].level_hu + _spread(change.level_hu) - width / 2
    images = torch.clamp((hu - low) / width, 0, 1) ** _spread(change.gamma)
    images = (images - 0.5) * _spread(change.contrast) + 0.5 + _spread(change.brightness)
    source = torch.Generator(device=hu.device).manual_seed(change.noise_seed)
    noise = torch.randn(hu.shape, generator=source, device=hu.device)
    return torch.clamp(images + noise * _spread(change.noise), 0, 1)


def plain_window(hu: GuardedBatch, config: PreprocessingConfig) -> ImageBatch:
    """Window HU to [0, 1] as inference does."""
    window = config.windows[0]
    low = window.level_hu - window.width_hu / 2
    return torch.clamp((hu - low) / window.width_hu, 0, 1)


def _spread(values: PerImage) -> torch.Tensor:
    return values[:, None, None, None]
