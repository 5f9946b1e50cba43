"""Datasets: made, listed, and given sources of cases."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from services.api.datasets.case_files import CaseFileCounts, CheckedCases
from services.api.datasets.errors import (
    EditedRtstructNotComparedError,
)
from services.api.idempotency import KeyedRoute, RequestKey, text_sha256
from services.api.mappings import checked_mapping
from services.core.audit import Action, ResourceKind
from services.core.errors import (
    DatasetExistsError,
    EditedRtstructNotFoundError,
    EditedRtstructPurgedError,
)
from services.core.lifecycle import DatasetSourceKind, JobState
from services.core.mounted_folders import find_mounted_folder
from services.core.repositories.paging import PageCursor
from services.core.storage import Storage, StoredKind
from services.core.tables.datasets import Dataset, DatasetSource, DatasetVersion
from services.core.tables.reviews import EditedRtstruct
from services.core.unit_of_work import UnitOfWork

SHOWN_SOURCES = 200
SHOWN_VERSIONS = 10

Json = dict[str, Any]  # Any: nested json values


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownDataset:
    """A dataset with its surroundings."""

    dataset: Dataset
    source_counts: Mapping[DatasetSourceKind, int]
    sources: Sequence[DatasetSource]
    """Those added last."""
    versions: Sequence[DatasetVersion]
    """The last ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedDataset:
    """A dataset among others."""

    dataset: Dataset
    last_version: DatasetVersion | None


