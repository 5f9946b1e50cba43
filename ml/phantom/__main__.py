"""Command line: `python -m ml.phantom write --seed 7 --out folder`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ml.phantom.acquisition import PhantomTier
from ml.phantom.cohort import PhantomSpec, generate_phantom
from ml.phantom.ct_writer import TransferSyntax
from ml.phantom.files import StorageOptions, write_phantom
from ml.phantom.orientation import PatientPosition, RowOrder


def main(arguments: Sequence[str] | None = None) -> None:
    """Make one phantom and write its files."""
    options = _parser().parse_args(arguments)
    phantom = generate_phantom(PhantomSpec(seed=options.seed, tier=options.tier))
    storage = StorageOptions(
        position=options.position,
        row_order=options.row_order,
        transfer_syntax=options.transfer_syntax,
    )
    write_phantom(phantom, options.out, storage)
    sys.stdout.write(f"{options.out}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ml.phantom", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    write = commands.add_parser("write", help="DICOM CT series, labels and record into a folder")
    write.add_argument("--seed", type=int, required=True)
    write.add_argument("--out", type=Path, required=True)
    for name, kind, default in (
        ("--tier", PhantomTier, PhantomTier.FULL),
        ("--position", PatientPosition, PatientPosition.HFS),
        ("--row-order", RowOrder, RowOrder.NATIVE),
        ("--transfer-syntax", TransferSyntax, TransferSyntax.EXPLICIT_LITTLE_ENDIAN),
    ):
        write.add_argument(name, type=kind, choices=list(kind), default=default)
    return parser


if __name__ == "__main__":
    main()
