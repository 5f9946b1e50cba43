"""Every statement about deletions."""

import datetime as dt
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.core.actor import Actor
from services.core.audit import ResourceKind
from services.core.audit_chain import canonical_moment, entry_sha256
from services.core.database import Now
from services.core.deletion_errors import DeletionNotFoundError
from services.core.lifecycle import DeletionCause
from services.core.repositories.paging import PageCursor, page_of
from services.core.tables.audit import Deletion
from services.core.tables.leased import Json


def deletion_record(deletion: Deletion) -> Json:
    """Return what a deletion's hash is made of, and what is shown of it."""
    removed: dict[str, dict[str, int]] = {}
    for folder in deletion.folders:
        if folder["files"]:
            total = removed.setdefault(folder["kind"], {"folders": 0, "files": 0, "bytes": 0})
            total["folders"] += 1
            total["files"] += folder["files"]
            total["bytes"] += folder["bytes"]
    done = deletion.completed_at
    return {
        "id": str(deletion.id),
        "resource_kind": deletion.resource_kind.value,
        "resource_id": str(deletion.resource_id),
        "cause": deletion.cause.value,
        "actor_kind": deletion.actor_kind.value,
        "actor_id": deletion.actor_id,
        "requested_at": canonical_moment(deletion.created_at),
        "completed_at": None if done is None else canonical_moment(done),
        "removed": removed,
        "rows": deletion.rows,
        "remaining": deletion.remaining,
    }


class DeletionRepository:
    """What was asked to be removed, and what is still there."""

    def __init__(self, session: Session, now: Now, actor: Actor) -> None:
        self._session = session
        self._now = now
        self._actor = actor

    def add(self, deletion: Deletion) -> Deletion:
        """Bring a deletion into the transaction; actor and created_at are set here."""
        deletion.actor_kind, deletion.actor_id = self._actor.kind, self._actor.id
        deletion.created_at = self._now()
        self._session.add(deletion)
        self._session.flush()
        return deletion

    def get(self, deletion_id: UUID, *, locked: bool = False) -> Deletion:
        """Return a deletion as it is now; locked, nobody goes on with it meanwhile.

        Raises:
            DeletionNotFoundError: no row has the id.
        """
        found = self._session.get(
            Deletion, deletion_id, populate_existing=True, with_for_update=locked
        )
        if found is None:
            raise DeletionNotFoundError(deletion_id)
        return found

    def complete(self, deletion: Deletion) -> None:
        """Note that all files of a locked deletion are gone, and seal the record."""
        deletion.completed_at = self._now()
        deletion.sha256 = entry_sha256(deletion_record(deletion))
        self._session.flush()

    def find_of(self, *resources: tuple[ResourceKind, UUID]) -> Deletion | None:
        """Return the last deletion of a resource; None where there is none, or it is retention's.

        What retention left to datasets goes on a person's word, by a deletion of its own.

        resources: by any of which it may have gone: its own first, then what it belongs to.
        """
        for kind, resource_id in resources:
            found = self._session.scalars(
                sa.select(Deletion)
                .where(Deletion.resource_kind == kind, Deletion.resource_id == resource_id)
                .order_by(Deletion.created_at.desc(), Deletion.id.desc())
                .limit(1)
            ).first()
            if found is not None:
                return None if found.cause is DeletionCause.RETENTION else found
        return None

    def unfinished(self, before: dt.datetime, limit: int) -> list[UUID]:
        """List deletions that were asked for before a moment and are not completed.

        Also those asked for as long after now: the clock was set back since.
        """
        now = self._now()
        is_due = sa.or_(Deletion.created_at < before, Deletion.created_at > now + (now - before))
        return list(
            self._session.scalars(
                sa.select(Deletion.id)
                .where(Deletion.completed_at.is_(None), is_due)
                .order_by(Deletion.created_at)
                .limit(limit)
            )
        )

    def page(
        self,
        limit: int,
        after: PageCursor | None = None,
        *,
        kind: ResourceKind | None = None,
        resource_id: UUID | None = None,
        is_completed: bool | None = None,
    ) -> list[Deletion]:
        """List deletions, newest first, from behind a cursor."""
        query = sa.select(Deletion)
        if kind is not None:
            query = query.where(Deletion.resource_kind == kind)
        if resource_id is not None:
            query = query.where(Deletion.resource_id == resource_id)
        if is_completed is not None:
            query = query.where(Deletion.completed_at.is_not(None) == is_completed)
        return list(self._session.scalars(page_of(query, Deletion, after).limit(limit)))
