"""Deletions: listed and shown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from services.core.audit import ResourceKind
from services.core.deletion_errors import DeletionNotFoundError
from services.core.repositories.paging import PageCursor
from services.core.tables.audit import Deletion
from services.core.unit_of_work import UnitOfWork


@dataclass(frozen=True, kw_only=True, slots=True)
class DeletionFilter:
    """Which deletions are wanted; None: all."""

    kind: ResourceKind | None
    resource_id: UUID | None
    is_completed: bool | None


class DeletionService:
    """Deletions in the words of the domain."""

    def __init__(self, new_unit_of_work: Callable[[], UnitOfWork]) -> None:
        self._new_unit_of_work = new_unit_of_work

    def get(self, deletion_id: UUID) -> Deletion:
        """Return a deletion; who sees only what is its own sees those that it asked for.

        Raises:
            DeletionNotFoundError: no row has the id, or it is another's.
        """
        with self._new_unit_of_work() as uow:
            found = uow.deletions.get(deletion_id)
            if uow.actor.sees_only_own and found.actor_id != uow.actor.id:
                raise DeletionNotFoundError(deletion_id)
            return found

    def page(
        self, wanted: DeletionFilter, limit: int, after: PageCursor | None
    ) -> Sequence[Deletion]:
        """List deletions, newest first, from behind a cursor."""
        with self._new_unit_of_work() as uow:
            return uow.deletions.page(
                limit,
                after,
                kind=wanted.kind,
                resource_id=wanted.resource_id,
                is_completed=wanted.is_completed,
            )
