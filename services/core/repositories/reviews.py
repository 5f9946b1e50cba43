"""Every statement about reviews and their grades."""

from uuid import UUID

from sqlalchemy.orm import Session

from services.core.database import Now
from services.core.errors import ReviewNotFoundError
from services.core.tables.reviews import Review


class ReviewRepository:
    """Reviews of contour jobs."""

    def __init__(self, session: Session, now: Now) -> None:
        self._session = session
        self._now = now

    def get(self, review_id: UUID) -> Review:
        """Return a review as it is now.

        Raises:
            ReviewNotFoundError: no row has the id.
        """
        found = self._session.get(Review, review_id, populate_existing=True)
        if found is None:
            raise ReviewNotFoundError(review_id)
        return found
