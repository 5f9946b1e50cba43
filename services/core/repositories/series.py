"""Every statement about CT series."""

import datetime as dt
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from services.core.actor import SYSTEM, Actor
from services.core.database import Now, UtcDateTime
from services.core.errors import SeriesNotFoundError
from services.core.repositories.paging import PageCursor, page_of
from services.core.tables.access import SeriesOwner
from services.core.tables.contouring import ContourJob, Series

MOST_TIMES_PURGED_MEANWHILE = 8
"""How often the row that an insert ran into may be gone when it is looked for."""


class SeriesRepository:
    """CT series in storage, as one actor sees them.

    One that sees only what is its own finds nothing else here: not even that it exists.
    """

    def __init__(self, session: Session, now: Now, actor: Actor = SYSTEM) -> None:
        self._session = session
        self._now = now
        self._actor = actor

    def get_or_create(self, new: Series) -> tuple[Series, bool]:
        """Return the one row of this content, locked, and whether it is new, without files.

        Whoever posts the same content at the same time waits here for the other's commit, and so
        does who posts what is being purged: a purged series is known by nothing any more, and
        its content is new again. created_at and posted_again_at are set here.
        """
        new.created_at = self._now()
        for attempt in range(MOST_TIMES_PURGED_MEANWHILE):
            try:
                with self._session.begin_nested():
                    self._session.add(new)
            except IntegrityError:
                known = self.find_by_content(new.content_sha256, locked=True)
                if known is not None:
                    known.posted_again_at = self._now()
                    return known, False
                if attempt + 1 == MOST_TIMES_PURGED_MEANWHILE:
                    raise
            else:
                break
        return new, True

    def add_owner(self, series: Series) -> None:
        """Note that the actor posted a series, which get_or_create locked before."""
        if self._session.get(SeriesOwner, (series.id, self._actor.id)) is None:
            self._session.add(
                SeriesOwner(
                    series_id=series.id, actor_id=self._actor.id, created_at=series.created_at
                )
            )
            self._session.flush()

    def has_other_owner(self, series_id: UUID) -> bool:
        """Tell whether somebody else posted the series too."""
        others = sa.select(SeriesOwner.actor_id).where(
            SeriesOwner.series_id == series_id, SeriesOwner.actor_id != self._actor.id
        )
        return self._session.scalars(others.limit(1)).first() is not None

    def get(self, series_id: UUID) -> Series:
        """Return a series.

        Raises:
            SeriesNotFoundError: no row has the id.
        """
        return self._seen(series_id, self._session.get(Series, series_id))

    def get_locked(self, series_id: UUID) -> Series:
        """Return a series that nobody purges before this transaction ends.

        Raises:
            SeriesNotFoundError: no row has the id.
        """
        found = self._session.get(Series, series_id, with_for_update=True, populate_existing=True)
        return self._seen(series_id, found)

    def find_by_content(self, content_sha256: str, *, locked: bool = False) -> Series | None:
        """Return the series of this content, with or without files, or None."""
        query = sa.select(Series).where(Series.content_sha256 == content_sha256)
        if locked:
            query = query.with_for_update()
        return self._session.scalars(query).one_or_none()

    def page(self, limit: int, after: PageCursor | None = None) -> list[Series]:
        """List series, newest first, from behind a cursor."""
        if self._actor.sees_only_own:
            return self._own_page(limit, after)
        return list(self._session.scalars(page_of(sa.select(Series), Series, after).limit(limit)))

    def due_for_purge(self, before: dt.datetime, limit: int) -> list[UUID]:
        """List series last posted before a moment whose jobs have all been purged."""
        kept = sa.exists().where(ContourJob.series_id == Series.id, ContourJob.purged_at.is_(None))
        return list(
            self._session.scalars(
                sa.select(Series.id)
                .where(Series.purged_at.is_(None), _last_posted_before(before), ~kept)
                .order_by(Series.created_at)
                .limit(limit)
            )
        )

    def unused(self, before: dt.datetime, limit: int) -> list[UUID]:
        """List series with files, last posted before a moment, that no job was ever asked for."""
        used = sa.exists().where(ContourJob.series_id == Series.id)
        return list(
            self._session.scalars(
                sa.select(Series.id)
                .where(Series.purged_at.is_(None), _last_posted_before(before), ~used)
                .order_by(Series.created_at)
                .limit(limit)
            )
        )

    def purge(self, series_id: UUID, before: dt.datetime) -> bool:
        """Mark a series as without files; return whether.

        Not one that a job needs, or that was posted again since the moment. The row stays locked
        until the transaction ends.
        """
        series = self.get_locked(series_id)
        needed = self._session.scalars(
            sa.select(ContourJob.id)
            .where(ContourJob.series_id == series_id, ContourJob.purged_at.is_(None))
            .limit(1)
        ).first()
        last_posted_at = series.posted_again_at or series.created_at
        if series.purged_at is not None or needed is not None or last_posted_at >= before:
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

    def has_deidentified(self) -> bool:
        """Tell whether any series in storage was de-identified."""
        stored = sa.select(Series.id).where(Series.is_deidentified, Series.purged_at.is_(None))
        return self._session.scalars(stored.limit(1)).first() is not None

    def _seen(self, series_id: UUID, found: Series | None) -> Series:
        if found is not None and self._actor.sees_only_own:
            owner = self._session.get(SeriesOwner, (series_id, self._actor.id))
            found = found if owner is not None else None
        if found is None:
            raise SeriesNotFoundError(series_id)
        return found

    def _own_page(self, limit: int, after: PageCursor | None) -> list[Series]:
        query = (
            sa.select(Series)
            .join(SeriesOwner, SeriesOwner.series_id == Series.id)
            .where(SeriesOwner.actor_id == self._actor.id)
            .order_by(SeriesOwner.created_at.desc(), SeriesOwner.series_id.desc())
        )
        if after is not None:
            query = query.where(
                sa.tuple_(SeriesOwner.created_at, SeriesOwner.series_id)
                < sa.tuple_(sa.bindparam(None, after.created_at, UtcDateTime()), after.id)
            )
        return list(self._session.scalars(query.limit(limit)))


def _last_posted_before(moment: dt.datetime) -> sa.ColumnElement[bool]:
    return sa.and_(
        Series.created_at < moment,  # by the index
        sa.or_(Series.posted_again_at.is_(None), Series.posted_again_at < moment),
    )
