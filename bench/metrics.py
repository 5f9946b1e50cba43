"""Speed of the metrics on a large pair, and their agreement with MONAI where it is installed.

    python bench/metrics.py [--pairs 60]

MONAI is no dependency: run the script with an interpreter that has both, for instance from a
virtual environment with `pip install --no-deps monai==1.6.1` that also sees the project's packages.
"""

import argparse
import importlib
import math
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from ml.metrics.overlap import dice
from ml.metrics.path_length import measure_path
from ml.metrics.surface import measure_surfaces

try:
    peer: Any = importlib.import_module("monai.metrics")  # Any: no dependency, so not resolved
except ImportError:
    peer = None

LARGE_SHAPE = (150, 512, 512)
LARGE_SPACING_MM = (3.0, 0.9766, 0.9766)
SPACINGS_MM = ((1.0, 1.0, 1.0), (5.0, 1.0, 1.0), (3.0, 0.9766, 0.9766), (2.5, 0.7, 1.3))
TOLERANCE_MM = 2.0
NAMES = ("DSC", "HD95", "ASSD", "surface Dice")
REPEATS = 5

Spacing = tuple[float, float, float]


def blob(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Make an ellipsoid with an uneven surface near the middle."""
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    distance = np.zeros(shape)
    for axis, size in zip(axes, shape, strict=True):
        centre = size * rng.uniform(0.48, 0.52)
        distance += ((axis - centre) / (size * rng.uniform(0.15, 0.2))) ** 2
    coarse = rng.normal(size=[n // 8 + 2 for n in shape])
    noise = ndimage.zoom(coarse, 8, order=1)[tuple(slice(0, n) for n in shape)]
    return np.sqrt(distance) + 0.15 * noise < 1


def random_pairs(count: int) -> Iterator[tuple[np.ndarray, np.ndarray, Spacing]]:
    """Yield small pairs of every kind: organs, speckle, strays, and masks at the border."""
    rng = np.random.default_rng(5)
    shape = (18, 40, 44)
    for index in range(count):
        spacing = SPACINGS_MM[index % len(SPACINGS_MM)]
        first, second = blob(shape, rng), blob(shape, rng)
        if index % 5 == 1:
            second |= rng.random(shape) < 0.002
        if index % 5 == 2:
            first, second = rng.random(shape) < 0.02, rng.random(shape) < 0.02
        if index % 5 == 3:
            first[:, :4] = True
        yield first, second, spacing


def ours(a: np.ndarray, b: np.ndarray, spacing: Spacing) -> tuple[float, ...]:
    """Measure a pair with the project's metrics."""
    found = measure_surfaces(a, b, spacing)
    surface_dice = found.surface_dice(TOLERANCE_MM)
    return dice(a, b), found.hausdorff95_mm(), found.average_mm(), surface_dice


def monais(a: np.ndarray, b: np.ndarray, spacing: Spacing) -> tuple[float, ...]:
    """Measure a pair with MONAI, one call for every measure as its users do."""
    pair = [torch.from_numpy(np.stack([~m, m])[None].astype(np.float32)) for m in (a, b)]
    options = {"include_background": False, "spacing": spacing}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = (
            peer.compute_dice(*pair, include_background=False),
            peer.compute_hausdorff_distance(*pair, percentile=95, **options),
            peer.compute_average_surface_distance(*pair, symmetric=True, **options),
            peer.compute_surface_dice(*pair, class_thresholds=[TOLERANCE_MM], **options),
        )
    return tuple(float(value) for value in values)


def hausdorff_alone(a: np.ndarray, b: np.ndarray, spacing: Spacing) -> float:
    """Measure only HD95 with MONAI: the comparison that favours it most."""
    pair = [torch.from_numpy(np.stack([~m, m])[None].astype(np.float32)) for m in (a, b)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = peer.compute_hausdorff_distance(
            *pair, include_background=False, percentile=95, spacing=spacing
        )
    return float(value)


def seconds(call: Callable[[], object]) -> float:
    """Return the least processor time of a call: what else the machine does plays no part."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def report_speed() -> None:
    """Print the times on the large pair."""
    rng = np.random.default_rng(3)
    a, b = blob(LARGE_SHAPE, rng), blob(LARGE_SHAPE, rng)
    own = seconds(lambda: ours(a, b, LARGE_SPACING_MM))
    path = seconds(lambda: measure_path(a, b, LARGE_SPACING_MM[1:]))
    own_hd95 = seconds(lambda: measure_surfaces(a, b, LARGE_SPACING_MM).hausdorff95_mm())
    print(f"{LARGE_SHAPE}, {a.sum()} and {b.sum()} voxels, processor time")
    print(f"  this project: all four {own:.3f} s, HD95 alone {own_hd95:.3f} s")
    print(f"  added path length {path:.3f} s")
    if peer is None:
        print("  MONAI is not installed here: no comparison")
        return
    theirs = seconds(lambda: monais(a, b, LARGE_SPACING_MM))
    their_hd95 = seconds(lambda: hausdorff_alone(a, b, LARGE_SPACING_MM))
    print(f"  MONAI:        all four {theirs:.3f} s, HD95 alone {their_hd95:.3f} s")
    print(f"  ratio:        all four {theirs / own:.1f}, HD95 alone {their_hd95 / own_hd95:.1f}")


def report_agreement(count: int) -> None:
    """Print the largest difference of every measure."""
    largest = [0.0] * len(NAMES)
    for a, b, spacing in random_pairs(count):
        for index, (own, other) in enumerate(
            zip(ours(a, b, spacing), monais(a, b, spacing), strict=True)
        ):
            same = math.isnan(own) and math.isnan(other)
            largest[index] = max(largest[index], 0.0 if same else abs(own - other))
    print(f"largest difference to MONAI over {count} random pairs, {len(SPACINGS_MM)} spacings")
    for name, difference in zip(NAMES, largest, strict=True):
        print(f"  {name:12} {difference:.2e}")


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=60)
    pairs = parser.parse_args().pairs
    torch.set_num_threads(1)
    report_speed()
    if peer is not None:
        report_agreement(pairs)


if __name__ == "__main__":
    main()
