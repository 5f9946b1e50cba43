"""What can be wrong with an edited RTSTRUCT."""

from collections.abc import Sequence
from uuid import UUID

from services.api.uploads.names import shown_name
from services.core.errors import ConflictError, ServiceError


class WrongReviewError(ServiceError):
    """The review that an edited RTSTRUCT names is of another job or reader."""

    code = "wrong_review"

    def __init__(self, review_id: UUID) -> None:
        super().__init__(
            f"review {review_id} is of another job or reader", review_id=str(review_id)
        )
        self.review_id = review_id


class EditedRtstructInvalidError(ServiceError):
    """The file is no usable RT Structure Set."""

    code = "edited_rtstruct_invalid"

    def __init__(self, message: str, facts: dict[str, object]) -> None:
        super().__init__(message, **facts)


class WrongFrameOfReferenceError(ServiceError):
    """The RTSTRUCT lies in another frame of reference than the job's series."""

    code = "wrong_frame_of_reference"

    def __init__(self, expected: str, found: Sequence[str]) -> None:
        super().__init__(
            "the RTSTRUCT does not lie in the frame of reference of the job's CT series",
            expected=expected,
            found=_shown(found),
        )


class WrongSeriesError(ServiceError):
    """The RTSTRUCT says that it is of other CT series."""

    code = "wrong_series"

    def __init__(self, expected: str, found: Sequence[str]) -> None:
        super().__init__(
            "the RTSTRUCT refers to other CT series than the job's",
            expected=expected,
            found=_shown(found),
        )


def _shown(uids: Sequence[str]) -> list[str]:
    """Return the UIDs of a file as an answer repeats them: a broken file may hold anything."""
    return [shown_name(uid) for uid in uids[:20]]


class EditedRtstructInUseError(ConflictError):
    """Its comparison, or a dataset version that reads it, has not ended."""

    code = "edited_rtstruct_in_use"

    def __init__(self, edited_rtstruct_id: UUID, dataset_version_id: UUID | None = None) -> None:
        facts = {"edited_rtstruct_id": str(edited_rtstruct_id)}
        if dataset_version_id is not None:
            facts["dataset_version_id"] = str(dataset_version_id)
        super().__init__(f"edited RTSTRUCT {edited_rtstruct_id} is in use", **facts)
