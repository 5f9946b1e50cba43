"""Commands of `cervicontour-client dataset`."""

from itertools import islice
from pathlib import Path

import click

from services.client.cli.options import EXISTING, Json, MappingFile, Proportions, limited
from services.client.cli.progress import upload_bar, work_bar
from services.client.cli.session import Session, service_options, table
from services.client.client import CerviContourClient
from services.client.models import Dataset, DatasetCase, DatasetVersion
from services.client.waiting import check_succeeded

CASE_STATUSES = ("imported", "already_imported", "replaced", "refused")
PARTS = ("training", "validation", "test")
SHOWN_CASES = 10_000


@click.group("dataset")
def group() -> None:
    """Gather cases with contours, and read them into versions to train on.

    NAME is the name of a dataset or its id.

    \b
    Example:  cervicontour-client dataset create "Cervix 2026" --folder clinic-a/2025
    """


@group.command()
@click.argument("name")
@click.option("--folder", help="Path below the folder that is mounted for datasets.")
@click.option("--mapping", type=MappingFile(), help="What the names of regions mean.")
@service_options
@click.make_pass_decorator(Session, ensure=True)
def create(session: Session, name: str, *, folder: str | None, mapping: Json | None) -> None:
    """Make a dataset.

    \b
    Example:  cervicontour-client dataset create "Cervix 2026" --folder clinic-a/2025
    """
    with session.client() as client:
        dataset = client.datasets.create(name, folder=folder, mapping=mapping)
    session.show(dataset, f"{dataset.id}  {dataset.name}")


@group.command("list")
@limited
@service_options
@click.make_pass_decorator(Session, ensure=True)
def list_(session: Session, *, limit: int) -> None:
    """List datasets, each with its last version.

    \b
    Example:  cervicontour-client dataset list
    """
    with session.client() as client:
        session.show_list(
            islice(client.datasets.list_all(), limit),
            ("dataset", "name", "last version", "state", "cases"),
            lambda dataset: (
                dataset.id,
                dataset.name,
                dataset.last_version and dataset.last_version.number,
                dataset.last_version and dataset.last_version.state,
                dataset.last_version and dataset.last_version.case_count,
            ),
        )


@group.command()
@click.argument("name")
@service_options
@click.make_pass_decorator(Session, ensure=True)
def show(session: Session, name: str) -> None:
    """Show the sources and last versions of a dataset.

    \b
    Example:  cervicontour-client dataset show "Cervix 2026"
    """
    with session.client() as client:
        dataset = client.datasets.get(client.datasets.find_id(name))
    session.show(dataset, *_dataset_lines(dataset))


@group.command()
@click.argument("name")
@click.argument("files", nargs=-1, required=True, type=EXISTING)
@service_options
@click.make_pass_decorator(Session, ensure=True)
def upload(session: Session, name: str, files: tuple[Path, ...]) -> None:
    """Send cases: CT series and their RTSTRUCTs, as folders, files or zips.

    \b
    Example:  cervicontour-client dataset upload "Cervix 2026" cases/
    """
    with session.client() as client:
        dataset_id = client.datasets.find_id(name)
        with upload_bar() as on_bytes:
            added = client.datasets.upload(dataset_id, files, on_bytes)
    session.show(
        added,
        f"{added.ct_series} CT series with {added.ct_images} images, "
        f"{added.structure_sets} structure sets",
        f"left out: {added.other_dicom_objects + added.other_files} files; "
        f"unreadable: {added.unreadable_files}",
    )


@group.command("add-folder")
@click.argument("name")
@click.argument("folder")
@service_options
@click.make_pass_decorator(Session, ensure=True)
def add_folder(session: Session, name: str, folder: str) -> None:
    """Add a folder below the one that is mounted for datasets.

    \b
    Example:  cervicontour-client dataset add-folder "Cervix 2026" clinic-b
    """
    with session.client() as client:
        added = client.datasets.add_folder(client.datasets.find_id(name), folder)
    session.show(added, f"{added.new_count} new sources")


@group.command("add-edited")
@click.argument("name")
@click.argument("edited_rtstructs", nargs=-1, type=click.UUID)
@service_options
@click.make_pass_decorator(Session, ensure=True)
def add_edited(session: Session, name: str, edited_rtstructs: tuple[str, ...]) -> None:
    """Add contours that clinicians corrected; without ids all that are there.

    \b
    Example:  cervicontour-client dataset add-edited "Cervix 2026"
    """
    with session.client() as client:
        added = client.datasets.add_edited(client.datasets.find_id(name), edited_rtstructs)
    session.show(added, f"{added.new_count} new sources")


