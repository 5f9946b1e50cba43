"""Every statement about datasets and where their cases come from."""

from uuid import UUID

from sqlalchemy.orm import Session

from services.core.database import Now
from services.core.errors import DatasetNotFoundError
from services.core.tables.datasets import Dataset


class DatasetRepository:
    """Datasets and their sources."""

    def __init__(self, session: Session, now: Now) -> None:
        self._session = session
        self._now = now

    def get(self, dataset_id: UUID) -> Dataset:
        """Return a dataset as it is now.

        Raises:
            DatasetNotFoundError: no row has the id.
        """
        found = self._session.get(Dataset, dataset_id, populate_existing=True)
        if found is None:
            raise DatasetNotFoundError(dataset_id)
        return found
