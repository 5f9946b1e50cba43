"""Every statement about the names that reviews are signed with."""

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from services.core.names import comparable_name
from services.core.tables.access import ReaderName


class ReaderNameRepository:
    """Readers' names, each of one client."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def claim(self, name: str, actor_id: str) -> bool:
        """Tie a name to the first client that uses it; return whether it is this one's.

        Names that differ in the width or style of their letters are one. Of two clients at the same
        time the later waits for the other's commit.
        """
        owner = self._owner(name)
        if owner is None:
            try:
                with self._session.begin_nested():
                    self._session.add(ReaderName(name=comparable_name(name), actor_id=actor_id))
            except IntegrityError:
                owner = self._owner(name)
            else:
                owner = actor_id
        return owner == actor_id

    def _owner(self, name: str) -> str | None:
        # Names that were claimed before comparable ones were kept are there as they were written.
        spellings = (name, comparable_name(name))
        query = sa.select(ReaderName.actor_id).where(ReaderName.name.in_(spellings))
        return self._session.scalars(query.order_by(ReaderName.name)).first()
