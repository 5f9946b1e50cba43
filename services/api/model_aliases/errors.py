"""Why an alias cannot be changed."""

from uuid import UUID

from services.core.errors import ConflictError
from services.core.lifecycle import AliasName


class AliasChangedError(ConflictError):
    """The alias means another version than the one to be replaced."""

    code = "alias_changed"

    def __init__(self, alias: AliasName, current_id: UUID | None) -> None:
        super().__init__(
            f"{alias} was changed meanwhile",
            alias=alias,
            model_version_id=str(current_id) if current_id else None,
        )


class VersionRetiredError(ConflictError):
    """The version takes no alias any more."""

    code = "model_version_retired"

    def __init__(self, version_id: UUID) -> None:
        super().__init__(f"model version {version_id} is retired", model_version_id=str(version_id))


class NothingToRollBackError(ConflictError):
    """The alias never meant anything else that could still serve."""

    code = "nothing_to_roll_back"

    def __init__(self, alias: AliasName) -> None:
        super().__init__(f"there is nothing before what {alias} means now", alias=alias)
