"""Model versions on their way out of this service and into another one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import UUID

from services.api.idempotency import KeyedRoute, RequestKey, WorkRequest, text_sha256
from services.api.model_versions.archive import (
    ModelArchive,
    describe,
    stream_archive,
)
from services.api.model_versions.errors import (
    ModelVersionNotRetiredError,
    ModelVersionPurgedError,
)
from services.api.model_versions.service import (
    Evaluation,
    check_dataset,
    check_is_ready,
    check_structures,
    queue_version,
)
from services.api.removal import finish_deletion
from services.core.audit import Action, ResourceKind
from services.core.deletion import begin_deletion
from services.core.lifecycle import ModelVersionOrigin
from services.core.model_errors import WeightsChangedError
from services.core.storage import CARD_NAME, WEIGHTS_NAME, Storage, StoredKind
from services.core.tables.audit import Deletion
from services.core.tables.model_versions import ModelVersion
from services.core.unit_of_work import UnitOfWork


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedVersion:
    """A zip on its way out."""

    name: str
    pieces: Iterator[bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportTerms:
    """What an import is called and judged by."""

    name: str | None
    """None: as it was exported."""
    dataset_version_id: UUID | None
    """Whose test cases it is judged on; None: a phantom."""
    evaluation: Evaluation


class TransferService:
    """Export, import and deletion."""

    def __init__(self, new_unit_of_work: Callable[[], UnitOfWork], storage: Storage) -> None:
        self._new_unit_of_work = new_unit_of_work
        self._storage = storage

    def export(self, version_id: UUID) -> ExportedVersion:
        """Return a version as one file, its weights verified.

        Raises:
            ModelVersionNotFoundError: no row has the id.
            ModelVersionNotReadyError: the version has no files.
            ModelVersionPurgedError: they were removed.
            StoredFilesMissingError: they are gone.
            WeightsChangedError: they are not those that were checked.
        """
        with self._new_unit_of_work() as uow:
            version = uow.model_versions.get(version_id)
        check_is_ready(version)
        if version.purged_at is not None:
            raise ModelVersionPurgedError(version_id)
        for name in (CARD_NAME, WEIGHTS_NAME):
            self._storage.file(StoredKind.MODEL_VERSIONS, version_id, name)
        folder = self._storage.folder(StoredKind.MODEL_VERSIONS, version_id)
        manifest = describe(version.name, version.structure_set, folder)
        if manifest.weights.sha256 != version.weights_sha256:
            raise WeightsChangedError(
                version_id, expected=version.weights_sha256, found=manifest.weights.sha256
            )
        with self._new_unit_of_work() as uow:
            uow.audit.record(
                Action.MODEL_VERSION_EXPORTED,
                ResourceKind.MODEL_VERSION,
                version_id,
                weights_sha256=version.weights_sha256,
            )
            uow.commit()
        return ExportedVersion(name=version.name, pieces=stream_archive(manifest, folder))

    def import_(self, archive: ModelArchive, terms: ImportTerms, request: WorkRequest) -> UUID:
        """Queue a version of the weights in an upload and return its id; blocks.

        Raises:
            StructuresDifferError: it finds other structures than the service contours.
            ModelVersionExistsError: another version has the weights or the name.
            DatasetVersionNotFoundError, DatasetNotReadyError, DatasetPurgedError: it cannot be
                judged on that dataset version.
            IdempotencyKeyReusedError: the key came with a different request.
        """
        check_structures(archive.config)
        manifest = archive.manifest
        content = f"{manifest.weights.sha256} {manifest.card.sha256}"
        key = RequestKey(
            route=KeyedRoute.MODEL_VERSIONS,
            key=request.idempotency_key,
            request_sha256=text_sha256(f"{content} {terms}"),
        )
        with self._new_unit_of_work() as uow:
            version_id = key.find(uow)
            if version_id is not None:
                return version_id
            if terms.dataset_version_id is not None:
                check_dataset(uow, terms.dataset_version_id)
            version = ModelVersion(
                name=terms.name or manifest.name,
                origin=ModelVersionOrigin.IMPORT,
                dataset_version_id=terms.dataset_version_id,
                request=terms.evaluation.to_dict() | {"card_sha256": manifest.card.sha256},
                weights_sha256=manifest.weights.sha256,
                structure_set=archive.config.structure_set,
            )
            queue_version(uow, version, request)
            version_id = key.remember(uow, version.id)
            if version_id == version.id:
                uow.audit.record(
                    Action.MODEL_VERSION_IMPORTED,
                    ResourceKind.MODEL_VERSION,
                    version_id,
                    weights_sha256=version.weights_sha256,
                )
                self._publish(archive, version_id)
                uow.commit()
        return version_id

    def delete(self, version_id: UUID) -> Deletion:
        """Delete a retired version and what it contoured as a shadow; its run's weights stay.

        Raises:
            ModelVersionNotFoundError: no row has the id.
            ModelVersionNotRetiredError: it may still serve.
        """
        with self._new_unit_of_work() as uow:
            version = uow.model_versions.get(version_id, locked=True)
            deletion = uow.deletions.find_of((ResourceKind.MODEL_VERSION, version_id))
            if deletion is None:
                if version.retired_at is None:
                    raise ModelVersionNotRetiredError(version_id)
                erased = uow.erasure.model_version(version)
                deletion = begin_deletion(uow, ResourceKind.MODEL_VERSION, version_id, erased)
                uow.commit()
        return finish_deletion(self._new_unit_of_work, self._storage, deletion)

    def _publish(self, archive: ModelArchive, version_id: UUID) -> None:
        folder = archive.weights.parent / "version"
        folder.mkdir()
        archive.weights.rename(folder / WEIGHTS_NAME)
        archive.card.rename(folder / CARD_NAME)
        self._storage.publish_once(StoredKind.MODEL_UPLOADS, folder, version_id)
