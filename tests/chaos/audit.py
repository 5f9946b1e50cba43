"""What became of everything that was submitted: rows, files and logs against the answers."""

import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pydicom
import sqlalchemy as sa

from services.core.lifecycle import JobState
from services.core.storage import RTSTRUCT_NAME, StoredKind
from services.core.tables.contouring import ContourJob, Series
from tests.chaos.load import Submission
from tests.chaos.stack import GRACE_SECONDS, WORKERS, Stack, wait_until

LOOK_SECONDS = 0.3


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Everything the stack holds, by job."""

    jobs: dict[UUID, ContourJob]
    series: dict[UUID, Series]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """Counted at the end; every list is empty when the service kept its word."""

    submitted: int
    accepted: int
    answers: Counter[str]
    """By status and code, of every request."""
    states: Counter[str]
    """Where accepted jobs ended, with the code of failures."""
    attempts: Counter[int]
    lost: list[str]
    doubled: list[str]
    orphans: list[str]

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.orphans)

    def __str__(self) -> str:
        lines = [f"submitted {self.submitted}, accepted {self.accepted}"]
        for title, counts in (("answers", self.answers), ("states", self.states)):
            shown = ", ".join(f"{what} {count}" for what, count in sorted(counts.items()))
            lines.append(f"{title}: {shown}")
        lines.append(f"starts a job: {dict(sorted(self.attempts.items()))}")
        for title in ("lost", "doubled", "orphans"):
            cases: list[str] = getattr(self, title)
            lines.append(f"{title}: {len(cases)}")
            lines += [f"  {case}" for case in cases]
        return "\n".join(lines)


def settle_and_audit(stack: Stack, submissions: Sequence[Submission]) -> Tally:
    """Wait until nothing is under way and nothing is left to clear up, then count."""
    lost: list[str] = []
    try:
        wait_until(lambda: _all_ended(stack), "every job ended")
    except TimeoutError as error:
        lost.append(str(error))
    found = _find(stack)
    orphans = _lasting_orphans(stack, found)
    accepted = [s for s in submissions if s.job_id is not None]
    ids = {s.job_id for s in accepted}
    jobs = [job for job in found.jobs.values() if job.id in ids]
    return Tally(
        submitted=len(submissions),
        accepted=len(accepted),
        answers=Counter(answer.what for s in submissions for answer in s.answers),
        states=Counter(f"{job.state} {job.error_code or ''}".strip() for job in jobs),
        attempts=Counter(job.attempt for job in jobs),
        lost=lost + [case for s in accepted for case in _losses(stack, s, found)],
        doubled=list(_doubles(stack, submissions, found)),
        orphans=orphans,
    )


def _all_ended(stack: Stack) -> bool:
    time.sleep(LOOK_SECONDS)  # a transaction of SQLite keeps the workers from theirs
    with stack.new_unit_of_work() as uow:
        return all(state.is_terminal for state in uow.contour_jobs.count_by_state())


def _find(stack: Stack) -> Found:
    with stack.new_unit_of_work() as uow:
        session = uow._session  # all rows at once is nothing the service ever asks
        jobs = session.scalars(sa.select(ContourJob))
        series = session.scalars(sa.select(Series))
        return Found(jobs={job.id: job for job in jobs}, series={row.id: row for row in series})


def _losses(stack: Stack, submission: Submission, found: Found) -> Iterator[str]:
    job = found.jobs.get(submission.job_id) if submission.job_id else None
    if job is None:
        yield f"job {submission.job_id} was accepted and has no row"
    elif not job.state.is_terminal:
        yield f"job {job.id} is still {job.state} ({job.stage}, attempt {job.attempt})"
    elif job.state is JobState.SUCCEEDED:
        yield from _wrong_results(stack, job, submission)


def _wrong_results(stack: Stack, job: ContourJob, submission: Submission) -> Iterator[str]:
    folder = stack.data_dir / StoredKind.RESULTS / str(job.id)
    files = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if files != [RTSTRUCT_NAME]:
        yield f"job {job.id} succeeded and has the files {files}"
        return
    rtstruct = pydicom.dcmread(folder / RTSTRUCT_NAME)
    frame = rtstruct.ReferencedFrameOfReferenceSequence[0]
    study = frame.RTReferencedStudySequence[0]
    series_uid = study.RTReferencedSeriesSequence[0].SeriesInstanceUID
    if series_uid != submission.series_uid:
        yield f"job {job.id} has the result of another series"


def _doubles(stack: Stack, submissions: Sequence[Submission], found: Found) -> Iterator[str]:
    by_uid = {s.series_uid: s for s in submissions}
    made: Counter[str] = Counter()
    for job in found.jobs.values():
        uid = found.series[job.series_id].series_instance_uid
        made[uid] += 1
        submission = by_uid.get(uid)
        if submission is None or submission.job_id is None:
            yield f"job {job.id} was never accepted"
    yield from (f"series {uid} has {count} jobs" for uid, count in made.items() if count > 1)
    for job_id, count in _successes(stack).items():
        if count > 1:
            yield f"job {job_id} succeeded {count} times"


def _successes(stack: Stack) -> Counter[str]:
    """Count, by job, how often a worker said that it ended it."""
    counts: Counter[str] = Counter()
    for worker in WORKERS:
        for line in stack.log(worker).read_text(errors="replace").splitlines():
            if '"job succeeded"' in line:
                counts[json.loads(line)["job_id"]] += 1
    return counts


def _lasting_orphans(stack: Stack, found: Found) -> list[str]:
    """Return what was left behind at every look: a worker that tries the disk leaves nothing."""
    lasting, left = set(_orphans(stack, found)), set(_left_behind(stack, found))
    time.sleep(LOOK_SECONDS)
    for path in left.intersection(_left_behind(stack, found)):
        _make_old(path)

    def are_gone() -> bool:
        lasting.intersection_update(_orphans(stack, found))
        return not lasting

    with suppress(TimeoutError):
        wait_until(are_gone, "no orphans")
    return sorted(lasting)


def _make_old(path: Path) -> None:
    """Have files that are in nobody's hands be of the age at which a worker removes them."""
    old = time.time() - 2 * GRACE_SECONDS
    with suppress(FileNotFoundError):  # a worker had it removed at this moment
        for file in (path, *_content(path)):
            os.utime(file, (old, old))


def _orphans(stack: Stack, found: Found) -> Iterator[str]:
    yield from (f"{path} was left behind" for path in _left_behind(stack, found))
    for kind, ids in _wanted(found).items():
        stored = {path.name for path in _content(stack.data_dir / kind)}
        yield from (f"{kind}/{name} is missing" for name in sorted(ids - stored))
    with_jobs = {job.series_id for job in found.jobs.values()}
    yield from (f"series {id_} has no job" for id_ in found.series.keys() - with_jobs)


def _left_behind(stack: Stack, found: Found) -> Iterator[Path]:
    for kind, ids in _wanted(found).items():
        yield from (path for path in _content(stack.data_dir / kind) if path.name not in ids)
    yield from _content(stack.data_dir / "incoming")
    yield from (path for path in _content(stack.broker_dir) if path.suffix == ".part")


def _wanted(found: Found) -> dict[StoredKind, set[str]]:
    """Whose files there must be, and no others'."""
    succeeded = (job for job in found.jobs.values() if job.state is JobState.SUCCEEDED)
    return {
        StoredKind.SERIES: {str(series.id) for series in found.series.values()},
        StoredKind.RESULTS: {str(job.id) for job in succeeded},
    }


def _content(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
