"""Every statement about edited RTSTRUCTs."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.core.actor import SYSTEM, Actor
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
from services.core.tables.datasets import Dataset, DatasetSource, DatasetVersion
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

    def __init__(self, session: Session, now: Now, actor: Actor = SYSTEM) -> None:
        self._session = session
        self._now = now
        self._actor = actor

    def add(self, new: NewEdit, *, correlation_id: str, max_attempts: int) -> AddedEdit:
        """Return the one row of this file of a job; lock the job before.

        One whose comparison failed or was cancelled is queued again.
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
        needs_work = known.state in RESUMABLE_STATES
        if needs_work:
            _queue_again(known, correlation_id, max_attempts)
        self._session.flush()
        return AddedEdit(row=known, needs_file=False, needs_work=needs_work)

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

    def of_series(self, series_id: UUID) -> list[EditedRtstruct]:
        """List the edited RTSTRUCTs of a series' jobs, those without files included."""
        return list(
            self._session.scalars(
                sa.select(EditedRtstruct)
                .join(ContourJob, ContourJob.id == EditedRtstruct.job_id)
                .where(ContourJob.series_id == series_id)
                .order_by(EditedRtstruct.id)
            )
        )

    def of_job(self, job_id: UUID) -> list[EditedRtstruct]:
        """List the edited RTSTRUCTs of a job, those without files included."""
        own = sa.select(EditedRtstruct).where(EditedRtstruct.job_id == job_id)
        return list(self._session.scalars(own.order_by(EditedRtstruct.id)))

    def get_locked(self, edited_id: UUID) -> EditedRtstruct:
        """Return an edited RTSTRUCT that nobody purges before this transaction ends.

        Raises:
            EditedRtstructNotFoundError: no row has the id.
        """
        found = self._session.get(
            EditedRtstruct, edited_id, with_for_update=True, populate_existing=True
        )
        if found is None:
            raise EditedRtstructNotFoundError(edited_id)
        return found

    def find_reader(self, edited_ids: Sequence[UUID]) -> UUID | None:
        """Return a dataset version in progress that reads one of these, or None.

        The datasets that have them as sources are locked: none begins a version meanwhile.
        """
        contents = [str(edited_id) for edited_id in edited_ids]
        has_one = sa.select(DatasetSource.dataset_id).where(
            DatasetSource.kind == DatasetSourceKind.EDITED_RTSTRUCT,
            DatasetSource.content.in_(contents),
        )
        locked = sa.select(Dataset.id).where(Dataset.id.in_(has_one)).order_by(Dataset.id)
        dataset_ids = self._session.scalars(locked.with_for_update()).all()
        return self._session.scalars(
            sa.select(DatasetVersion.id)
            .where(
                DatasetVersion.dataset_id.in_(dataset_ids), DatasetVersion.state.in_(ACTIVE_STATES)
            )
            .limit(1)
        ).first()

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

    def purge(self, edited_id: UUID) -> bool:
        """Mark a compared one as without file; return whether it had one.

        One that a dataset version is about to read stays. The row stays locked until the
        transaction ends.
        """
        row = self.get_locked(edited_id)
        if row.purged_at is not None or not row.state.is_terminal:
            return False
        if self.find_reader([edited_id]) is not None:
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

    def _insert(self, new: NewEdit, correlation_id: str, max_attempts: int) -> EditedRtstruct:
        row = EditedRtstruct(
            job_id=new.job_id,
            review_id=new.review_id,
            reviewer=new.reviewer,
            sent_by=self._actor.id,
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
