"""Every statement about edited RTSTRUCTs."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.core.database import Now
from services.core.errors import EditedRtstructNotFoundError
from services.core.lifecycle import (
    ACTIVE_STATES,
    RESUMABLE_STATES,
    TERMINAL_STATES,
    DatasetSourceKind,
    JobStage,
    JobState,
)
from services.core.queue import TaskName
from services.core.repositories.leases import LeaseRepository
from services.core.repositories.paging import PageCursor, page_of
from services.core.tables.contouring import ContourJob
from services.core.tables.datasets import DatasetSource, DatasetVersion
from services.core.tables.reviews import EditedRtstruct


@dataclass(frozen=True, kw_only=True, slots=True)
class NewEdit:
    """A job's RTSTRUCT as a reader corrected it."""

    job_id: UUID
    review_id: UUID | None
    reviewer: str
    content_sha256: str
    byte_count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AddedEdit:
    """The one row of a file, and what its adder must do for it."""

    row: EditedRtstruct
    needs_file: bool
    """Whether its file is to be published."""
    needs_work: bool
    """Whether it is to be compared: new, or again after a failure."""


class EditedRtstructRepository:
    """RTSTRUCTs as clinicians corrected them."""

    def __init__(self, session: Session, now: Now) -> None:
        self._session = session
        self._now = now

    def add(self, new: NewEdit, *, correlation_id: str, max_attempts: int) -> AddedEdit:
        """Return the one row of this file of a job; lock the job before.

        A row whose file was removed gets it back, for a further retention time; one whose
        comparison failed or was cancelled is queued again.
        """
        known = self._session.scalars(
            sa.select(EditedRtstruct)
            .where(
                EditedRtstruct.job_id == new.job_id,
                EditedRtstruct.content_sha256 == new.content_sha256,
            )
            .with_for_update()
        ).one_or_none()
        if known is None:
            return AddedEdit(
                row=self._insert(new, correlation_id, max_attempts),
                needs_file=True,
                needs_work=True,
            )
        needs_file, needs_work = known.purged_at is not None, known.state in RESUMABLE_STATES
        if needs_file:
            known.purged_at, known.created_at = None, self._now()
        if needs_work:
            _queue_again(known, correlation_id, max_attempts)
        self._session.flush()
        return AddedEdit(row=known, needs_file=needs_file, needs_work=needs_work)

    def get(self, edited_id: UUID) -> EditedRtstruct:
        """Return an edited RTSTRUCT as it is now.

        Raises:
            EditedRtstructNotFoundError: no row has the id.
        """
        found = self._session.get(EditedRtstruct, edited_id, populate_existing=True)
        if found is None:
            raise EditedRtstructNotFoundError(edited_id)
        return found

    def page(
        self,
        limit: int,
        after: PageCursor | None = None,
        *,
        state: JobState | None = None,
        job_id: UUID | None = None,
    ) -> list[EditedRtstruct]:
        """List edited RTSTRUCTs, newest first, from behind a cursor."""
        query = sa.select(EditedRtstruct)
        if state is not None:
            query = query.where(EditedRtstruct.state == state)
        if job_id is not None:
            query = query.where(EditedRtstruct.job_id == job_id)
        return list(self._session.scalars(page_of(query, EditedRtstruct, after).limit(limit)))

    def queue_positions(self, rows: Sequence[EditedRtstruct]) -> dict[UUID, int]:
        """Return, by id, how many queued ones are compared before each that is queued."""
        leases = LeaseRepository(self._session, self._now)
        return leases.queue_positions(TaskName.EDITED_RTSTRUCT_COMPARE, rows)

    def kept_of_series(self, series_id: UUID) -> list[EditedRtstruct]:
        """List the edited RTSTRUCTs of a series' jobs whose files were not removed."""
        return list(
            self._session.scalars(
                sa.select(EditedRtstruct)
                .join(ContourJob, ContourJob.id == EditedRtstruct.job_id)
                .where(ContourJob.series_id == series_id, EditedRtstruct.purged_at.is_(None))
                .order_by(EditedRtstruct.created_at, EditedRtstruct.id)
            )
        )

    def due_for_purge(self, before: dt.datetime, limit: int) -> list[UUID]:
        """List those sent before a moment, compared and not purged."""
        return list(
            self._session.scalars(
                sa.select(EditedRtstruct.id)
                .where(
                    EditedRtstruct.purged_at.is_(None),
                    EditedRtstruct.created_at < before,
                    EditedRtstruct.state.in_(TERMINAL_STATES),
                )
                .order_by(EditedRtstruct.created_at)
                .limit(limit)
            )
        )

    def purge(self, edited_id: UUID, *, even_if_awaited: bool = False) -> bool:
        """Mark a compared one as without file; return whether it had one.

        One that a dataset version is about to read stays, unless a person wants it gone. The row
        stays locked until the transaction ends: remove the file before the commit.
        """
        row = self._session.get(
            EditedRtstruct, edited_id, with_for_update=True, populate_existing=True
        )
        if row is None or row.purged_at is not None or not row.state.is_terminal:
            return False
        if not even_if_awaited and self._is_awaited(edited_id):
            return False
        row.purged_at = self._now()
        self._session.flush()
        return True

    def stored_among(self, edited_ids: list[UUID]) -> set[UUID]:
        """Tell which of these ids are rows whose file should be in storage."""
        return set(
            self._session.scalars(
                sa.select(EditedRtstruct.id).where(
                    EditedRtstruct.id.in_(edited_ids), EditedRtstruct.purged_at.is_(None)
                )
            )
        )

    def _is_awaited(self, edited_id: UUID) -> bool:
        version = self._session.scalars(
            sa.select(DatasetVersion.id)
            .join(DatasetSource, DatasetSource.dataset_id == DatasetVersion.dataset_id)
            .where(
                DatasetSource.kind == DatasetSourceKind.EDITED_RTSTRUCT,
                DatasetSource.content == str(edited_id),
                DatasetVersion.state.in_(ACTIVE_STATES),
            )
            .limit(1)
        ).first()
        return version is not None

    def _insert(self, new: NewEdit, correlation_id: str, max_attempts: int) -> EditedRtstruct:
        row = EditedRtstruct(
            job_id=new.job_id,
            review_id=new.review_id,
            reviewer=new.reviewer,
            content_sha256=new.content_sha256,
            byte_count=new.byte_count,
            correlation_id=correlation_id,
            max_attempts=max_attempts,
            created_at=self._now(),
        )
        self._session.add(row)
        self._session.flush()
        return row


def _queue_again(row: EditedRtstruct, correlation_id: str, max_attempts: int) -> None:
    row.state, row.stage, row.progress = JobState.QUEUED, JobStage.WAITING, 0.0
    row.attempt, row.max_attempts, row.cancel_requested = 0, max_attempts, False
    row.correlation_id, row.published_at, row.finished_at = correlation_id, None, None
    row.error_code = row.error_detail = row.error_context = None
