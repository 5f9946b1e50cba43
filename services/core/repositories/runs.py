"""Every statement about runs, their epochs and their scores."""

from uuid import UUID

from sqlalchemy.orm import Session

from services.core.database import Now
from services.core.errors import RunNotFoundError
from services.core.tables.experiments import Run


class RunRepository:
    """Runs of experiments."""

    def __init__(self, session: Session, now: Now) -> None:
        self._session = session
        self._now = now

    def get(self, run_id: UUID) -> Run:
        """Return a run as it is now.

        Raises:
            RunNotFoundError: no row has the id.
        """
        found = self._session.get(Run, run_id, populate_existing=True)
        if found is None:
            raise RunNotFoundError(run_id)
        return found
