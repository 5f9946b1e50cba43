"""Every statement about reports on experiments."""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.core.database import Now
from services.core.errors import ReportNotFoundError
from services.core.lifecycle import JobState
from services.core.repositories.paging import PageCursor, page_of
from services.core.tables.experiments import Report, ReportExperiment


class ReportRepository:
    """Reports on experiments."""

    def __init__(self, session: Session, now: Now) -> None:
        self._session = session
        self._now = now

    def add(self, report: Report, experiment_ids: Sequence[UUID]) -> None:
        """Bring a queued report into the transaction; created_at is set here."""
        report.created_at = self._now()
        self._session.add(report)
        self._session.flush()
        self._session.add_all(
            ReportExperiment(report_id=report.id, experiment_id=experiment_id, position=position)
            for position, experiment_id in enumerate(experiment_ids)
        )
        self._session.flush()

    def get(self, report_id: UUID, *, locked: bool = False) -> Report:
        """Return a report as it is now; locked, it stays so until the transaction ends.

        Raises:
            ReportNotFoundError: no row has the id.
        """
        found = self._session.get(Report, report_id, populate_existing=True, with_for_update=locked)
        if found is None:
            raise ReportNotFoundError(report_id)
        return found

    def experiments_of(self, report_ids: Sequence[UUID]) -> dict[UUID, list[UUID]]:
        """Return the experiments that reports show, in the order asked for."""
        rows = self._session.scalars(
            sa.select(ReportExperiment)
            .where(ReportExperiment.report_id.in_(report_ids))
            .order_by(ReportExperiment.report_id, ReportExperiment.position)
        )
        found: dict[UUID, list[UUID]] = {report_id: [] for report_id in report_ids}
        for row in rows:
            found[row.report_id].append(row.experiment_id)
        return found

    def page(
        self, limit: int, after: PageCursor | None = None, *, experiment_id: UUID | None = None
    ) -> list[Report]:
        """List reports, newest first, from behind a cursor."""
        query = sa.select(Report)
        if experiment_id is not None:
            shown = sa.select(ReportExperiment.report_id).where(
                ReportExperiment.experiment_id == experiment_id
            )
            query = query.where(Report.id.in_(shown))
        return list(self._session.scalars(page_of(query, Report, after).limit(limit)))

    def with_files_among(self, report_ids: Sequence[UUID]) -> set[UUID]:
        """Tell which of these ids are reports whose files are, or may soon be, in storage."""
        return set(
            self._session.scalars(
                sa.select(Report.id).where(
                    Report.id.in_(report_ids),
                    Report.purged_at.is_(None),
                    Report.state.in_([JobState.SUCCEEDED, JobState.RUNNING]),
                )
            )
        )
