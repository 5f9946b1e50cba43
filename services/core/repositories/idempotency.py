"""Every statement about Idempotency-Keys."""

import datetime as dt
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from services.core.actor import SYSTEM
from services.core.database import Now
from services.core.errors import IdempotencyKeyReusedError
from services.core.tables.operations import IdempotencyRecord


class IdempotencyRepository:
    """What the Idempotency-Keys of one actor made in the last hours."""

    def __init__(self, session: Session, now: Now, actor_id: str = SYSTEM.id) -> None:
        self._session = session
        self._now = now
        self._actor_id = actor_id

    def find(self, *, route: str, key: str, request_sha256: str) -> UUID | None:
        """Return the resource this request made before, or None.

        Raises:
            IdempotencyKeyReusedError: the key came with a different request.
        """
        record = self._session.scalars(
            sa.select(IdempotencyRecord).where(
                IdempotencyRecord.actor_id == self._actor_id,
                IdempotencyRecord.route == route,
                IdempotencyRecord.key == key,
            )
        ).one_or_none()
        if record is None:
            return None
        if record.request_sha256 != request_sha256:
            raise IdempotencyKeyReusedError
        return record.resource_id

    def remember(self, *, route: str, key: str, request_sha256: str, resource_id: UUID) -> UUID:
        """Tie a key to the resource made in this transaction; return the one it is tied to.

        Another id than the given one means that the same request came twice at the same time
        and the other was first: roll back and answer with that resource. Waits for the other's
        commit.

        Raises:
            IdempotencyKeyReusedError: the key came with a different request.
        """
        try:
            with self._session.begin_nested():
                self._session.add(
                    IdempotencyRecord(
                        actor_id=self._actor_id,
                        route=route,
                        key=key,
                        request_sha256=request_sha256,
                        resource_id=resource_id,
                        created_at=self._now(),
                    )
                )
        except IntegrityError:
            first = self.find(route=route, key=key, request_sha256=request_sha256)
            if first is None:  # forgotten between the two statements
                raise
            return first
        return resource_id

    def forget(self, before: dt.datetime) -> None:
        """Remove the records that anybody made before a moment."""
        self._session.execute(
            sa.delete(IdempotencyRecord).where(IdempotencyRecord.created_at < before)
        )
