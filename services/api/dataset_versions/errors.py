"""What the state of a dataset or of its versions does not allow."""

from uuid import UUID

from services.core.errors import ConflictError


class DatasetHasNoSourceError(ConflictError):
    """There is nothing to read a version from."""

    code = "dataset_has_no_source"

    def __init__(self, dataset_id: UUID) -> None:
        super().__init__(
            f"dataset {dataset_id} has no folder, upload or edited RTSTRUCT",
            dataset_id=str(dataset_id),
        )
        self.dataset_id = dataset_id


class VersionInProgressError(ConflictError):
    """The dataset's last version has not ended."""

    code = "version_in_progress"

    def __init__(self, dataset_id: UUID, version_id: UUID) -> None:
        super().__init__(
            f"version {version_id} of dataset {dataset_id} is in progress",
            dataset_id=str(dataset_id),
            dataset_version_id=str(version_id),
        )
        self.dataset_id = dataset_id
        self.version_id = version_id


class DatasetVersionInUseError(ConflictError):
    """Something still needs the files of the version."""

    code = "dataset_version_in_use"

    def __init__(self, version_id: UUID, **user: UUID) -> None:
        (kind, user_id), *_ = user.items()
        super().__init__(
            f"{kind.removesuffix('_id').replace('_', ' ')} {user_id} still needs it",
            dataset_version_id=str(version_id),
            needed_by={kind: str(user_id)},
        )
        self.version_id = version_id
        self.user = user
