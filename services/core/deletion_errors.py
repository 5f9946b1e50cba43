"""What is not there any more, or was never deleted."""

from uuid import UUID

from services.core.errors import NotFoundError, ServiceError


class DatasetRemovedError(ServiceError):
    """The dataset was deleted."""

    code = "dataset_removed"

    def __init__(self, dataset_id: UUID) -> None:
        super().__init__(f"dataset {dataset_id} was deleted", dataset_id=str(dataset_id))


class DeletionNotFoundError(NotFoundError):
    """No deletion has that id."""

    code = "deletion_not_found"

    def __init__(self, deletion_id: UUID) -> None:
        super().__init__(f"there is no deletion {deletion_id}", deletion_id=str(deletion_id))
        self.deletion_id = deletion_id
