"""Every statement about dataset versions."""

import datetime as dt
from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.core.database import Now
from services.core.errors import DatasetVersionNotFoundError, IllegalTransitionError
from services.core.lifecycle import ACTIVE_STATES, TERMINAL_STATES, JobState, is_legal
from services.core.queue import TaskName
from services.core.repositories.leases import LeaseRepository
from services.core.repositories.paging import PageCursor, page_of
from services.core.tables.datasets import DatasetVersion
from services.core.tables.experiments import Experiment, Run
from services.core.tables.leased import Json
from services.core.tables.model_versions import ModelAlias, ModelVersion


class DatasetVersionRepository:
    """Dataset versions."""

    def __init__(self, session: Session, now: Now) -> None:
        self._session = session
        self._now = now

    def add(
        self,
        dataset_id: UUID,
        request: Json,
        *,
        structure_set: str,
        correlation_id: str,
        max_attempts: int,
    ) -> DatasetVersion:
        """Queue the next version of a dataset; lock the dataset before."""
        last = self._session.scalars(
            sa.select(sa.func.max(DatasetVersion.number)).where(
                DatasetVersion.dataset_id == dataset_id
            )
        ).one()
        version = DatasetVersion(
            dataset_id=dataset_id,
            number=(last or 0) + 1,
            request=request,
            structure_set=structure_set,
            correlation_id=correlation_id,
            max_attempts=max_attempts,
            created_at=self._now(),
        )
        self._session.add(version)
        self._session.flush()
        return version

    def get(self, version_id: UUID) -> DatasetVersion:
        """Return a dataset version as it is now.

        Raises:
            DatasetVersionNotFoundError: no row has the id.
        """
        found = self._session.get(DatasetVersion, version_id, populate_existing=True)
        if found is None:
            raise DatasetVersionNotFoundError(version_id)
        return found

    def get_locked(self, version_id: UUID) -> DatasetVersion:
        """Return a dataset version whose files nobody removes before this transaction ends.

        Raises:
            DatasetVersionNotFoundError: no row has the id.
        """
        found = self._session.get(
            DatasetVersion, version_id, with_for_update=True, populate_existing=True
        )
        if found is None:
            raise DatasetVersionNotFoundError(version_id)
        return found

    def page(
        self, dataset_id: UUID, limit: int, after: PageCursor | None = None
    ) -> list[DatasetVersion]:
        """List the versions of a dataset, newest first, from behind a cursor."""
        query = sa.select(DatasetVersion).where(DatasetVersion.dataset_id == dataset_id)
        return list(self._session.scalars(page_of(query, DatasetVersion, after).limit(limit)))

    def latest_of(self, dataset_ids: Sequence[UUID]) -> dict[UUID, DatasetVersion]:
        """Return, by dataset, the last version of each of these that has any."""
        last = (
            sa.select(DatasetVersion.dataset_id, sa.func.max(DatasetVersion.number).label("number"))
            .where(DatasetVersion.dataset_id.in_(dataset_ids))
            .group_by(DatasetVersion.dataset_id)
            .subquery()
        )
        found = self._session.scalars(
            sa.select(DatasetVersion).join(
                last,
                sa.and_(
                    last.c.dataset_id == DatasetVersion.dataset_id,
                    last.c.number == DatasetVersion.number,
                ),
            )
        )
        return {version.dataset_id: version for version in found}

    def find_active(self, dataset_id: UUID) -> DatasetVersion | None:
        """Return the version of a dataset that is queued or running, or None."""
        return self._session.scalars(
            sa.select(DatasetVersion)
            .where(DatasetVersion.dataset_id == dataset_id, DatasetVersion.state.in_(ACTIVE_STATES))
            .limit(1)
        ).first()

    def find_last_stored(self, dataset_id: UUID) -> DatasetVersion | None:
        """Return the last version of a dataset whose files are in storage, or None."""
        return self._session.scalars(
            sa.select(DatasetVersion)
            .where(
                DatasetVersion.dataset_id == dataset_id,
                DatasetVersion.state == JobState.SUCCEEDED,
                DatasetVersion.purged_at.is_(None),
            )
            .order_by(DatasetVersion.number.desc())
            .limit(1)
        ).first()

    def request_cancel(self, version_id: UUID) -> DatasetVersion:
        """Cancel a queued version at once; ask the worker of a running one to stop.

        Raises:
            DatasetVersionNotFoundError: no row has the id.
            IllegalTransitionError: the version succeeded or failed before.
        """
        leases = LeaseRepository(self._session, self._now)
        leases.request_cancel(TaskName.DATASET_VERSION_INDEX, version_id)
        version = self.get(version_id)
        if version.state is not JobState.CANCELLED and not is_legal(
            version.state, JobState.CANCELLED
        ):
            raise IllegalTransitionError(version_id, version.state, JobState.CANCELLED)
        return version

    def all_locked(self, dataset_id: UUID) -> list[DatasetVersion]:
        """Return the versions of a dataset, whose files nobody removes before the end of this."""
        return list(
            self._session.scalars(
                sa.select(DatasetVersion)
                .where(DatasetVersion.dataset_id == dataset_id)
                .order_by(DatasetVersion.number)
                .with_for_update()
            )
        )

    def find_user(self, version_id: UUID) -> dict[str, UUID] | None:
        """Return what needs a version, by the name of its id: a run or a model; None: nothing."""
        run_id = self._find_run_on(version_id)
        if run_id is not None:
            return {"run_id": run_id}
        model_version_id = self._find_model_in_use_of(version_id)
        return None if model_version_id is None else {"model_version_id": model_version_id}

    def stored_among(self, version_ids: list[UUID]) -> set[UUID]:
        """Tell which of these ids are versions whose files are, or may soon be, in storage."""
        return set(
            self._session.scalars(
                sa.select(DatasetVersion.id).where(
                    DatasetVersion.id.in_(version_ids),
                    DatasetVersion.purged_at.is_(None),
                    DatasetVersion.state.in_([JobState.SUCCEEDED, JobState.RUNNING]),
                )
            )
        )

    def ended_among(self, version_ids: list[UUID], before: dt.datetime) -> set[UUID]:
        """Tell which of these ids are versions that ended before a moment, for good."""
        return set(
            self._session.scalars(
                sa.select(DatasetVersion.id).where(
                    DatasetVersion.id.in_(version_ids),
                    DatasetVersion.state.in_(TERMINAL_STATES),
                    DatasetVersion.finished_at < before,
                )
            )
        )

    def _find_run_on(self, version_id: UUID) -> UUID | None:
        """Return a run on a version that is not over, or None."""
        return self._session.scalars(
            sa.select(Run.id)
            .join(Experiment, Experiment.id == Run.experiment_id)
            .where(Experiment.dataset_version_id == version_id, Run.state.in_(ACTIVE_STATES))
            .limit(1)
        ).first()

    def _find_model_in_use_of(self, version_id: UUID) -> UUID | None:
        """Return a model version that contours or is being checked and learned from it, or None."""
        trained_on_it = (
            sa.select(Run.id)
            .join(Experiment, Experiment.id == Run.experiment_id)
            .where(Experiment.dataset_version_id == version_id)
        )
        has_alias = sa.exists().where(ModelAlias.model_version_id == ModelVersion.id)
        return self._session.scalars(
            sa.select(ModelVersion.id)
            .where(
                sa.or_(
                    ModelVersion.dataset_version_id == version_id,
                    ModelVersion.run_id.in_(trained_on_it),
                ),
                sa.or_(ModelVersion.state.in_(ACTIVE_STATES), has_alias),
            )
            .limit(1)
        ).first()
