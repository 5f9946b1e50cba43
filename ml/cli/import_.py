"""`cervicontour import`: a researcher's cases, whatever their layout, as a dataset."""

from functools import partial
from pathlib import Path

import click

from ml.cli.errors import BadInputError, refusing
from ml.cli.options import ANY_PATH, EXISTING_FILE, EXISTING_FOLDER
from ml.cli.progress import show_progress
from ml.data.dataset import DATASET_FILE, Dataset, create_dataset, open_dataset
from ml.data.importing.report import TEXT_NAME, ImportReport, write_report
from ml.data.importing.run import ImportPlan, Status, import_cases, plan_import
from ml.data.importing.settings import OVERLAP_LIMIT, ImportSettings
from ml.name_map import MappingError, NameMap, read_mapping
from ml.pseudonyms import KeyFileError, Pseudonyms, read_or_make_key

KEY_NAME = "pseudonym.key"


@click.command()
@click.argument("folder", type=EXISTING_FOLDER)
@click.option("--out", type=ANY_PATH, required=True, help="The dataset; made, or added to.")
@click.option("--mapping", type=EXISTING_FILE, help="Names of structures, in TOML; see above.")
@click.option(
    "--private",
    type=ANY_PATH,
    help="Folder of the report and the key of the pseudonyms.  [default: OUT.import]",
)
@click.option("--keep-ids", is_flag=True, help="Keep the patients' ids instead of pseudonyms.")
@click.option(
    "--overlap-limit",
    type=click.FloatRange(0, 1),
    default=OVERLAP_LIMIT,
    show_default=True,
    help="Largest share of the smaller structure that may lie in another.",
)
@click.option("--allow-overlap", is_flag=True, help="Accept any overlap; priority decides.")
@click.option("--allow-missing", is_flag=True, help="Accept cases that lack structures.")
@click.option(
    "--allow-orphans", is_flag=True, help="Place contours by plane that refer to other images."
)
@click.option("--processes", type=click.IntRange(1), default=1, show_default=True)
def command(
    *,
    folder: Path,
    out: Path,
    mapping: Path | None,
    private: Path | None,
    keep_ids: bool,
    overlap_limit: float,
    allow_overlap: bool,
    allow_missing: bool,
    allow_orphans: bool,
    processes: int,
) -> None:
    """Import the cases of FOLDER, of any layout, into a dataset.

    DICOM: every RTSTRUCT with the CT series it refers to, in folders or all files in one place.
    NIfTI: case/image + labels, ct + segmentations/*.nii.gz, or nnU-Net's imagesTr + labelsTr.

    A case that cannot be used is refused with its reason, and the rest is imported. Run it again
    after a stop: what is there already is not read twice. Patients get pseudonyms; their key and
    the report, which names your files, are kept beside the dataset, not in it.

    \b
    Structures are found by the common names; a mapping file adds your own:
      ignore = ["PTV", "/.*_opt/"]
      patient_pattern = "^([^/]+)/"          # the patient in a case's path
      [structures]
      "Bladder" = ["Blase", "/bladder.*/"]   # in order of preference
      [labels]
      "Bladder" = 3                          # value in NIfTI label maps

    Example:  cervicontour import /data/cervix --out data/cervix --mapping names.toml
    """  # \b is click's mark for lines that stay as they are
    private = private or out.with_name(f"{out.name}.import")
    if out.resolve() in (private.resolve(), *private.resolve().parents):
        raise BadInputError("private_folder", f"{private} lies in the dataset, which is passed on")
    with refusing("mapping", MappingError), refusing("pseudonym_key", KeyFileError):
        settings = ImportSettings(
            names=NameMap() if mapping is None else read_mapping(mapping),
            pseudonyms=Pseudonyms(key=read_or_make_key(private / KEY_NAME), keeps_ids=keep_ids),
            overlap_limit=None if allow_overlap else overlap_limit,
            allows_missing=allow_missing,
            allows_orphans=allow_orphans,
        )
    plan = plan_import(folder, partial(show_progress, what="headers", unit="file"))
    if not plan.candidates:
        raise BadInputError("nothing_found", f"{folder} holds neither an RTSTRUCT, CT nor NIfTI")
    report = _import(plan, _open_or_create(out), settings, processes)
    write_report(report, private)
    _conclude(report, private / TEXT_NAME)


def _open_or_create(folder: Path) -> Dataset:
    if (folder / DATASET_FILE).exists():
        return open_dataset(folder)
    return create_dataset(folder, folder.name)


def _import(
    plan: ImportPlan, dataset: Dataset, settings: ImportSettings, processes: int
) -> ImportReport:
    running = import_cases(plan, dataset, settings, processes)
    shown = show_progress(running, total=len(plan.candidates), what="cases", unit="case")
    outcomes = tuple(shown)
    found = {outcome.case_id for outcome in outcomes}
    others = [facts.case_id for facts in dataset.facts() if facts.case_id not in found]
    return ImportReport(plan=plan, outcomes=outcomes, other_cases=tuple(others))


def _conclude(report: ImportReport, path: Path) -> None:
    """Say what happened; a folder of which nothing could be used is bad input."""
    for outcome in report.outcomes:
        if outcome.status is Status.REFUSED:
            click.echo(f"refused: {outcome.name}: {outcome.code}: {outcome.message}", err=True)
    counts = [f"{report.count(status)} {status.value.replace('_', ' ')}" for status in Status]
    click.echo(f"{', '.join(counts)}; report: {path}")
    if report.count(Status.REFUSED) == len(report.outcomes):
        raise BadInputError("nothing_imported", f"every case was refused, see {path}")
