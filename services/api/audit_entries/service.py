"""The audit trail on its way out; reading it is recorded like everything else."""

from collections.abc import Callable, Iterator, Sequence

from services.core.audit import Action, ResourceKind
from services.core.audit_chain import ChainHead
from services.core.repositories.audit import AuditFilter, stream_slices
from services.core.tables.audit import AuditEntry
from services.core.tables.leased import Json
from services.core.unit_of_work import UnitOfWork


class AuditService:
    """The audit trail in the words of the domain."""

    def __init__(self, new_unit_of_work: Callable[[], UnitOfWork]) -> None:
        self._new_unit_of_work = new_unit_of_work

    def page(self, wanted: AuditFilter, limit: int, before: int | None) -> Sequence[AuditEntry]:
        """List entries, newest first, from before a sequence."""
        with self._new_unit_of_work() as uow:
            found = uow.audit.page(wanted, limit, before)
            uow.audit.record(Action.AUDIT_TRAIL_READ, ResourceKind.AUDIT_TRAIL, None)
            uow.commit()
            return found

    def head(self) -> ChainHead:
        """Return the last entry's number and hash."""
        with self._new_unit_of_work() as uow:
            return uow.audit.head()

    def export(self, first: int) -> Iterator[Json]:
        """Yield entries from a sequence to the last one, never many at a time in memory.

        The entry about the export itself is among them.
        """
        with self._new_unit_of_work() as uow:
            uow.audit.record(
                Action.AUDIT_TRAIL_EXPORTED,
                ResourceKind.AUDIT_TRAIL,
                None,
                from_sequence=first,
            )
            uow.commit()
            last = uow.audit.head().sequence
        return stream_slices(self._slice, first, last)

    def _slice(self, first: int, last: int) -> list[Json]:
        with self._new_unit_of_work() as uow:
            return uow.audit.slice(first, last)
