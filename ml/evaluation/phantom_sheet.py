"""Command line: `python -m ml.evaluation.phantom_sheet --seed 7 --out sheet.png`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ml.evaluation.contact_sheet import Layer, write_contact_sheet
from ml.phantom.acquisition import PhantomTier
from ml.phantom.cohort import PhantomSpec, generate_phantom
from ml.phantom.variants import PhantomVariant


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw one phantom with its true contours."""
    parser = argparse.ArgumentParser(prog="python -m ml.evaluation.phantom_sheet")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--tier", type=PhantomTier, choices=list(PhantomTier), default=PhantomTier.FULL
    )
    parser.add_argument(
        "--variant",
        type=PhantomVariant,
        choices=list(PhantomVariant),
        default=PhantomVariant.STANDARD,
    )
    options = parser.parse_args(arguments)
    phantom = generate_phantom(
        PhantomSpec(seed=options.seed, tier=options.tier, variant=options.variant)
    )
    layer = Layer(name="truth", labels=phantom.labels)
    write_contact_sheet(phantom.volume, [layer], options.out)
    sys.stdout.write(f"{options.out}\n")


if __name__ == "__main__":
    main()
