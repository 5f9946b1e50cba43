"""What can be wrong with a source of a dataset."""

from uuid import UUID

from services.core.errors import ConflictError, ServiceError


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