@group.command()
@click.argument("name")
@click.argument("file", type=MappingFile())
@service_options
@click.make_pass_decorator(Session, ensure=True)
def mapping(session: Session, name: str, file: Json) -> None:
    """Set what the names of regions mean, for the versions made from now on.

    \b
    Example:  cervicontour-client dataset mapping "Cervix 2026" names.toml
    """
    with session.client() as client:
        dataset = client.datasets.put_mapping(client.datasets.find_id(name), file)
    session.show(dataset, f"{dataset.id}  {dataset.name}: the mapping is set")


@group.command()
@click.argument("name")
@click.option("--seed", type=int, help="Of dealing patients to the parts.")
@click.option("--proportions", type=Proportions(), help="Training, validation and test patients.")
@click.option(
    "--deal-anew", is_flag=True, help="Deal all patients, also those the last version has."
)
@click.option("--allow-missing", is_flag=True, help="Accept cases that lack structures.")
@click.option("--allow-overlap", is_flag=True, help="Accept structures that overlap.")
@click.option("--allow-orphans", is_flag=True, help="Accept contours that refer to other images.")
@click.option("--overlap-limit", type=float, help="Largest share that may overlap.")
@click.option("--mapping", type=MappingFile(), help="Names of regions, for this version alone.")
@click.option("--wait", is_flag=True, help="Wait until all cases are read.")
@service_options
@click.make_pass_decorator(Session, ensure=True)
def index(session: Session, name: str, *, wait: bool, **options: object) -> None:
    """Read all sources of a dataset into a new version.

    \b
    Example:  cervicontour-client dataset index "Cervix 2026" --seed 1 --allow-missing --wait
    """
    with session.client() as client:
        dataset_id = client.datasets.find_id(name)
        version = client.datasets.index(dataset_id, _index_options(options))
        if wait:
            version = _finished(client, version)
    session.show(version, _version_line(version))


@group.command("watch")
@click.argument("version")
@service_options
@click.make_pass_decorator(Session, ensure=True)
def watch(session: Session, version: str) -> None:
    """Follow a dataset version to its end; VERSION is an id, NAME:NUMBER or NAME.

    \b
    Example:  cervicontour-client dataset watch "Cervix 2026:2"
    """
    with session.client() as client:
        version_id = client.datasets.find_version_id(version)
        found = _finished(client, client.datasets.version(version_id))
    session.show(found, _version_line(found))


@group.command()
@click.argument("version")
@click.option("--status", type=click.Choice(CASE_STATUSES), help="Only these.")
@click.option("--part", type=click.Choice(PARTS), help="Only these.")
@click.option("--limit", type=click.IntRange(min=1), default=SHOWN_CASES, show_default=True)
@service_options
@click.make_pass_decorator(Session, ensure=True)
def cases(
    session: Session, version: str, *, status: str | None, part: str | None, limit: int
) -> None:
    """List what became of every case; VERSION is an id, NAME:NUMBER or NAME.

    A name alone means its latest version that succeeded.

    \b
    Example:  cervicontour-client dataset cases "Cervix 2026" --status refused
    """
    with session.client() as client:
        version_id = client.datasets.find_version_id(version)
        session.show_list(
            islice(client.datasets.cases(version_id, status=status, part=part), limit),
            ("case", "found at", "status", "part", "reason"),
            lambda case: (case.case_id, case.name, case.status, case.part, _reason(case)),
        )


def _reason(case: DatasetCase) -> str | None:
    return case.code and f"{case.code}: {case.message}"


def _finished(client: CerviContourClient, version: DatasetVersion) -> DatasetVersion:
    with work_bar() as on_progress:
        version = client.datasets.wait_for_version(version.id, on_progress)
    check_succeeded(version)
    return version


def _index_options(options: dict[str, object]) -> Json:
    """Return the body of the request; what was not said is left to the service."""
    split: Json = {name: options.pop(name) for name in ("seed", "proportions")}
    split = {name: value for name, value in split.items() if value is not None}
    if options.pop("deal_anew"):
        split["keep_previous"] = False
    body = {n: value for n, value in options.items() if value is not None and value is not False}
    return body | ({"split": split} if split else {})


def _dataset_lines(dataset: Dataset) -> list[str]:
    sources = ", ".join(f"{count} {kind}" for kind, count in dataset.source_counts.items())
    rows = [
        (v.number, v.id, v.state, v.case_count, v.refused_count, f"{v.created_at:%Y-%m-%d %H:%M}")
        for v in dataset.versions
    ]
    headings = ("version", "id", "state", "cases", "refused", "made")
    return [
        f"{dataset.id}  {dataset.name}",
        f"sources: {sources or 'none'}",
        table(headings, list(rows)),
    ]


def _version_line(version: DatasetVersion) -> str:
    counts = ""
    if version.case_count is not None:
        counts = f", {version.case_count} cases, {version.refused_count or 0} refused"
    return f"{version.id}  version {version.number} {version.state}{counts}"
