"""Why a model version cannot be made, exported or retired."""

from uuid import UUID

from services.core.errors import ConflictError, ServiceError


class RunNotSucceededError(ConflictError):
    """Only a run that succeeded has weights."""

    code = "run_not_succeeded"

    def __init__(self, run_id: UUID, state: str) -> None:
        super().__init__(f"run {run_id} is {state}", run_id=str(run_id), state=state)


class AlreadyPromotedError(ConflictError):
    """The run has a model version that did not fail."""

    code = "already_promoted"

    def __init__(self, run_id: UUID, version_id: UUID) -> None:
        super().__init__(
            f"run {run_id} was promoted before",
            run_id=str(run_id),
            model_version_id=str(version_id),
        )


class ModelVersionExistsError(ConflictError):
    """A version that did not fail has the same weights or the same name."""

    code = "model_version_exists"

    def __init__(self, version_id: UUID, same: str) -> None:
        super().__init__(
            f"model version {version_id} has the same {same}",
            model_version_id=str(version_id),
            same=same,
        )


class ModelVersionInUseError(ConflictError):
    """An alias means the version."""

    code = "model_version_in_use"

    def __init__(self, version_id: UUID, aliases: list[str]) -> None:
        super().__init__(
            f"model version {version_id} is {' and '.join(aliases)}",
            model_version_id=str(version_id),
            aliases=aliases,
        )


class ModelArchiveInvalidError(ServiceError):
    """The file is no exported model version, or not as it was exported."""

    code = "model_archive_invalid"

    def __init__(self, reason: str, **facts: object) -> None:
        super().__init__(f"no model version can be read: {reason}", reason=reason, **facts)


class ModelVersionNotRetiredError(ConflictError):
    """Only a version that takes no alias any more can be deleted."""

    code = "model_version_not_retired"

    def __init__(self, version_id: UUID) -> None:
        super().__init__(
            f"model version {version_id} is not retired", model_version_id=str(version_id)
        )


class ModelVersionPurgedError(ServiceError):
    """The files of the version were removed."""

    code = "model_version_purged"

    def __init__(self, version_id: UUID) -> None:
        super().__init__(
            f"the files of model version {version_id} were removed",
            model_version_id=str(version_id),
        )
