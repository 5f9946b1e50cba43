"""Every statement about edited RTSTRUCTs."""

from uuid import UUID

from sqlalchemy.orm import Session

from services.core.database import Now
from services.core.errors import EditedRtstructNotFoundError
from services.core.tables.reviews import EditedRtstruct


class EditedRtstructRepository:
    """RTSTRUCTs as clinicians corrected them."""

    def __init__(self, session: Session, now: Now) -> None:
        self._session = session
        self._now = now

    def get(self, edited_id: UUID) -> EditedRtstruct:
        """Return an edited RTSTRUCT as it is now.

        Raises:
            EditedRtstructNotFoundError: no row has the id.
        """
        found = self._session.get(EditedRtstruct, edited_id, populate_existing=True)
        if found is None:
            raise EditedRtstructNotFoundError(edited_id)
        return found
