"""Elastic distortion: white noise smoothed by a Gaussian moves every pixel.

Per pixel, U(-1, 1) filtered by a Gaussian of sigma and multiplied by alpha gives moves with a
standard deviation of alpha / (2 sqrt(3) sqrt(pi) sigma). Here the noise lives on a lattice of
sigma's spacing that the Gaussian itself interpolates: the same field in distribution, at the
price of two small matrix products whatever the image's size.

Reference: Simard et al., Best Practices for Convolutional Neural Networks Applied to Visual
Document Analysis, 2003.
"""

import math
from dataclasses import dataclass

import torch

from ml.tensors import DisplacementBatch, NoiseLattice, PerImage

REFERENCE_PX = 256
"""Edge of the images whose pixels carry the recipe's noise. Its moves in pixels do not grow with
the image, so a field for another size takes over those of 256 pixels as shares of the edge."""
REACH = 3
"""The lattice goes on beyond the border for so many sigmas, so that fields are alike there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ElasticRanges:
    """How far pixels may be moved.

    At alpha 2 and sigma .08 moves have a standard deviation of 4 of 256 pixels and a Jacobian
    that stays positive; at sigma .05 the image folds.
    """

    probability: float = 0.5
    """Share of images that are distorted at all."""
    alpha: float = 2.0
    """Largest control factor, in edges of the image; drawn uniformly from 0."""
    sigma: float = 0.08
    """Of the Gaussian, in edges of the image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Elastic:
    """What was drawn for a batch."""

    alpha: PerImage
    noise: NoiseLattice
    sigma: float


def sample_elastic(count: int, ranges: ElasticRanges, generator: torch.Generator) -> Elastic:
    """Draw one field per image."""
    distorted = torch.rand(count, generator=generator) < ranges.probability
    alpha = torch.rand(count, generator=generator) * ranges.alpha * distorted
    points = len(_lattice(ranges.sigma))
    noise = torch.rand(count, 2, points, points, generator=generator) * 2 - 1
    return Elastic(alpha=alpha, noise=noise, sigma=ranges.sigma)


def displacement(drawn: Elastic, rows: int, columns: int) -> DisplacementBatch:
    """Return the moves of every pixel's input position."""
    down, across = (_smoothing(size, drawn.sigma) for size in (rows, columns))
    # alpha is in edges, moves in halves of them
    return 2 * drawn.alpha[:, None, None, None] * (down @ drawn.noise @ across.T)


def _lattice(sigma: float) -> torch.Tensor:
    return torch.arange(-REACH, math.ceil(1 / sigma) + REACH + 1) * sigma


def _smoothing(size: int, sigma: float) -> torch.Tensor:
    """Weigh the lattice's points for every pixel of one axis, in reference pixels."""
    pixels = (torch.arange(size) + 0.5) / size
    distance = (pixels[:, None] - _lattice(sigma)) / sigma
    density = torch.exp(-(distance**2) / 2) / (math.sqrt(2 * math.pi) * sigma * REFERENCE_PX)
    # each point stands for a sigma's length of pixels: their sum varies by the square root of it
    return density * math.sqrt(sigma * REFERENCE_PX)
