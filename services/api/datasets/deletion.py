"""Datasets and their sources on their way out."""

from collections.abc import Callable, Sequence
from uuid import UUID

from services.api.datasets.errors import (
    DatasetInUseError,
    DatasetSourceInUseError,
    DatasetSourceNotFoundError,
)
from services.api.removal import finish_deletion
from services.core.audit import ResourceKind
from services.core.deletion import begin_deletion
from services.core.deletion_errors import DatasetRemovedError
from services.core.storage import Storage
from services.core.tables.audit import Deletion
from services.core.tables.datasets import DatasetVersion
from services.core.unit_of_work import UnitOfWork


class DatasetDeletionService:
    """Deletes datasets and sources, with what was made of them."""

    def __init__(self, new_unit_of_work: Callable[[], UnitOfWork], storage: Storage) -> None:
        self._new_unit_of_work = new_unit_of_work
        self._storage = storage

    def delete(self, dataset_id: UUID) -> Deletion:
        """Delete a dataset with its sources and all of its versions.

        Raises:
            DatasetNotFoundError: no row has the id.
            DatasetInUseError: a version in progress, a run or a model needs one of its versions.
        """
        with self._new_unit_of_work() as uow:
            deletion = _earlier(uow, dataset_id)
            if deletion is None:
                dataset = uow.datasets.get_locked(dataset_id)
                _check_unused(uow, dataset_id, uow.dataset_versions.all_locked(dataset_id))
                erased = uow.erasure.dataset(dataset)
                deletion = begin_deletion(uow, ResourceKind.DATASET, dataset_id, erased)
                uow.commit()
        return finish_deletion(self._new_unit_of_work, self._storage, deletion)

    def delete_source(self, dataset_id: UUID, source_id: UUID, *, with_versions: bool) -> Deletion:
        """Delete a source; its mounted folder stays, which is not the service's.

        with_versions: also the versions that were read from it.

        Raises:
            DatasetNotFoundError, DatasetRemovedError: there is no such dataset any more.
            DatasetSourceNotFoundError: it has no such source.
            DatasetSourceInUseError: versions with files were read from it.
            DatasetInUseError: a version in progress reads it, or a run or model needs a version.
        """
        with self._new_unit_of_work() as uow:
            uow.datasets.get_locked(dataset_id)
            deletion = uow.deletions.find_of((ResourceKind.DATASET_SOURCE, source_id))
            if deletion is None:
                source = uow.datasets.find_source(dataset_id, source_id)
                if source is None:
                    raise DatasetSourceNotFoundError(source_id)
                readers = uow.erasure.stored_readers([source])
                if readers and not with_versions:
                    raise DatasetSourceInUseError(source_id, [version.id for version in readers])
                _check_unused(uow, dataset_id, readers)
                erased = uow.erasure.versions(readers)
                erased.include(uow.erasure.sources([source]))
                deletion = begin_deletion(uow, ResourceKind.DATASET_SOURCE, source_id, erased)
                uow.commit()
        return finish_deletion(self._new_unit_of_work, self._storage, deletion)


def _earlier(uow: UnitOfWork, dataset_id: UUID) -> Deletion | None:
    try:
        uow.datasets.get(dataset_id)
    except DatasetRemovedError:
        return uow.deletions.find_of((ResourceKind.DATASET, dataset_id))
    return None


def _check_unused(uow: UnitOfWork, dataset_id: UUID, versions: Sequence[DatasetVersion]) -> None:
    active = uow.dataset_versions.find_active(dataset_id)
    if active is not None:
        raise DatasetInUseError(dataset_id, dataset_version_id=active.id)
    for version in versions:
        users = uow.dataset_versions.find_user(version.id)
        if users is not None:
            raise DatasetInUseError(dataset_id, dataset_version_id=version.id, **users)
