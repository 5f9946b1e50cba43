"""What the service refuses or cannot do, each with a stable code; none knows of HTTP."""

from typing import Any
from uuid import UUID


class ServiceError(Exception):
    """Base of every expected failure of the service.

    Attributes:
        code: the stable reason, lower_snake_case; clients may branch on it.
        message: a sentence for people, without patient identifiers.
        context: the facts of the case, json types only.
    """

    code: str = "service_error"

    def __init__(self, message: str, **context: object) -> None:
        super().__init__(message)
        self.message = message
        self.context = context

    def __reduce__(self) -> tuple[Any, ...]:  # Any: of pickle
        """Pickle the state: the arguments of a subclass are not those of an exception."""
        return _rebuild, (type(self), self.args), self.__dict__


def _rebuild(kind: type[ServiceError], args: tuple[object, ...]) -> ServiceError:
    return kind.__new__(kind, *args)


class NotFoundError(ServiceError):
    """The thing asked for does not exist."""


class ConflictError(ServiceError):
    """The request does not fit the present state."""


class UnavailableError(ServiceError):
    """Something the service needs does not answer; trying again later may help."""


class ApiKeyNotFoundError(NotFoundError):
    """No API key has that id."""

    code = "api_key_not_found"

    def __init__(self, key_id: UUID) -> None:
        super().__init__(f"there is no API key {key_id}", api_key_id=str(key_id))
        self.key_id = key_id


class SeriesNotFoundError(NotFoundError):
    """No CT series has that id."""

    code = "series_not_found"

    def __init__(self, series_id: UUID) -> None:
        super().__init__(f"there is no series {series_id}", series_id=str(series_id))
        self.series_id = series_id


class ContourJobNotFoundError(NotFoundError):
    """No contouring job has that id."""

    code = "contour_job_not_found"

    def __init__(self, job_id: UUID) -> None:
        super().__init__(f"there is no contour job {job_id}", contour_job_id=str(job_id))
        self.job_id = job_id


class DatasetNotFoundError(NotFoundError):
    """No dataset has that id."""

    code = "dataset_not_found"

    def __init__(self, dataset_id: UUID) -> None:
        super().__init__(f"there is no dataset {dataset_id}", dataset_id=str(dataset_id))
        self.dataset_id = dataset_id


class DatasetExistsError(ConflictError):
    """Another dataset has that name."""

    code = "dataset_exists"

    def __init__(self, name: str) -> None:
        super().__init__(f"there is a dataset called {name!r} already", name=name)
        self.name = name


class DatasetVersionNotFoundError(NotFoundError):
    """No dataset version has that id."""

    code = "dataset_version_not_found"

    def __init__(self, version_id: UUID) -> None:
        super().__init__(
            f"there is no dataset version {version_id}", dataset_version_id=str(version_id)
        )
        self.version_id = version_id


class DatasetNotReadyError(ConflictError):
    """The dataset version is not indexed."""

    code = "dataset_not_ready"

    def __init__(self, version_id: UUID, state: str) -> None:
        super().__init__(
            f"dataset version {version_id} is {state}",
            dataset_version_id=str(version_id),
            state=state,
        )


class DatasetPurgedError(ServiceError):
    """The files of the dataset version were removed."""

    code = "dataset_purged"

    def __init__(self, version_id: UUID) -> None:
        super().__init__(
            f"the files of dataset version {version_id} were removed",
            dataset_version_id=str(version_id),
        )


class ExperimentNotFoundError(NotFoundError):
    """No experiment has that id."""

    code = "experiment_not_found"

    def __init__(self, experiment_id: UUID) -> None:
        super().__init__(
            f"there is no experiment {experiment_id}", experiment_id=str(experiment_id)
        )
        self.experiment_id = experiment_id


class RunNotFoundError(NotFoundError):
    """No run has that id."""

    code = "run_not_found"

    def __init__(self, run_id: UUID) -> None:
        super().__init__(f"there is no run {run_id}", run_id=str(run_id))
        self.run_id = run_id


class ReportNotFoundError(NotFoundError):
    """No report has that id."""

    code = "report_not_found"

    def __init__(self, report_id: UUID) -> None:
        super().__init__(f"there is no report {report_id}", report_id=str(report_id))
        self.report_id = report_id


class ModelVersionNotFoundError(NotFoundError):
    """No model version has that id."""

    code = "model_version_not_found"

    def __init__(self, version_id: UUID) -> None:
        super().__init__(
            f"there is no model version {version_id}", model_version_id=str(version_id)
        )
        self.version_id = version_id


class ModelVersionNotReadyError(ConflictError):
    """The version was not checked yet, or failed."""

    code = "model_version_not_ready"

    def __init__(self, version_id: UUID, state: str) -> None:
        super().__init__(
            f"model version {version_id} is {state}",
            model_version_id=str(version_id),
            state=state,
        )


