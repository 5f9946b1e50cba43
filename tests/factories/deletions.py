"""Files to remove, and deletions that nobody completed."""

from uuid import UUID

from services.core.audit import ResourceKind
from services.core.deletion import begin_deletion
from services.core.storage import FilesystemStorage, StoredKind, slice_name
from services.core.unit_of_work import UnitOfWork
from tests.factories.rows import make_series


def add_stored_series(uow: UnitOfWork, storage: FilesystemStorage) -> UUID:
    with uow, storage.staging() as folder:
        series, _ = uow.series.get_or_create(make_series())
        (folder / slice_name(1)).write_bytes(b"CT")
        storage.publish_once(StoredKind.SERIES, folder, series.id)
        uow.commit()
    return series.id


def ask_for_deletion(uow: UnitOfWork, series_id: UUID) -> UUID:
    """A deletion whose request died behind its commit."""
    with uow:
        erased = uow.erasure.series(series_id, with_sources=True)
        deletion = begin_deletion(uow, ResourceKind.SERIES, series_id, erased)
        uow.commit()
    return deletion.id
