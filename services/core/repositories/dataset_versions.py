"""Every statement about dataset versions and their cases."""

from uuid import UUID

from sqlalchemy.orm import Session

from services.core.database import Now
from services.core.errors import DatasetVersionNotFoundError
from services.core.tables.datasets import DatasetVersion


class DatasetVersionRepository:
    """Dataset versions and their cases."""

    def __init__(self, session: Session, now: Now) -> None:
        self._session = session
        self._now = now

    def get(self, version_id: UUID) -> DatasetVersion:
        """Return a dataset version as it is now.

        Raises:
            DatasetVersionNotFoundError: no row has the id.
        """
        found = self._session.get(DatasetVersion, version_id, populate_existing=True)
        if found is None:
            raise DatasetVersionNotFoundError(version_id)
        return found
