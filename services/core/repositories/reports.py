"""Every statement about reports."""

from uuid import UUID

from sqlalchemy.orm import Session

from services.core.database import Now
from services.core.errors import ReportNotFoundError
from services.core.tables.experiments import Report


class ReportRepository:
    """Reports on experiments."""

    def __init__(self, session: Session, now: Now) -> None:
        self._session = session
        self._now = now

    def get(self, report_id: UUID) -> Report:
        """Return a report as it is now.

        Raises:
            ReportNotFoundError: no row has the id.
        """
        found = self._session.get(Report, report_id, populate_existing=True)
        if found is None:
            raise ReportNotFoundError(report_id)
        return found