class ReviewNotFoundError(NotFoundError):
    """No review has that id."""

    code = "review_not_found"

    def __init__(self, review_id: UUID) -> None:
        super().__init__(f"there is no review {review_id}", review_id=str(review_id))
        self.review_id = review_id


class ReaderNameTakenError(ConflictError):
    """Another client's reviews carry the reader's name."""

    code = "reader_name_taken"

    def __init__(self, reviewer: str) -> None:
        super().__init__(
            "the reader's name belongs to another client; sign with a name of your own",
            reviewer=reviewer,
        )
        self.reviewer = reviewer


class EditedRtstructNotFoundError(NotFoundError):
    """No edited RTSTRUCT has that id."""

    code = "edited_rtstruct_not_found"

    def __init__(self, edited_rtstruct_id: UUID) -> None:
        super().__init__(
            f"there is no edited RTSTRUCT {edited_rtstruct_id}",
            edited_rtstruct_id=str(edited_rtstruct_id),
        )
        self.edited_rtstruct_id = edited_rtstruct_id


class EditedRtstructPurgedError(ServiceError):
    """The file was removed after its retention time, or with its series."""

    code = "edited_rtstruct_purged"

    def __init__(self, edited_rtstruct_id: UUID) -> None:
        super().__init__(
            f"the file of edited RTSTRUCT {edited_rtstruct_id} was removed",
            edited_rtstruct_id=str(edited_rtstruct_id),
        )
        self.edited_rtstruct_id = edited_rtstruct_id


class IllegalTransitionError(ConflictError):
    """The job's state does not allow what was asked."""

    code = "illegal_transition"

    def __init__(self, job_id: UUID, source: str, target: str) -> None:
        super().__init__(
            f"{job_id} is {source} and cannot become {target}",
            resource_id=str(job_id),
            state=source,
            wanted_state=target,
        )
        self.job_id = job_id
        self.source = source
        self.target = target


class JobNotFinishedError(ConflictError):
    """The job is queued or running."""

    code = "job_not_finished"

    def __init__(self, job_id: UUID, state: str) -> None:
        super().__init__(
            f"contour job {job_id} is {state}", contour_job_id=str(job_id), state=state
        )
        self.job_id = job_id
        self.state = state


class JobFailedError(ConflictError):
    """The job ended without a result."""

    code = "job_failed"

    def __init__(self, job_id: UUID, error_code: str | None, detail: str | None) -> None:
        super().__init__(
            f"contour job {job_id} failed: {detail}",
            contour_job_id=str(job_id),
            error_code=error_code,
        )
        self.job_id = job_id
        self.error_code = error_code


class JobCancelledError(ConflictError):
    """The job was cancelled before it had a result."""

    code = "job_cancelled"

    def __init__(self, job_id: UUID) -> None:
        super().__init__(f"contour job {job_id} was cancelled", contour_job_id=str(job_id))
        self.job_id = job_id


class SeriesPurgedError(ServiceError):
    """The files of the series were removed."""

    code = "series_purged"

    def __init__(self, series_id: UUID) -> None:
        super().__init__(
            f"the files of series {series_id} were removed; post the series again",
            series_id=str(series_id),
        )
        self.series_id = series_id


class ResultPurgedError(ServiceError):
    """The result was removed after its retention time, or with its series."""

    code = "result_purged"

    def __init__(self, job_id: UUID) -> None:
        super().__init__(
            f"the result of contour job {job_id} was removed", contour_job_id=str(job_id)
        )
        self.job_id = job_id


class IdempotencyKeyReusedError(ConflictError):
    """The Idempotency-Key came before with a different request."""

    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__("this Idempotency-Key was used before with a different request")


class StoredFilesMissingError(ServiceError):
    """The database knows the resource but its files are not in storage."""

    code = "stored_files_missing"

    def __init__(self, kind: str, resource_id: UUID) -> None:
        super().__init__(
            f"the files of {kind} {resource_id} are not in storage", resource_id=str(resource_id)
        )
        self.kind = kind
        self.resource_id = resource_id


class StorageUnavailableError(UnavailableError):
    """The storage could not be written or read."""

    code = "storage_unavailable"


class PrivateKeyMissingError(UnavailableError):
    """A key in private/ was there before and is not now; nobody makes another one."""

    code = "private_key_missing"

    def __init__(self, key: str) -> None:
        super().__init__(f"{key} is missing: is private/ in its place?", file=key)


class PrivateKeyChangedError(ServiceError):
    """A key in private/ is not the one that was used before."""

    code = "private_key_changed"

    def __init__(self, key: str) -> None:
        super().__init__(f"{key} is another key than before: is this the right private/?", file=key)


class QueueUnavailableError(UnavailableError):
    """The broker took no message."""

    code = "queue_unavailable"


class DatabaseUnavailableError(UnavailableError):
    """The database did not answer."""

    code = "database_unavailable"


class StorageFullError(StorageUnavailableError):
    """The storage has no room for what was sent."""

    code = "storage_full"
