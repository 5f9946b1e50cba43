"""Commands of `cervicontour-client review`."""

from pathlib import Path
from uuid import UUID

import click

from services.client.cli.options import EXISTING_FILE, GradesFile, Json
from services.client.cli.progress import upload_bar, work_bar
from services.client.cli.session import Session, service_options, table
from services.client.models import AcceptabilityGroup, EditedRtstruct
from services.client.waiting import check_succeeded

GRADES = ("acceptable", "minor_revision", "major_revision", "unacceptable")
GROUPS = ("structure", "model_version", "month", "reviewer")


@click.group("review")
def group() -> None:
    """Say how good contours are, and send them as they were corrected.

    \b
    Example:  cervicontour-client review acceptability --group-by model_version
    """


@group.command()
@click.argument("job", type=click.UUID)
@click.option("--reviewer", required=True, help="Who read the contours.")
@click.option(
    "--grades",
    required=True,
    type=GradesFile(),
    help="Columns structure, slice_number or first_slice and last_slice, grade, tags; or json.",
)
@click.option("--minutes", type=float, help="Spent on it.")
@click.option("--comment", help="For people.")
@service_options
@click.make_pass_decorator(Session, ensure=True)
def submit(
    session: Session,
    job: UUID,
    reviewer: str,
    grades: list[Json],
    *,
    minutes: float | None,
    comment: str | None,
) -> None:
    """Grade the contours of a job.

    Grades are acceptable, minor_revision, major_revision and unacceptable.

    \b
    Example:  cervicontour-client review submit 2b9f5c64-3f9e-4a53-9c7e-0f6f2a4b8d11 \\
                  --reviewer "Dr. A" --grades grades.csv
    """
    with session.client() as client:
        review = client.reviews.submit(job, reviewer, grades, minutes=minutes, comment=comment)
    rows = [
        (name, *(counts.get(grade, 0) for grade in GRADES))
        for name, counts in review.counts.items()
    ]
    heading = f"{review.id}  {review.graded_slices} slices graded"
    session.show(review, heading, table(("structure", *GRADES), list(rows)))


@group.command("upload-edit")
@click.argument("job", type=click.UUID)
@click.argument("file", type=EXISTING_FILE)
@click.option("--reviewer", required=True, help="Who corrected it.")
@click.option("--review", type=click.UUID, help="The reader's review of the job.")
@click.option("--wait", is_flag=True, help="Wait until it is compared with the original.")
@service_options
@click.make_pass_decorator(Session, ensure=True)
def upload_edit(
    session: Session, job: UUID, file: Path, reviewer: str, *, review: UUID | None, wait: bool
) -> None:
    """Send the RTSTRUCT of a job as it was corrected.

    \b
    Example:  cervicontour-client review upload-edit 2b9f5c64-3f9e-4a53-9c7e-0f6f2a4b8d11 \\
                  corrected.dcm --reviewer "Dr. A" --wait
    """
    with session.client() as client:
        with upload_bar() as on_bytes:
            edited = client.reviews.upload_edit(
                job, file, reviewer, review_id=review, on_bytes=on_bytes
            )
        if wait:
            with work_bar() as on_progress:
                edited = client.reviews.wait_for_edit(edited.id, on_progress)
            check_succeeded(edited)
    session.show(edited, *_edited_lines(edited))


@group.command()
@click.option("--group-by", multiple=True, type=click.Choice(GROUPS), help="One or two.")
@click.option("--structure", help="Only this one.")
@click.option("--model-version", help="Only contours of the weights of this name.")
@click.option("--reviewer", help="Only this reader.")
@service_options
@click.make_pass_decorator(Session, ensure=True)
def acceptability(session: Session, *, group_by: tuple[str, ...], **options: str | None) -> None:
    """Show how readers graded every structure, in percent of the graded slices.

    \b
    Example:  cervicontour-client review acceptability --group-by model_version
    """
    with session.client() as client:
        found = client.reviews.acceptability({"group_by": list(group_by), **options})
    rows = [row for graded in found.groups for row in _group_rows(graded)]
    headings = (*found.group_by, "structure", *GRADES, "acceptability", "slices")
    session.show(found, table(headings, list(rows)))


@group.command()
@click.option(
    "--by", type=click.Choice(("month", "model_version")), default="month", show_default=True
)
@service_options
@click.make_pass_decorator(Session, ensure=True)
def drift(session: Session, *, by: str) -> None:
    """Show, by month or weights, how contours fared.

    \b
    Example:  cervicontour-client review drift --by month
    """
    with session.client() as client:
        found = client.reviews.drift(by)
    rows = [
        (
            fared.group,
            fared.jobs,
            fared.warnings.per_job,
            fared.acceptability and f"{fared.acceptability.mean.acceptability:.1f} %",
        )
        for fared in found.groups
    ]
    session.show(found, table((by, "jobs", "warnings per job", "acceptability"), list(rows)))


def _group_rows(graded: AcceptabilityGroup) -> list[tuple[object, ...]]:
    key = tuple(graded.key.values())
    rows: list[tuple[object, ...]] = [
        (*key, row.structure, *_percent(row.percentages, row.acceptability), row.graded_slices)
        for row in graded.structures
    ]
    if len(graded.structures) > 1:
        mean = graded.mean
        shown = _percent(mean.percentages, mean.acceptability)
        rows.append((*key, "mean", *shown, graded.graded_slices))
    return rows


def _percent(percentages: dict[str, float], acceptability: float) -> list[str]:
    return [f"{value:.1f}" for value in (*(percentages[g] for g in GRADES), acceptability)]


def _edited_lines(edited: EditedRtstruct) -> list[str]:
    rows = [
        (name, score.get("dice"), score.get("relative_added_path"), score.get("edited_slices"))
        for name, score in (edited.scores or {}).items()
    ]
    headings = ("structure", "Dice", "share drawn anew", "edited slices")
    lines = [f"{edited.id}  {edited.state}"]
    return [*lines, table(headings, list(rows))] if rows else lines
