"""Dataset versions: asked for, watched, cancelled, read and removed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from services.api.dataset_versions.errors import (
    DatasetHasNoSourceError,
    DatasetVersionInUseError,
    VersionInProgressError,
)
from services.api.idempotency import KeyedRoute, RequestKey, WorkRequest, text_sha256
from services.api.removal import finish_deletion
from services.core.audit import Action, ResourceKind
from services.core.deletion import begin_deletion
from services.core.lifecycle import CasePart, CaseStatus
from services.core.queue import TaskName
from services.core.repositories.paging import PageCursor
from services.core.storage import Storage
from services.core.tables.audit import Deletion
from services.core.tables.datasets import DatasetCase, DatasetVersion
from services.core.unit_of_work import UnitOfWork

STRUCTURE_SET = "cervix"
"""Name in ml.structures of what cases are read for."""
STREAMED_CASES = 500
"""Cases read at a time for a whole list."""

Json = dict[str, Any]  # Any: nested json values


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseFilter:
    """Which cases are wanted; None: all."""

    status: CaseStatus | None
    part: CasePart | None


class DatasetVersionService:
    """Dataset versions in the words of the domain."""

    def __init__(self, new_unit_of_work: Callable[[], UnitOfWork], storage: Storage) -> None:
        self._new_unit_of_work = new_unit_of_work
        self._storage = storage

    def post(
        self,
        dataset_id: UUID,
        options: Json,
        mapping: Json | None,
        fingerprint: str,
        request: WorkRequest,
    ) -> DatasetVersion:
        """Queue a version, or return the one that the same keyed request made before.

        Args:
            dataset_id: of the dataset.
            options: split and what is allowed, as the worker reads them.
            mapping: for this version; None: the dataset's.
            fingerprint: equal for equal requests.
            request: who asks.

        Raises:
            DatasetNotFoundError: no row has the id.
            DatasetHasNoSourceError: there is nothing to read.
            VersionInProgressError: the last version has not ended.
            IdempotencyKeyReusedError: the key came with a different request.
        """
        key = RequestKey(
            route=KeyedRoute.DATASET_VERSIONS,
            key=request.idempotency_key,
            request_sha256=text_sha256(f"{dataset_id}/{fingerprint}"),
        )
        with self._new_unit_of_work() as uow:
            version_id = key.find(uow)
            if version_id is None:
                version = _queue_version(uow, dataset_id, options, mapping, request)
                version_id = key.remember(uow, version.id)
                if version_id == version.id:
                    uow.audit.record(
                        Action.DATASET_VERSION_SUBMITTED,
                        ResourceKind.DATASET_VERSION,
                        version.id,
                        dataset_id=str(dataset_id),
                        number=version.number,
                    )
                    uow.commit()
                    return version
        # Made before, or by the same request at the same moment: nothing of this one stays.
        return self.get(version_id)

    def get(self, version_id: UUID) -> DatasetVersion:
        """Return a version; raises DatasetVersionNotFoundError."""
        with self._new_unit_of_work() as uow:
            return uow.dataset_versions.get(version_id)

    def page(
        self, dataset_id: UUID, limit: int, after: PageCursor | None
    ) -> Sequence[DatasetVersion]:
        """List the versions of a dataset, newest first; raises DatasetNotFoundError."""
        with self._new_unit_of_work() as uow:
            uow.datasets.get(dataset_id)
            return uow.dataset_versions.page(dataset_id, limit, after)

    def cases(
        self, version_id: UUID, wanted: CaseFilter, limit: int, after: int | None = None
    ) -> Sequence[DatasetCase]:
        """List the cases of a version in the order of reading, from behind a position.

        Raises:
            DatasetVersionNotFoundError: no row has the id.
        """
        with self._new_unit_of_work() as uow:
            uow.dataset_versions.get(version_id)
            found = uow.dataset_cases.page(
                version_id, limit, after, status=wanted.status, part=wanted.part
            )
            uow.audit.record(
                Action.DATASET_CASES_READ,
                ResourceKind.DATASET_VERSION,
                version_id,
                cases=len(found),
                after=after,
            )
            uow.commit()
            return found

    def all_cases(self, version_id: UUID, wanted: CaseFilter) -> Iterator[DatasetCase]:
        """Yield every case of a version, never many at a time in memory.

        Raises:
            DatasetVersionNotFoundError: no row has the id; at the call, not while iterating.
        """
        return self._following(version_id, wanted, self.cases(version_id, wanted, STREAMED_CASES))

    def cancel(self, version_id: UUID) -> DatasetVersion:
        """End a queued version and ask a running one to stop.

        Raises:
            DatasetVersionNotFoundError: no row has the id.
            IllegalTransitionError: the version succeeded or failed before.
        """
        with self._new_unit_of_work() as uow:
            version = uow.dataset_versions.request_cancel(version_id)
            uow.audit.record(
                Action.DATASET_VERSION_CANCELLED, ResourceKind.DATASET_VERSION, version_id
            )
            uow.commit()
            return version

    def delete(self, version_id: UUID) -> Deletion:
        """Delete a version, its crops and what a start of its reading left; others' files stay.

        Raises:
            DatasetVersionNotFoundError: no row has the id.
            DatasetVersionInUseError: a version in progress, a run or a model needs it.
        """
        with self._new_unit_of_work() as uow:
            version = uow.dataset_versions.get(version_id)
            deletion = None
            if version.purged_at is not None:
                deletion = uow.deletions.find_of(
                    (ResourceKind.DATASET_VERSION, version_id),
                    (ResourceKind.DATASET, version.dataset_id),
                )
            if deletion is None:
                # A version in progress begins with the files of the last; none begins meanwhile.
                uow.datasets.get_locked(version.dataset_id)
                version = uow.dataset_versions.get_locked(version_id)
                _check_unused(uow, version)
                erased = uow.erasure.versions([version])
                deletion = begin_deletion(uow, ResourceKind.DATASET_VERSION, version_id, erased)
                uow.commit()
        return finish_deletion(self._new_unit_of_work, self._storage, deletion)

    def _following(
        self, version_id: UUID, wanted: CaseFilter, cases: Sequence[DatasetCase]
    ) -> Iterator[DatasetCase]:
        while cases:
            yield from cases
            if len(cases) < STREAMED_CASES:
                return
            cases = self.cases(version_id, wanted, STREAMED_CASES, cases[-1].position)


def _queue_version(
    uow: UnitOfWork, dataset_id: UUID, options: Json, mapping: Json | None, request: WorkRequest
) -> DatasetVersion:
    """Bring a version into the open transaction, with the message that its commit sends."""
    dataset = uow.datasets.get_locked(dataset_id)
    sources = uow.datasets.sources_in_order(dataset_id)
    if not sources:
        raise DatasetHasNoSourceError(dataset_id)
    active = uow.dataset_versions.find_active(dataset_id)
    if active is not None:
        raise VersionInProgressError(dataset_id, active.id)
    version = uow.dataset_versions.add(
        dataset_id,
        {
            "sources": [
                {"id": str(source.id), "kind": source.kind.value, "content": source.content}
                for source in sources
            ],
            "mapping": dataset.mapping if mapping is None else mapping,
            **options,
        },
        structure_set=STRUCTURE_SET,
        correlation_id=request.correlation_id,
        max_attempts=request.max_attempts,
    )
    uow.enqueue(TaskName.DATASET_VERSION_INDEX, version.id)
    return version


def _check_unused(uow: UnitOfWork, version: DatasetVersion) -> None:
    active = uow.dataset_versions.find_active(version.dataset_id)
    if active is not None:
        raise DatasetVersionInUseError(version.id, dataset_version_id=active.id)
    users = uow.dataset_versions.find_user(version.id)
    if users is not None:
        raise DatasetVersionInUseError(version.id, **users)
