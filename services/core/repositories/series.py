"""Every statement about CT series."""

import datetime as dt
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from services.core.database import Now
from services.core.errors import SeriesNotFoundError
from services.core.repositories.paging import PageCursor, page_of
from services.core.tables.contouring import ContourJob, Series


class SeriesRepository:
    """CT series in storage."""

    def __init__(self, session: Session, now: Now) -> None:
        self._session = session
        self._now = now

    def get_or_create(self, new: Series) -> tuple[Series, bool]:
        """Return the one row of this content, locked, and whether its files must be published.

        The row is new, or known and then again without files, or known with files: only in the
        last case False comes back. Whoever posts the same content at the same time waits here
        for the other's commit. created_at is set here.
        """
        new.created_at = self._now()
        try:
            with self._session.begin_nested():
                self._session.add(new)
        except IntegrityError:
            known = self._session.scalars(
                sa.select(Series)
                .where(Series.content_sha256 == new.content_sha256)
                .with_for_update()
            ).one()
            was_purged = known.purged_at is not None
            known.purged_at = None
            return known, was_purged
        return new, True

    def get(self, series_id: UUID) -> Series:
        """Return a series.

        Raises:
            SeriesNotFoundError: no row has the id.
        """
        found = self._session.get(Series, series_id)
        if found is None:
            raise SeriesNotFoundError(series_id)
        return found

    def get_locked(self, series_id: UUID) -> Series:
        """Return a series that nobody purges before this transaction ends.

        Raises:
            SeriesNotFoundError: no row has the id.
        """
        found = self._session.get(Series, series_id, with_for_update=True, populate_existing=True)
        if found is None:
            raise SeriesNotFoundError(series_id)
        return found

    def find_by_content(self, content_sha256: str) -> Series | None:
        """Return the series of this content, with or without files, or None."""
        return self._session.scalars(
            sa.select(Series).where(Series.content_sha256 == content_sha256)
        ).one_or_none()

    def page(self, limit: int, after: PageCursor | None = None) -> list[Series]:
        """List series, newest first, from behind a cursor."""
        return list(self._session.scalars(page_of(sa.select(Series), Series, after).limit(limit)))

    def due_for_purge(self, before: dt.datetime, limit: int) -> list[UUID]:
        """List series posted before a moment whose jobs have all been purged."""
        kept = sa.exists().where(ContourJob.series_id == Series.id, ContourJob.purged_at.is_(None))
        return list(
            self._session.scalars(
                sa.select(Series.id)
                .where(Series.purged_at.is_(None), Series.created_at < before, ~kept)
                .order_by(Series.created_at)
                .limit(limit)
            )
        )

    def purge(self, series_id: UUID) -> bool:
        """Mark a series as without files, unless a job still needs them; return whether.

        The row stays locked until the transaction ends: remove the files before the commit.
        """
        series = self.get_locked(series_id)
        needed = self._session.scalars(
            sa.select(ContourJob.id)
            .where(ContourJob.series_id == series_id, ContourJob.purged_at.is_(None))
            .limit(1)
        ).first()
        if series.purged_at is not None or needed is not None:
            return False
        series.purged_at = self._now()
        return True

    def stored_among(self, series_ids: list[UUID]) -> set[UUID]:
        """Tell which of these ids are series whose files should be in storage."""
        return set(
            self._session.scalars(
                sa.select(Series.id).where(Series.id.in_(series_ids), Series.purged_at.is_(None))
            )
        )
