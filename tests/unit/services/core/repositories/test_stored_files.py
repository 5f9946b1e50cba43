from collections.abc import Callable
from uuid import UUID

import pytest

from services.api.experiments.report_service import ReportService
from services.api.model_versions.transfer import TransferService
from services.core.audit import ResourceKind
from services.core.lifecycle import DatasetSourceKind
from services.core.repositories.stored_files import KEPT_KINDS, StoredFilesRepository
from services.core.storage import FilesystemStorage, StoredKind
from services.core.unit_of_work import UnitOfWork
from tests.factories.datasets import add_dataset, add_source
from tests.factories.planted import plant

Ids = dict[ResourceKind, UUID]


@pytest.fixture
def ids(uow: UnitOfWork, storage: FilesystemStorage) -> Ids:
    return plant(uow, storage).ids


def owners(uow: UnitOfWork, kind: StoredKind) -> set[UUID]:
    with uow:
        return StoredFilesRepository(uow._session).owners(kind)


class TestOwners:
    @pytest.mark.parametrize(
        ("kind", "resource"),
        [
            (StoredKind.SERIES, ResourceKind.SERIES),
            (StoredKind.RESULTS, ResourceKind.CONTOUR_JOB),
            (StoredKind.EDITED_RTSTRUCTS, ResourceKind.EDITED_RTSTRUCT),
            (StoredKind.DATASET_UPLOADS, ResourceKind.DATASET_SOURCE),
            (StoredKind.DATASETS, ResourceKind.DATASET_VERSION),
            (StoredKind.REPORTS, ResourceKind.REPORT),
            (StoredKind.MODEL_VERSIONS, ResourceKind.MODEL_VERSION),
        ],
    )
    def test_what_has_files_is_among_them(
        self, uow: UnitOfWork, ids: Ids, kind: StoredKind, resource: ResourceKind
    ) -> None:
        assert ids[resource] in owners(uow, kind)

    def test_deleted_reports_and_model_versions_are_not(
        self,
        uow: UnitOfWork,
        unit_of_work: Callable[[], UnitOfWork],
        storage: FilesystemStorage,
        ids: Ids,
    ) -> None:
        ReportService(unit_of_work, storage).delete(ids[ResourceKind.REPORT])
        TransferService(unit_of_work, storage).delete(ids[ResourceKind.MODEL_VERSION])

        assert owners(uow, StoredKind.REPORTS) == set()
        assert ids[ResourceKind.MODEL_VERSION] not in owners(uow, StoredKind.MODEL_VERSIONS)

    def test_sources_of_edits_may_have_files_or_not(self, uow: UnitOfWork) -> None:
        dataset_id = add_dataset(uow)
        edited = add_source(uow, dataset_id, DatasetSourceKind.EDITED_RTSTRUCT, "edited")
        folder = add_source(uow, dataset_id, DatasetSourceKind.FOLDER, "folder")

        with uow:
            repository = StoredFilesRepository(uow._session)
            possible = {kind: repository.possible_owners(kind) for kind in KEPT_KINDS}

        assert possible.pop(StoredKind.DATASET_UPLOADS) == {edited}
        assert not any(possible.values())
        assert {edited, folder}.isdisjoint(owners(uow, StoredKind.DATASET_UPLOADS))
