"""Every statement about model versions and their aliases."""

from uuid import UUID

from sqlalchemy.orm import Session

from services.core.database import Now
from services.core.errors import ModelVersionNotFoundError
from services.core.tables.model_versions import ModelVersion


class ModelVersionRepository:
    """Model versions and the aliases that name them."""

    def __init__(self, session: Session, now: Now) -> None:
        self._session = session
        self._now = now

    def get(self, version_id: UUID) -> ModelVersion:
        """Return a model version as it is now.

        Raises:
            ModelVersionNotFoundError: no row has the id.
        """
        found = self._session.get(ModelVersion, version_id, populate_existing=True)
        if found is None:
            raise ModelVersionNotFoundError(version_id)
        return found
