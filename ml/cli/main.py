"""The researcher's command line: `cervicontour` or `python -m ml.cli.main`."""

import logging

import click

from ml.cli.lazy import LazyCommand, LazyGroup

COMMANDS = {
    "phantom": LazyCommand(
        module="ml.cli.phantom", summary="Make synthetic pelvic CTs with their true contours."
    ),
    "import": LazyCommand(
        module="ml.cli.import_", summary="Import a folder of DICOM or NIfTI cases into a dataset."
    ),
    "fingerprint": LazyCommand(
        module="ml.cli.fingerprint", summary="Describe a dataset and find its odd cases."
    ),
    "split": LazyCommand(
        module="ml.cli.split", summary="Deal a dataset's patients to training, validation and test."
    ),
    "train": LazyCommand(module="ml.cli.train", summary="Train one network."),
    "compare": LazyCommand(
        module="ml.cli.compare", summary="Compare losses or networks, or search a grid."
    ),
    "evaluate": LazyCommand(
        module="ml.cli.evaluate", summary="Score weights on cases with known truth."
    ),
    "report": LazyCommand(module="ml.cli.report", summary="Make tables and figures of scores."),
    "predict": LazyCommand(
        module="ml.cli.predict", summary="Contour a CT series and write an RTSTRUCT."
    ),
    "study": LazyCommand(
        module="ml.cli.study", summary="Run the paper's comparisons on synthetic patients (hours)."
    ),
    "demo-weights": LazyCommand(
        module="ml.cli.demo_weights", summary="Train the packaged demonstration weights (hours)."
    ),
}
"""In the order in which a study uses them."""


@click.group(
    cls=LazyGroup, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option("-v", "--verbose", is_flag=True, help="Say on stderr what is being done.")
def cli(*, verbose: bool) -> None:
    """Auto-contouring of cervical-cancer CT: from a folder of cases to a trained network.

    Every command has its own help with an example: cervicontour COMMAND --help
    """
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(message)s")


def main() -> None:
    """Run the command line of this process."""
    cli(prog_name="cervicontour")


if __name__ == "__main__":
    main()
