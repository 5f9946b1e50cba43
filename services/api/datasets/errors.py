"""What can be wrong with a source of a dataset."""

from uuid import UUID

from services.core.errors import ConflictError, NotFoundError, ServiceError


class NoCaseInUploadError(ServiceError):
    """The files hold no pair of a CT and structures."""

    code = "no_case_in_upload"

    def __init__(self, facts: dict[str, int]) -> None:
        super().__init__("an upload of cases needs at least one CT and one RTSTRUCT", **facts)
        self.facts = facts


class EditedRtstructNotComparedError(ConflictError):
    """The edited RTSTRUCT did not pass its comparison with the job's own, or has not yet."""

    code = "edited_rtstruct_not_compared"

    def __init__(self, edited_rtstruct_id: UUID, state: str) -> None:
        super().__init__(
            f"edited RTSTRUCT {edited_rtstruct_id} is {state}",
            edited_rtstruct_id=str(edited_rtstruct_id),
            state=state,
        )
        self.edited_rtstruct_id = edited_rtstruct_id
        self.state = state


class DatasetInUseError(ConflictError):
    """A version in progress, a run that is not over, or a model needs a version."""

    code = "dataset_in_use"

    def __init__(self, dataset_id: UUID, **users: UUID) -> None:
        named = " of ".join(str(used) for used in users.values())
        super().__init__(
            f"dataset {dataset_id} is in use: {named}",
            dataset_id=str(dataset_id),
            **{kind: str(used) for kind, used in users.items()},
        )


class DatasetSourceNotFoundError(NotFoundError):
    """The dataset has no such source."""

    code = "dataset_source_not_found"

    def __init__(self, source_id: UUID) -> None:
        super().__init__(f"there is no source {source_id}", dataset_source_id=str(source_id))


class DatasetSourceInUseError(ConflictError):
    """Versions with files were read from the source; they would keep its cases."""

    code = "dataset_source_in_use"

    def __init__(self, source_id: UUID, version_ids: list[UUID]) -> None:
        super().__init__(
            f"versions of the dataset were read from source {source_id}",
            dataset_source_id=str(source_id),
            dataset_version_ids=[str(version_id) for version_id in version_ids],
        )
