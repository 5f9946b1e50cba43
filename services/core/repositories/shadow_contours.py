"""Every statement about contours of the shadow version."""

from uuid import UUID

from sqlalchemy.orm import Session

from services.core.database import Now
from services.core.tables.model_versions import ShadowContour


class ShadowContourRepository:
    """Jobs as the shadow version contours them."""

    def __init__(self, session: Session, now: Now) -> None:
        self._session = session
        self._now = now

    def find(self, shadow_id: UUID) -> ShadowContour | None:
        """Return one as it is now, or None."""
        return self._session.get(ShadowContour, shadow_id, populate_existing=True)
