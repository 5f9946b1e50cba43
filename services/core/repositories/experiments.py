"""Every statement about experiments."""

from uuid import UUID

from sqlalchemy.orm import Session

from services.core.database import Now
from services.core.errors import ExperimentNotFoundError
from services.core.tables.experiments import Experiment


class ExperimentRepository:
    """Experiments."""

    def __init__(self, session: Session, now: Now) -> None:
        self._session = session
        self._now = now

    def get(self, experiment_id: UUID) -> Experiment:
        """Return an experiment as it is now.

        Raises:
            ExperimentNotFoundError: no row has the id.
        """
        found = self._session.get(Experiment, experiment_id, populate_existing=True)
        if found is None:
            raise ExperimentNotFoundError(experiment_id)
        return found
