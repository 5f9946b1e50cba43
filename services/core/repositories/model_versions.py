"""Every statement about model versions."""

from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from services.core.database import Now
from services.core.errors import ModelVersionNotFoundError
from services.core.lifecycle import ACTIVE_STATES, JobState
from services.core.repositories.paging import PageCursor, page_of
from services.core.tables.datasets import DatasetVersion
from services.core.tables.experiments import Run
from services.core.tables.leased import Json
from services.core.tables.model_versions import IN_USE, ModelVersion


@dataclass(frozen=True, kw_only=True, slots=True)
class ServedVersion:
    """What is to be known of a version to contour with it."""

    id: UUID
    name: str
    weights_sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionSources:
    """What a version came from, and whose test cases it was checked on."""

    run: Run | None
    dataset_version: DatasetVersion | None


class ModelVersionRepository:
    """Model versions."""

    def __init__(self, session: Session, now: Now) -> None:
        self._session = session
        self._now = now

    def get(self, version_id: UUID, *, locked: bool = False) -> ModelVersion:
        """Return a model version as it is now; locked, it stays so until the transaction ends.

        Raises:
            ModelVersionNotFoundError: no row has the id.
        """
        found = self._session.get(
            ModelVersion, version_id, populate_existing=True, with_for_update=locked
        )
        if found is None:
            raise ModelVersionNotFoundError(version_id)
        return found

    def get_served(self, version_id: UUID) -> ServedVersion:
        """Return what is to be known of a version to contour with it.

        Raises:
            ModelVersionNotFoundError: no row has the id.
        """
        row = self.get(version_id)
        return ServedVersion(id=row.id, name=row.name, weights_sha256=row.weights_sha256)

    def add(self, new: ModelVersion) -> ModelVersion:
        """Queue a version, or return the usable one of the same run, weights or name.

        Waits for whoever adds such a one at the same time. created_at is set here.
        """
        new.created_at = self._now()
        try:
            with self._session.begin_nested():
                self._session.add(new)
        except IntegrityError:
            return self._in_use(new)
        return new

    def page(
        self, limit: int, after: PageCursor | None = None, *, state: JobState | None = None
    ) -> list[ModelVersion]:
        """List versions, newest first, from behind a cursor."""
        query = sa.select(ModelVersion)
        if state is not None:
            query = query.where(ModelVersion.state == state)
        return list(self._session.scalars(page_of(query, ModelVersion, after).limit(limit)))

    def sources_of(self, version: ModelVersion) -> VersionSources:
        """Return the run and the dataset version behind a version."""
        run, dataset_version = None, None
        if version.run_id is not None:
            run = self._session.get(Run, version.run_id)
        if version.dataset_version_id is not None:
            dataset_version = self._session.get(DatasetVersion, version.dataset_version_id)
        return VersionSources(run=run, dataset_version=dataset_version)

    def note_checks(self, version_id: UUID, checks: Json) -> None:
        """Keep what was checked of a version that failed; hold its row."""
        self._session.execute(
            sa.update(ModelVersion).where(ModelVersion.id == version_id).values(checks=checks)
        )

    def retire(self, version: ModelVersion) -> None:
        """Have a locked version take no alias any more; the first time counts."""
        version.retired_at = version.retired_at or self._now()

    def with_files_among(self, version_ids: list[UUID]) -> set[UUID]:
        """Tell which of these ids are versions whose files are, or may soon be, in storage."""
        has_files = ModelVersion.state.in_([JobState.SUCCEEDED, JobState.RUNNING])
        return self._among(version_ids, sa.and_(has_files, ModelVersion.purged_at.is_(None)))

    def with_upload_among(self, version_ids: list[UUID]) -> set[UUID]:
        """Tell which of these ids are versions whose imported files are still to be checked."""
        return self._among(version_ids, ModelVersion.state.in_(ACTIVE_STATES))

    def _among(self, version_ids: list[UUID], condition: sa.ColumnElement[bool]) -> set[UUID]:
        query = sa.select(ModelVersion.id).where(ModelVersion.id.in_(version_ids), condition)
        return set(self._session.scalars(query))

    def _in_use(self, new: ModelVersion) -> ModelVersion:
        """Return the version that stands in another's way: of its run, else weights, else name."""
        claims = [
            ModelVersion.weights_sha256 == new.weights_sha256,
            ModelVersion.name == new.name,
        ]
        if new.run_id is not None:
            claims.insert(0, ModelVersion.run_id == new.run_id)
        rank = sa.case(*((claim, place) for place, claim in enumerate(claims)))
        query = sa.select(ModelVersion).where(IN_USE, sa.or_(*claims)).order_by(rank).limit(1)
        return self._session.scalars(query).one()
