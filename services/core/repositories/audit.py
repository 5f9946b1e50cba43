"""Every statement about the audit trail."""

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.core.actor import Actor
from services.core.audit import Action, Fact, ResourceKind, check_facts
from services.core.audit_chain import ChainHead, canonical_moment, entry_sha256
from services.core.database import Now
from services.core.tables.audit import AuditEntry, AuditHead
from services.core.tables.leased import Json

STREAMED_ENTRIES = 500
"""Entries read from the database at a time where all are sent on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditFilter:
    """Which entries are wanted; None: all."""

    actor_id: str | None = None
    action: Action | None = None
    resource_kind: ResourceKind | None = None
    resource_id: str | None = None
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    """Not included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Act:
    action: Action
    resource_kind: ResourceKind
    resource_id: str | None
    facts: dict[str, Fact]


class AuditRepository:
    """What was done, by whom; entries are added with the commit and never changed."""

    def __init__(self, session: Session, now: Now, actor: Actor) -> None:
        self._session = session
        self._now = now
        self._actor = actor
        self._acts: list[_Act] = []

    def record(
        self,
        action: Action,
        resource_kind: ResourceKind,
        resource_id: UUID | str | None,
        **facts: Fact,
    ) -> None:
        """Have an entry written with the commit of this transaction, and not without it.

        Raises:
            ValueError: a fact is no id, code or count.
        """
        check_facts(facts)
        self._acts.append(
            _Act(
                action=action,
                resource_kind=resource_kind,
                resource_id=None if resource_id is None else str(resource_id),
                facts=facts,
            )
        )

    def write(self) -> None:
        """Number the entries of this transaction and chain them; call right before the commit.

        The head is locked from here to the commit, so nobody waits for a transaction's own work.
        """
        if not self._acts:
            return
        self._session.flush()  # what waits for other rows' locks does so before the head is locked
        acts, self._acts = self._acts, []
        row = self._session.execute(
            sa.select(AuditHead.sequence, AuditHead.sha256).with_for_update()
        ).one()
        head = ChainHead(sequence=row.sequence, sha256=row.sha256)
        entries: list[Json] = []
        for act in acts:
            entry = self._entry(act, head)
            head = ChainHead(sequence=entry["sequence"], sha256=entry["sha256"])
            entries.append(entry)
        self._session.execute(sa.insert(AuditEntry), entries)
        self._session.execute(
            sa.update(AuditHead)
            .values(sequence=head.sequence, sha256=head.sha256)
            .execution_options(synchronize_session=False)
        )

    def head(self) -> ChainHead:
        """Return the last entry's number and hash."""
        row = self._session.execute(sa.select(AuditHead.sequence, AuditHead.sha256)).one()
        return ChainHead(sequence=row.sequence, sha256=row.sha256)

    def page(self, wanted: AuditFilter, limit: int, before: int | None = None) -> list[AuditEntry]:
        """List entries, newest first, from before a sequence."""
        query = sa.select(AuditEntry).where(*_conditions(wanted))
        if before is not None:
            query = query.where(AuditEntry.sequence < before)
        return list(self._session.scalars(query.order_by(AuditEntry.sequence.desc()).limit(limit)))

    def slice(self, first: int, last: int) -> list[Json]:
        """Return entries from one sequence to another as they are hashed, at most a piece."""
        rows = self._session.execute(
            sa.select(*AuditEntry.__table__.columns)
            .where(AuditEntry.sequence.between(first, last))
            .order_by(AuditEntry.sequence)
            .limit(STREAMED_ENTRIES)
        )
        return [exported(row) for row in rows.mappings()]

    def _entry(self, act: _Act, head: ChainHead) -> Json:
        actor = self._actor
        entry: Json = {
            "sequence": head.sequence + 1,
            "at": self._now(),
            "actor_kind": actor.kind,
            "actor_id": actor.id,
            "actor_name": actor.name,
            "role": actor.role,
            "address": actor.address,
            "correlation_id": actor.correlation_id,
            "action": act.action,
            "resource_kind": act.resource_kind,
            "resource_id": act.resource_id,
            "facts": act.facts,
            "previous_sha256": head.sha256,
        }
        return entry | {"sha256": entry_sha256(exported(entry))}


def stream_slices(read: Callable[[int, int], list[Json]], first: int, last: int) -> Iterator[Json]:
    """Yield entries from one sequence to another, never many at a time in memory.

    read: returns a piece as slice() does, in a transaction of its own: none stays open as long as
    a slow reader takes.
    """
    while first <= last:
        piece = read(first, last)
        if not piece:
            return
        yield from piece
        first = piece[-1]["sequence"] + 1


def exported(values: Any) -> Json:  # noqa: ANN401 (a row's mapping or a dict)
    """Return an entry as it is hashed and exported."""
    return {**values, "at": canonical_moment(values["at"])}


def _conditions(wanted: AuditFilter) -> list[sa.ColumnElement[bool]]:
    equal = {
        AuditEntry.actor_id: wanted.actor_id,
        AuditEntry.action: wanted.action,
        AuditEntry.resource_kind: wanted.resource_kind,
        AuditEntry.resource_id: wanted.resource_id,
    }
    conditions = [column == value for column, value in equal.items() if value is not None]
    if wanted.since is not None:
        conditions.append(AuditEntry.at >= wanted.since)
    if wanted.until is not None:
        conditions.append(AuditEntry.at < wanted.until)
    return conditions
