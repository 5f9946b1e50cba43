"""Commands of the main job: a CT series in, an RTSTRUCT out."""

from itertools import islice
from pathlib import Path
from uuid import UUID

import click

from services.client.cli.options import EXISTING, OUT_FILE, limited
from services.client.cli.progress import upload_bar, work_bar
from services.client.cli.session import Session, service_options, table
from services.client.client import CerviContourClient
from services.client.models import ContourJob, Submission
from services.client.waiting import check_succeeded

STATES = ("queued", "running", "succeeded", "failed", "cancelled")


@click.command()
@click.argument("ct", nargs=-1, required=True, type=EXISTING)
@click.option("--wait", is_flag=True, help="Wait for the contours.")
@click.option("--out", type=OUT_FILE, help="Wait, and write the RTSTRUCT to this file.")
@service_options
@click.make_pass_decorator(Session, ensure=True)
def submit(session: Session, ct: tuple[Path, ...], *, wait: bool, out: Path | None) -> None:
    """Send one CT series, as a folder, files or a zip, and have it contoured.

    \b
    Example:  cervicontour-client submit ct/ --out rtstruct.dcm
    """
    with session.client() as client:
        with upload_bar() as on_bytes:
            submission = client.submit(ct, on_bytes)
        if wait or out is not None:
            job = _finished(client, submission.job.id)
            submission = submission.model_copy(update={"job": job})
            _download(client, job, out)
    session.show(submission, *_submission_lines(submission), *_result_lines(submission.job, out))


@click.command()
@click.argument("job", type=click.UUID)
@click.option("--out", type=OUT_FILE, help="Write the RTSTRUCT to this file in the end.")
@service_options
@click.make_pass_decorator(Session, ensure=True)
def watch(session: Session, job: UUID, *, out: Path | None) -> None:
    """Follow a contour job to its end; exit code 1 if it fails or is cancelled.

    \b
    Example:  cervicontour-client watch 2b9f5c64-3f9e-4a53-9c7e-0f6f2a4b8d11
    """
    with session.client() as client:
        finished = _finished(client, job)
        _download(client, finished, out)
    session.show(finished, f"{finished.id}  {finished.state}", *_result_lines(finished, out))


@click.command()
@click.argument("job", type=click.UUID)
@click.option("--out", type=OUT_FILE, required=True, help="The file to write.")
@service_options
@click.make_pass_decorator(Session, ensure=True)
def download(session: Session, job: UUID, out: Path) -> None:
    """Write the RTSTRUCT of a job to a file, whole or not at all.

    \b
    Example:  cervicontour-client download 2b9f5c64-3f9e-4a53-9c7e-0f6f2a4b8d11 --out rs.dcm
    """
    with session.client() as client:
        client.download_rtstruct(job, out)
        shown = client.job(job) if session.is_json else None
    if shown is not None:
        session.show(shown)
    else:
        click.echo(out)


@click.command()
@click.option("--state", type=click.Choice(STATES), help="Only jobs in this state.")
@limited
@service_options
@click.make_pass_decorator(Session, ensure=True)
def jobs(session: Session, *, state: str | None, limit: int) -> None:
    """List contour jobs, newest first.

    \b
    Example:  cervicontour-client jobs --state failed
    """
    with session.client() as client:
        session.show_list(
            islice(client.jobs(state=state), limit),
            ("job", "state", "progress", "asked for", "weights", "error"),
            lambda job: (
                job.id,
                job.state,
                f"{job.progress:.0%}",
                f"{job.created_at:%Y-%m-%d %H:%M}",
                job.model_version,
                job.error and job.error.code,
            ),
        )


@click.command()
@click.argument("job", type=click.UUID)
@service_options
@click.make_pass_decorator(Session, ensure=True)
def cancel(session: Session, job: UUID) -> None:
    """End a queued job at once and ask a running one to stop.

    \b
    Example:  cervicontour-client cancel 2b9f5c64-3f9e-4a53-9c7e-0f6f2a4b8d11
    """
    with session.client() as client:
        found = client.cancel_job(job)
    note = "cancelled" if found.is_over else "is asked to stop"
    session.show(found, f"{found.id}  {note}")


COMMANDS = (submit, watch, download, jobs, cancel)


def _finished(client: CerviContourClient, job_id: UUID) -> ContourJob:
    with work_bar() as on_progress:
        job = client.wait_for_job(job_id, on_progress)
    check_succeeded(job)
    return job


def _download(client: CerviContourClient, job: ContourJob, out: Path | None) -> None:
    if out is not None:
        client.download_rtstruct(job.id, out)


def _submission_lines(submission: Submission) -> list[str]:
    job, series = submission.job, submission.series
    skipped = [f"  left out: {file.name} ({file.reason})" for file in series.skipped_files]
    return [f"{job.id}  {job.state}, {series.slice_count} slices", *skipped]


def _result_lines(job: ContourJob, out: Path | None) -> list[str]:
    if not job.is_over:
        return []
    volumes = [(name, f"{volume:.1f}") for name, volume in (job.volumes_ml or {}).items()]
    warnings = [f"  warning: {warning.message}" for warning in job.warnings]
    written = [] if out is None else [f"  written: {out}"]
    return [table(("structure", "ml"), list(volumes)), *warnings, *written]
