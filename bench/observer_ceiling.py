"""Measure how far two observers of a phantom agree: the ceiling of any score against one of them.

Usage: python bench/observer_ceiling.py [--cases 20] [--tier small]
"""

import argparse
import statistics

import numpy as np

from ml.data.pools import map_in_processes
from ml.metrics.overlap import dice
from ml.metrics.surface import hausdorff95_mm
from ml.phantom.acquisition import PhantomTier
from ml.phantom.cohort import PhantomSpec, generate_phantom
from ml.phantom.observer import observe
from ml.structures import CERVIX

Agreement = dict[str, tuple[float, float, float]]


def measure(spec: PhantomSpec) -> Agreement:
    """Return Dice and HD95 of two observers, and one's Dice with the truth, by structure."""
    phantom = generate_phantom(spec)
    spacing = phantom.volume.geometry.spacing_mm
    first, second = (
        observe(phantom.labels, spacing, rng) for rng in np.random.default_rng(spec.seed).spawn(2)
    )
    result = {}
    for structure in CERVIX.structures:
        a, b, truth = (v == structure.number for v in (first, second, phantom.labels))
        result[structure.name] = (dice(a, b), hausdorff95_mm(a, b, spacing), dice(a, truth))
    return result


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--tier", type=PhantomTier, default=PhantomTier.SMALL)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    specs = [PhantomSpec(seed=args.first_seed + i, tier=args.tier) for i in range(args.cases)]
    cases = list(map_in_processes(measure, specs, args.processes))
    print(f"{len(cases)} phantoms, two observers each")
    means = []
    for name in CERVIX.names:
        dices, distances, true = zip(*(case[name] for case in cases), strict=True)
        means.append(statistics.fmean(dices))
        print(
            f"{name:8s} DSC {means[-1]:.3f} +- {statistics.stdev(dices):.3f}"
            f" | HD95 {statistics.fmean(distances):4.1f} mm"
            f" | DSC with the truth {statistics.fmean(true):.3f}"
        )
    print(f"mean     DSC {statistics.fmean(means):.3f}")


if __name__ == "__main__":
    main()