@dataclass(frozen=True, kw_only=True, slots=True)
class AddedSources:
    """What a request for sources came to."""

    sources: Sequence[DatasetSource]
    """Of this request, known before or not."""
    new_count: int
    """Of those, the ones that were not there before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AddedCases:
    """What became of an upload of cases."""

    source: DatasetSource
    is_new: bool
    counts: CaseFileCounts


class DatasetService:
    """Datasets in the words of the domain."""

    def __init__(
        self,
        new_unit_of_work: Callable[[], UnitOfWork],
        storage: Storage,
        datasets_dir: Path | None,
    ) -> None:
        self._new_unit_of_work = new_unit_of_work
        self._storage = storage
        self._datasets_dir = datasets_dir

    def post(
        self, name: str, folder: str | None, mapping: Json, idempotency_key: str | None
    ) -> ShownDataset:
        """Make a dataset, or return the one that the same keyed request made before.

        Raises:
            MappingInvalidError: the mapping cannot be used.
            NoMountedDatasetsError, FolderOutsideMountError, FolderNotFoundError: of the folder.
            DatasetExistsError: another one has the name.
            IdempotencyKeyReusedError: the key came with a different request.
        """
        kept_mapping = checked_mapping(mapping)
        request = json.dumps([name, folder, kept_mapping], sort_keys=True)
        key = RequestKey(
            route=KeyedRoute.DATASETS,
            key=idempotency_key,
            request_sha256=text_sha256(request),
        )
        content = None if folder is None else find_mounted_folder(self._datasets_dir, folder).name
        with self._new_unit_of_work() as uow:
            dataset_id = key.find(uow)
            if dataset_id is None:
                dataset_id = _make(uow, key, name, kept_mapping, content)
        return self.get(dataset_id)

    def get(self, dataset_id: UUID) -> ShownDataset:
        """Return a dataset; raises DatasetNotFoundError."""
        with self._new_unit_of_work() as uow:
            return ShownDataset(
                dataset=uow.datasets.get(dataset_id),
                source_counts=uow.datasets.count_sources(dataset_id),
                sources=uow.datasets.latest_sources(dataset_id, SHOWN_SOURCES),
                versions=uow.dataset_versions.page(dataset_id, SHOWN_VERSIONS),
            )

    def check_exists(self, dataset_id: UUID) -> None:
        """Return if there is such a dataset; raises DatasetNotFoundError."""
        with self._new_unit_of_work() as uow:
            uow.datasets.get(dataset_id)

    def page(self, limit: int, after: PageCursor | None) -> Sequence[ListedDataset]:
        """List datasets, newest first, from behind a cursor."""
        with self._new_unit_of_work() as uow:
            datasets = uow.datasets.page(limit, after)
            last = uow.dataset_versions.latest_of([dataset.id for dataset in datasets])
        return [ListedDataset(dataset=d, last_version=last.get(d.id)) for d in datasets]

    def put_mapping(self, dataset_id: UUID, mapping: Json) -> ShownDataset:
        """Set what the names of regions mean in the versions that are made from now on.

        Raises:
            DatasetNotFoundError: no row has the id.
            MappingInvalidError: the mapping cannot be used.
        """
        kept_mapping = checked_mapping(mapping)
        with self._new_unit_of_work() as uow:
            uow.datasets.get_locked(dataset_id).mapping = kept_mapping
            uow.audit.record(Action.DATASET_MAPPING_CHANGED, ResourceKind.DATASET, dataset_id)
            uow.commit()
        return self.get(dataset_id)

    def add_cases(
        self, dataset_id: UUID, checked: CheckedCases, idempotency_key: str | None
    ) -> AddedCases:
        """Keep the cases of an upload as a source, or find the source with the same files.

        Raises:
            DatasetNotFoundError: no row has the id.
            IdempotencyKeyReusedError: the key came with other files or another dataset.
        """
        self._storage.flush(checked.folder)
        key = RequestKey(
            route=KeyedRoute.DATASET_CASES,
            key=idempotency_key,
            request_sha256=text_sha256(f"{dataset_id}/{checked.content_sha256}"),
        )
        with self._new_unit_of_work() as uow:
            uow.datasets.get_locked(dataset_id)
            new = _new_source(dataset_id, DatasetSourceKind.UPLOAD, checked.content_sha256)
            new.file_count, new.byte_count = checked.file_count, checked.byte_count
            added = _add(uow, [new])
            (source,) = added.sources
            is_new = bool(added.new_count)
            if not key.is_replay(uow, is_new=is_new):
                key.remember(uow, source.id)
                if is_new:
                    self._storage.publish_once(
                        StoredKind.DATASET_UPLOADS, checked.folder, source.id
                    )
                _record(uow, dataset_id, DatasetSourceKind.UPLOAD, added)
                uow.commit()
        return AddedCases(source=source, is_new=is_new, counts=checked.counts)

    def add_folder(self, dataset_id: UUID, folder: str) -> AddedSources:
        """Make a mounted folder a source; it is read when a version is made, never written.

        Raises:
            DatasetNotFoundError: no row has the id.
            NoMountedDatasetsError, FolderOutsideMountError, FolderNotFoundError: of the folder.
        """
        content = find_mounted_folder(self._datasets_dir, folder).name
        with self._new_unit_of_work() as uow:
            uow.datasets.get_locked(dataset_id)
            added = _add(uow, [_new_source(dataset_id, DatasetSourceKind.FOLDER, content)])
            _record(uow, dataset_id, DatasetSourceKind.FOLDER, added)
            uow.commit()
        return added

    def add_edited(
        self, dataset_id: UUID, edited_rtstruct_ids: Sequence[UUID] | None
    ) -> AddedSources:
        """Make edited RTSTRUCTs, with the CT series of their jobs, sources.

        edited_rtstruct_ids: None adds all that were compared and are no sources yet.

        Raises:
            DatasetNotFoundError: no row has the id.
            EditedRtstructNotFoundError: no row has one of the ids.
            EditedRtstructNotComparedError: one was not compared, or its comparison failed.
            EditedRtstructPurgedError: the file of one was removed.
        """
        with self._new_unit_of_work() as uow:
            uow.datasets.get_locked(dataset_id)
            if edited_rtstruct_ids is None:
                edited = uow.datasets.edited_to_add(dataset_id)
            else:
                edited = _named_edited(uow, edited_rtstruct_ids)
            kind = DatasetSourceKind.EDITED_RTSTRUCT
            added = _add(uow, [_new_source(dataset_id, kind, str(row.id)) for row in edited])
            _record(uow, dataset_id, kind, added)
            uow.commit()
        return added


def _make(uow: UnitOfWork, key: RequestKey, name: str, mapping: Json, folder: str | None) -> UUID:
    """Make a dataset, unless the same request was first at this moment; return its id."""
    try:
        dataset = uow.datasets.add(name, mapping)
    except DatasetExistsError:
        first = key.find(uow)
        if first is None:
            raise
        return first
    if folder is not None:
        uow.datasets.add_sources([_new_source(dataset.id, DatasetSourceKind.FOLDER, folder)])
    dataset_id = key.remember(uow, dataset.id)
    if dataset_id == dataset.id:
        uow.audit.record(
            Action.DATASET_CREATED,
            ResourceKind.DATASET,
            dataset.id,
            has_folder=folder is not None,
        )
        uow.commit()
    return dataset_id


def _record(
    uow: UnitOfWork, dataset_id: UUID, kind: DatasetSourceKind, added: AddedSources
) -> None:
    uow.audit.record(
        Action.DATASET_SOURCES_ADDED,
        ResourceKind.DATASET,
        dataset_id,
        kind=kind.value,
        new_count=added.new_count,
        dataset_source_ids=[str(source.id) for source in added.sources],
    )


def _new_source(dataset_id: UUID, kind: DatasetSourceKind, content: str) -> DatasetSource:
    return DatasetSource(id=uuid4(), dataset_id=dataset_id, kind=kind, content=content)


def _add(uow: UnitOfWork, wanted: Sequence[DatasetSource]) -> AddedSources:
    """Add what the dataset, which was locked before, does not know."""
    known = uow.datasets.known_among(wanted)
    new = [source for source in wanted if source.content not in known]
    uow.datasets.add_sources(new)
    sources = [known.get(source.content, source) for source in wanted]
    return AddedSources(sources=sources, new_count=len(new))


def _named_edited(uow: UnitOfWork, edited_ids: Sequence[UUID]) -> list[EditedRtstruct]:
    rows = uow.datasets.edited_among(edited_ids)
    for edited_id in edited_ids:
        row = rows.get(edited_id)
        if row is None:
            raise EditedRtstructNotFoundError(edited_id)
        if row.state is not JobState.SUCCEEDED:
            raise EditedRtstructNotComparedError(edited_id, row.state.value)
        if row.purged_at is not None:
            raise EditedRtstructPurgedError(edited_id)
    return list(rows.values())
