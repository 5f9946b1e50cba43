"""What can be wrong with a known job, or with the result of one."""

from uuid import UUID

from ml.dicom.errors import DicomError
from services.core.errors import ConflictError, ServiceError


class RelinkingFailedError(ServiceError):
    """The RTSTRUCT cannot be made one of the sender's CT: nothing is given away, then."""

    code = "relinking_failed"

    def __init__(self, error: DicomError) -> None:
        super().__init__(
            "the RTSTRUCT cannot be linked to the CT as it was sent", reason=error.code.value
        )


class ContourJobInUseError(ConflictError):
    """The job has not ended, or work on one of its edited RTSTRUCTs."""

    code = "contour_job_in_use"

    def __init__(self, job_id: UUID, **users: UUID) -> None:
        named = " and ".join(f"{kind.replace('_', ' ')} {used}" for kind, used in users.items())
        super().__init__(
            f"contour job {job_id} is in use by {named}" if named else f"{job_id} has not ended",
            contour_job_id=str(job_id),
            **{f"{kind}_id": str(used) for kind, used in users.items()},
        )
        self.job_id = job_id
