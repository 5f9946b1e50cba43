"""One operation for everything that is removed: intent, files, record.

1. In one transaction rows lose their personal content and count as purged, and a deletion names
   the folders to remove. From this commit on nothing of it is given away.
2. The folders are counted, then removed.
3. The deletion is completed and sealed with its hash, which the audit trail repeats.

Whoever dies in between leaves a deletion that is not completed; complete_deletion() goes on with
it, any number of times and in several processes at once.
"""

from collections.abc import Callable
from uuid import UUID, uuid4

from services.core.audit import Action, ResourceKind
from services.core.lifecycle import DeletionCause
from services.core.repositories.erasure import Erased
from services.core.storage import Storage, StoredKind
from services.core.tables.audit import Deletion
from services.core.tables.leased import Json
from services.core.unit_of_work import UnitOfWork

ACTION_OF = {
    ResourceKind.SERIES: Action.SERIES_DELETED,
    ResourceKind.CONTOUR_JOB: Action.CONTOUR_JOB_DELETED,
    ResourceKind.EDITED_RTSTRUCT: Action.EDITED_RTSTRUCT_DELETED,
    ResourceKind.DATASET: Action.DATASET_DELETED,
    ResourceKind.DATASET_SOURCE: Action.DATASET_SOURCE_DELETED,
    ResourceKind.DATASET_VERSION: Action.DATASET_VERSION_DELETED,
    ResourceKind.MODEL_VERSION: Action.MODEL_VERSION_DELETED,
    ResourceKind.REPORT: Action.REPORT_DELETED,
}
"""What the audit trail calls the deletion of everything that can be deleted."""


def begin_deletion(
    uow: UnitOfWork,
    kind: ResourceKind,
    resource_id: UUID,
    erased: Erased,
    cause: DeletionCause = DeletionCause.REQUESTED,
) -> Deletion:
    """Bring the intent into the open transaction, beside what was taken out of rows there."""
    deletion = uow.deletions.add(
        Deletion(
            id=uuid4(),
            resource_kind=kind,
            resource_id=resource_id,
            cause=cause,
            folders=[
                {"kind": stored.value, "id": str(folder_id), "files": None, "bytes": None}
                for stored, folder_id in dict.fromkeys(erased.folders)
            ],
            rows=erased.rows,
            remaining=erased.remaining,
        )
    )
    uow.audit.record(
        ACTION_OF[kind], kind, resource_id, deletion_id=str(deletion.id), cause=cause.value
    )
    return deletion


def complete_deletion(
    new_unit_of_work: Callable[[], UnitOfWork],
    storage: Storage,
    deletion_id: UUID,
    *,
    most_files: int | None = None,
) -> Deletion:
    """Remove the files of a deletion and complete it; again changes nothing.

    Args:
        new_unit_of_work: makes a transaction.
        storage: holds the files.
        deletion_id: of a deletion that was committed.
        most_files: with more files it is left to whoever has the time.

    Returns:
        The deletion; not completed where it has more files.

    Raises:
        DeletionNotFoundError: no row has the id.
        StorageUnavailableError: something cannot be removed now.
    """
    uow = new_unit_of_work()
    deletion = _counted(uow, storage, deletion_id)
    files = sum(folder["files"] for folder in deletion.folders)
    if deletion.completed_at is not None or (most_files is not None and files > most_files):
        return deletion
    for folder in deletion.folders:
        storage.erase(StoredKind(folder["kind"]), UUID(folder["id"]))
    return _completed(uow, deletion_id)


def _counted(uow: UnitOfWork, storage: Storage, deletion_id: UUID) -> Deletion:
    """Return a deletion that knows how much it removes; counted once, before anything goes."""
    with uow:
        deletion = uow.deletions.get(deletion_id)
    if _is_counted(deletion):
        return deletion
    counted = [_count(storage, folder) for folder in deletion.folders]
    with uow:
        deletion = uow.deletions.get(deletion_id, locked=True)
        if not _is_counted(deletion):
            deletion.folders = counted
            uow.commit()
    return deletion


def _is_counted(deletion: Deletion) -> bool:
    return all(folder["files"] is not None for folder in deletion.folders)


def _count(storage: Storage, folder: Json) -> Json:
    files, size = storage.measure(StoredKind(folder["kind"]), UUID(folder["id"]))
    return {**folder, "files": files, "bytes": size}


def _completed(uow: UnitOfWork, deletion_id: UUID) -> Deletion:
    with uow:
        deletion = uow.deletions.get(deletion_id, locked=True)
        if deletion.completed_at is None:
            uow.deletions.complete(deletion)
            uow.audit.record(
                Action.DELETION_COMPLETED,
                ResourceKind.DELETION,
                deletion_id,
                deleted_kind=deletion.resource_kind.value,
                deleted_id=str(deletion.resource_id),
                files=sum(folder["files"] for folder in deletion.folders),
                bytes=sum(folder["bytes"] for folder in deletion.folders),
                sha256=deletion.sha256,
            )
            uow.commit()
    uow.forget_old_pages()
    return deletion
