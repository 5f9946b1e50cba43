"""Every statement about datasets and where their cases come from."""

import datetime as dt
from collections.abc import Sequence
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from services.core.database import Now, moments_in_turn
from services.core.deletion_errors import DatasetRemovedError
from services.core.errors import DatasetExistsError, DatasetNotFoundError
from services.core.lifecycle import DatasetSourceKind, JobState
from services.core.repositories.paging import PageCursor, page_of
from services.core.tables.datasets import Dataset, DatasetSource
from services.core.tables.leased import Json
from services.core.tables.reviews import EditedRtstruct


class DatasetRepository:
    """Datasets and their sources."""

    def __init__(self, session: Session, now: Now) -> None:
        self._session = session
        self._now = now

    def add(self, name: str, mapping: Json) -> Dataset:
        """Make a dataset without sources.

        Raises:
            DatasetExistsError: another one has the name.
        """
        dataset = Dataset(id=uuid4(), name=name, mapping=mapping, created_at=self._now())
        try:
            with self._session.begin_nested():
                self._session.add(dataset)
        except IntegrityError as error:
            raise DatasetExistsError(name) from error
        return dataset

    def get(self, dataset_id: UUID) -> Dataset:
        """Return a dataset as it is now.

        Raises:
            DatasetNotFoundError: no row has the id.
            DatasetRemovedError: it was deleted.
        """
        return self._get(dataset_id, is_locked=False)

    def get_locked(self, dataset_id: UUID) -> Dataset:
        """Return a dataset that gets no source or version, and loses none, by anyone else now.

        Raises:
            DatasetNotFoundError: no row has the id.
            DatasetRemovedError: it was deleted.
        """
        return self._get(dataset_id, is_locked=True)

    def page(self, limit: int, after: PageCursor | None = None) -> list[Dataset]:
        """List datasets, newest first, from behind a cursor."""
        query = page_of(sa.select(Dataset).where(Dataset.purged_at.is_(None)), Dataset, after)
        return list(self._session.scalars(query.limit(limit)))

    def known_among(self, wanted: Sequence[DatasetSource]) -> dict[str, DatasetSource]:
        """Return, by content, the sources that a dataset has of these, all of one kind.

        Lock the dataset before.
        """
        found = self._session.scalars(
            sa.select(DatasetSource).where(
                DatasetSource.dataset_id.in_({source.dataset_id for source in wanted}),
                DatasetSource.kind.in_({source.kind for source in wanted}),
                DatasetSource.content.in_([source.content for source in wanted]),
            )
        )
        return {source.content: source for source in found}

    def add_sources(self, sources: Sequence[DatasetSource]) -> None:
        """Bring new sources to a dataset that was locked before; created_at is set here."""
        for source, moment in zip(sources, moments_in_turn(self._now()), strict=False):
            source.created_at = moment
        self._session.add_all(sources)
        self._session.flush()

    def count_sources(self, dataset_id: UUID) -> dict[DatasetSourceKind, int]:
        """Count the sources of every kind that has any."""
        rows = self._session.execute(
            sa.select(DatasetSource.kind, sa.func.count())
            .where(DatasetSource.dataset_id == dataset_id)
            .group_by(DatasetSource.kind)
        )
        return {row.kind: row[1] for row in rows}

    def find_source(self, dataset_id: UUID, source_id: UUID) -> DatasetSource | None:
        """Return a source of a dataset, or None."""
        return self._session.scalars(
            sa.select(DatasetSource).where(
                DatasetSource.id == source_id, DatasetSource.dataset_id == dataset_id
            )
        ).one_or_none()

    def latest_sources(self, dataset_id: UUID, limit: int) -> list[DatasetSource]:
        """List sources, those added last first."""
        return list(
            self._session.scalars(
                sa.select(DatasetSource)
                .where(DatasetSource.dataset_id == dataset_id)
                .order_by(DatasetSource.created_at.desc(), DatasetSource.id.desc())
                .limit(limit)
            )
        )

    def sources_in_order(self, dataset_id: UUID) -> list[DatasetSource]:
        """List sources as they are to be read: what comes later takes the place of the earlier.

        Folders, then uploads, each in the order they were added; then edited RTSTRUCTs in the
        order in which they were sent.
        """
        sources = self._session.scalars(
            sa.select(DatasetSource).where(DatasetSource.dataset_id == dataset_id)
        ).all()
        sent_at = self._times_sent(
            [UUID(s.content) for s in sources if s.kind is DatasetSourceKind.EDITED_RTSTRUCT]
        )
        places = {kind: place for place, kind in enumerate(DatasetSourceKind)}
        return sorted(
            sources, key=lambda s: (places[s.kind], sent_at.get(s.content, s.created_at), s.id)
        )

    def edited_to_add(self, dataset_id: UUID) -> list[EditedRtstruct]:
        """List edited RTSTRUCTs that can be sources and are none yet, in the order sent."""
        known = self._session.scalars(
            sa.select(DatasetSource.content).where(
                DatasetSource.dataset_id == dataset_id,
                DatasetSource.kind == DatasetSourceKind.EDITED_RTSTRUCT,
            )
        )
        is_known = set(known)
        usable = self._session.scalars(
            sa.select(EditedRtstruct)
            .where(EditedRtstruct.state == JobState.SUCCEEDED, EditedRtstruct.purged_at.is_(None))
            .order_by(EditedRtstruct.created_at, EditedRtstruct.id)
        )
        return [edited for edited in usable if str(edited.id) not in is_known]

    def edited_among(self, edited_ids: Sequence[UUID]) -> dict[UUID, EditedRtstruct]:
        """Return the edited RTSTRUCTs that there are of these, by id."""
        found = self._session.scalars(
            sa.select(EditedRtstruct).where(EditedRtstruct.id.in_(edited_ids))
        )
        return {row.id: row for row in found}

    def with_source_among(self, source_ids: list[UUID]) -> set[UUID]:
        """Tell which of these ids are sources, whose files may be in storage."""
        return set(
            self._session.scalars(
                sa.select(DatasetSource.id).where(DatasetSource.id.in_(source_ids))
            )
        )

    def _get(self, dataset_id: UUID, *, is_locked: bool) -> Dataset:
        found = self._session.get(
            Dataset, dataset_id, with_for_update=is_locked, populate_existing=True
        )
        if found is None:
            raise DatasetNotFoundError(dataset_id)
        if found.purged_at is not None:
            raise DatasetRemovedError(dataset_id)
        return found

    def _times_sent(self, edited_ids: Sequence[UUID]) -> dict[str, dt.datetime]:
        rows = self._session.execute(
            sa.select(EditedRtstruct.id, EditedRtstruct.created_at).where(
                EditedRtstruct.id.in_(edited_ids)
            )
        )
        return {str(row.id): row.created_at for row in rows}
