"""Reports on experiments: asked for, listed, read file by file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from services.api.experiments.errors import (
    DatasetVersionsDifferError,
    NothingToReportError,
    ReportFileNotFoundError,
    ReportInProgressError,
    ReportNotReadyError,
    ReportPurgedError,
)
from services.api.idempotency import KeyedRoute, RequestKey, WorkRequest, text_sha256
from services.api.removal import finish_deletion
from services.core.audit import Action, ResourceKind
from services.core.deletion import begin_deletion
from services.core.lifecycle import JobState
from services.core.queue import TaskName
from services.core.repositories.paging import PageCursor
from services.core.storage import Storage, StoredKind
from services.core.tables.audit import Deletion
from services.core.tables.experiments import Report
from services.core.unit_of_work import UnitOfWork


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownReport:
    """A report and what it shows."""

    report: Report
    experiment_ids: Sequence[UUID]


class ReportService:
    """Reports on experiments."""

    def __init__(self, new_unit_of_work: Callable[[], UnitOfWork], storage: Storage) -> None:
        self._new_unit_of_work = new_unit_of_work
        self._storage = storage

    def post(
        self, experiment_ids: Sequence[UUID], title: str | None, work: WorkRequest
    ) -> ShownReport:
        """Queue a report on experiments side by side.

        Raises:
            ExperimentNotFoundError: no row has one of the ids.
            DatasetVersionsDifferError: they are on different cases, so nothing is paired.
            NothingToReportError: no run of one of them succeeded.
            IdempotencyKeyReusedError: the key came with a different request.
        """
        key = RequestKey(
            route=KeyedRoute.REPORTS,
            key=work.idempotency_key,
            request_sha256=text_sha256(repr((title, [str(i) for i in experiment_ids]))),
        )
        with self._new_unit_of_work() as uow:
            report_id = key.find(uow)
            if report_id is None:
                report = _add(uow, experiment_ids, title, work)
                report_id = key.remember(uow, report.id)
                if report_id == report.id:
                    uow.audit.record(
                        Action.REPORT_SUBMITTED,
                        ResourceKind.REPORT,
                        report_id,
                        experiment_ids=[str(experiment_id) for experiment_id in experiment_ids],
                    )
                    uow.commit()
        return self.get(report_id)

    def get(self, report_id: UUID) -> ShownReport:
        """Return a report; raises ReportNotFoundError."""
        with self._new_unit_of_work() as uow:
            report = uow.reports.get(report_id)
            return ShownReport(
                report=report, experiment_ids=uow.reports.experiments_of([report_id])[report_id]
            )

    def page(
        self, limit: int, after: PageCursor | None, experiment_id: UUID | None
    ) -> Sequence[ShownReport]:
        """List reports, newest first, from behind a cursor."""
        with self._new_unit_of_work() as uow:
            reports = uow.reports.page(limit, after, experiment_id=experiment_id)
            shown = uow.reports.experiments_of([report.id for report in reports])
        return [ShownReport(report=report, experiment_ids=shown[report.id]) for report in reports]

    def file(self, report_id: UUID, name: str) -> Path:
        """Return a file of a report.

        Raises:
            ReportNotFoundError: no row has the id.
            ReportNotReadyError: it is not written.
            ReportPurgedError: its files were removed.
            ReportFileNotFoundError: it has no file of that name.
        """
        with self._new_unit_of_work() as uow:
            report = uow.reports.get(report_id)
        if report.state is not JobState.SUCCEEDED:
            raise ReportNotReadyError(report_id, report.state)
        if report.purged_at is not None:
            raise ReportPurgedError(report_id)
        if name not in (report.file_names or ()):
            raise ReportFileNotFoundError(report_id, report.file_names or [])
        return self._storage.file(StoredKind.REPORTS, report_id, name)

    def delete(self, report_id: UUID) -> Deletion:
        """Delete a report; which experiments it showed stays.

        Raises:
            ReportNotFoundError: no row has the id.
            ReportInProgressError: a worker has not ended with it.
        """
        with self._new_unit_of_work() as uow:
            report = uow.reports.get(report_id, locked=True)
            deletion = uow.deletions.find_of((ResourceKind.REPORT, report_id))
            if deletion is None:
                if not report.state.is_terminal:
                    raise ReportInProgressError(report_id, report.state)
                erased = uow.erasure.report(report)
                deletion = begin_deletion(uow, ResourceKind.REPORT, report_id, erased)
                uow.commit()
        return finish_deletion(self._new_unit_of_work, self._storage, deletion)


def _add(
    uow: UnitOfWork, experiment_ids: Sequence[UUID], title: str | None, work: WorkRequest
) -> Report:
    experiments = [uow.experiments.get(experiment_id) for experiment_id in experiment_ids]
    versions = {experiment.dataset_version_id for experiment in experiments}
    if len(versions) > 1:
        raise DatasetVersionsDifferError([str(version) for version in versions])
    tallies = uow.experiments.tallies(experiment_ids)
    for experiment_id in experiment_ids:
        if JobState.SUCCEEDED not in tallies[experiment_id].by_state:
            raise NothingToReportError(experiment_id)
    report = Report(
        title=title or " and ".join(experiment.name for experiment in experiments)[:255],
        is_automatic=False,
        correlation_id=work.correlation_id,
        max_attempts=work.max_attempts,
    )
    uow.reports.add(report, experiment_ids)
    uow.enqueue(TaskName.REPORT_WRITE, report.id)
    return report
