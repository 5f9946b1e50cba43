"""Every way a request can fail: stable code, HTTP status and title, as RFC 9457 problem details."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field

from ml.dicom.errors import DicomErrorCode
from services.api.bounded import (
    ParseFailedError,
    ParsersUnavailableError,
    ParseTimeLimitError,
)
from services.api.uploads.errors import UploadErrorCode

PROBLEM_MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:problem:cervicontour:"

Json = dict[str, Any]  # Any: nested json values


@dataclass(frozen=True, kw_only=True, slots=True)
class ProblemKind:
    """One way to fail."""

    status: HTTPStatus
    title: str


class Problem(BaseModel):
    """RFC 9457 problem details; `code` is stable and may be branched on."""

    type: str = Field(description="The code as a URI.")
    title: str = Field(description="The same sentence for every occurrence of the code.")
    status: int
    detail: str = Field(description="What is wrong in this case, without patient identifiers.")
    instance: str = Field(description="Path of the request.")
    code: str = Field(description="Stable, lower_snake_case.")
    context: Json = Field(
        description="Facts of the case: `sop_instance_uids`, `file_names`, limits, values."
    )
    correlation_id: str = Field(description="Finds the log lines of this request and its job.")


def _kind(status: HTTPStatus, title: str) -> ProblemKind:
    return ProblemKind(status=status, title=title)


_UPLOAD_KINDS: dict[UploadErrorCode, ProblemKind] = {
    UploadErrorCode.EMPTY_UPLOAD: _kind(HTTPStatus.UNPROCESSABLE_ENTITY, "Empty upload"),
    UploadErrorCode.UNSUPPORTED_MEDIA_TYPE: _kind(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Unsupported Content-Type"
    ),
    UploadErrorCode.MALFORMED_MULTIPART: _kind(
        HTTPStatus.BAD_REQUEST, "Malformed or truncated multipart body"
    ),
    UploadErrorCode.UNEXPECTED_FORM_FIELD: _kind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "Unexpected form field"
    ),
    UploadErrorCode.UPLOAD_STALLED: _kind(HTTPStatus.REQUEST_TIMEOUT, "Upload stalled"),
    UploadErrorCode.TOO_MANY_BYTES: _kind(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Too many bytes"),
    UploadErrorCode.TOO_MANY_FILES: _kind(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Too many files"),
    UploadErrorCode.NOT_A_ZIP: _kind(HTTPStatus.UNPROCESSABLE_ENTITY, "Not a zip"),
    UploadErrorCode.DAMAGED_ARCHIVE: _kind(HTTPStatus.UNPROCESSABLE_ENTITY, "Damaged zip"),
    UploadErrorCode.UNSUPPORTED_ARCHIVE: _kind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "Unsupported zip compression"
    ),
    UploadErrorCode.ENCRYPTED_ARCHIVE: _kind(HTTPStatus.UNPROCESSABLE_ENTITY, "Encrypted zip"),
    UploadErrorCode.ZIP_BOMB: _kind(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Zip bomb"),
    UploadErrorCode.PATH_TRAVERSAL: _kind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "File name leads outside its folder"
    ),
}

_PARSE_KINDS = {
    ParseTimeLimitError.code: _kind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "Files take too long to be read"
    ),
    ParseFailedError.code: _kind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "Files cannot be read within the limits"
    ),
    ParsersUnavailableError.code: _kind(
        HTTPStatus.SERVICE_UNAVAILABLE, "No process can be started to read files"
    ),
}

_DICOM_KINDS: dict[DicomErrorCode, ProblemKind] = {
    code: _kind(HTTPStatus.UNPROCESSABLE_ENTITY, f"CT series refused: {code.replace('_', ' ')}")
    for code in DicomErrorCode
    if code is not DicomErrorCode.RTSTRUCT_INVALID  # of the worker's own output; never of a request
}

_SERVICE_KINDS: dict[str, ProblemKind] = {
    "validation_error": _kind(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid request"),
    "not_found": _kind(HTTPStatus.NOT_FOUND, "No such route"),
    "method_not_allowed": _kind(HTTPStatus.METHOD_NOT_ALLOWED, "Method not allowed"),
    "bad_request": _kind(HTTPStatus.BAD_REQUEST, "Bad request"),
    "unauthenticated": _kind(HTTPStatus.UNAUTHORIZED, "No valid credentials"),
    "role_missing": _kind(HTTPStatus.FORBIDDEN, "The token's user has no role here"),
    "role_not_allowed": _kind(HTTPStatus.FORBIDDEN, "The route does not serve the role"),
    "rate_limited": _kind(HTTPStatus.TOO_MANY_REQUESTS, "Too many requests"),
    "too_many_uploads": _kind(HTTPStatus.TOO_MANY_REQUESTS, "Too many uploads under way"),
    "too_many_streams": _kind(HTTPStatus.TOO_MANY_REQUESTS, "Too many streams open"),
    "identity_provider_unavailable": _kind(
        HTTPStatus.SERVICE_UNAVAILABLE, "Identity provider unavailable"
    ),
    "api_key_not_found": _kind(HTTPStatus.NOT_FOUND, "No such API key"),
    "reader_name_taken": _kind(HTTPStatus.CONFLICT, "The reader's name is another client's"),
    "series_shared": _kind(HTTPStatus.CONFLICT, "Others posted the series too"),
    "series_not_found": _kind(HTTPStatus.NOT_FOUND, "No such series"),
    "series_purged": _kind(HTTPStatus.GONE, "The files of the series were removed"),
    "series_in_use": _kind(HTTPStatus.CONFLICT, "A job still needs the series"),
    "contour_job_not_found": _kind(HTTPStatus.NOT_FOUND, "No such contour job"),
    "illegal_transition": _kind(HTTPStatus.CONFLICT, "The work cannot be cancelled any more"),
    "job_not_finished": _kind(HTTPStatus.CONFLICT, "The job has not finished"),
    "job_failed": _kind(HTTPStatus.CONFLICT, "The job failed"),
    "job_cancelled": _kind(HTTPStatus.CONFLICT, "The job was cancelled"),
    "result_purged": _kind(HTTPStatus.GONE, "The result was removed"),
    "contour_job_in_use": _kind(HTTPStatus.CONFLICT, "The contour job is in use"),
    "deletion_not_found": _kind(HTTPStatus.NOT_FOUND, "No such deletion"),
    "review_not_found": _kind(HTTPStatus.NOT_FOUND, "No such review"),
    "unknown_structure": _kind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "The job drew no structure of that name"
    ),
    "slice_out_of_range": _kind(HTTPStatus.UNPROCESSABLE_ENTITY, "The series has no such slice"),
    "duplicate_grade": _kind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "A slice of a structure was graded twice"
    ),
    "edited_rtstruct_not_found": _kind(HTTPStatus.NOT_FOUND, "No such edited RTSTRUCT"),
    "edited_rtstruct_invalid": _kind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "The file is no usable RT Structure Set"
    ),
    "edited_rtstruct_purged": _kind(HTTPStatus.GONE, "The edited RTSTRUCT was removed"),
    "edited_rtstruct_in_use": _kind(HTTPStatus.CONFLICT, "The edited RTSTRUCT is in use"),
    "wrong_frame_of_reference": _kind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "The RTSTRUCT lies in another frame of reference"
    ),
    "wrong_series": _kind(HTTPStatus.UNPROCESSABLE_ENTITY, "The RTSTRUCT is of another CT series"),
    "wrong_review": _kind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "The review is of another job or reader"
    ),
    "dataset_not_found": _kind(HTTPStatus.NOT_FOUND, "No such dataset"),
    "dataset_removed": _kind(HTTPStatus.GONE, "The dataset was deleted"),
    "dataset_in_use": _kind(HTTPStatus.CONFLICT, "The dataset is in use"),
    "dataset_source_not_found": _kind(HTTPStatus.NOT_FOUND, "No such source of the dataset"),
    "dataset_source_in_use": _kind(
        HTTPStatus.CONFLICT, "A version of the dataset was read from the source"
    ),
    "dataset_exists": _kind(HTTPStatus.CONFLICT, "Another dataset has the name"),
    "no_mounted_datasets": _kind(HTTPStatus.CONFLICT, "No folder is mounted for datasets"),
    "folder_outside_mount": _kind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "The folder lies outside the mounted one"
    ),
    "folder_not_found": _kind(HTTPStatus.UNPROCESSABLE_ENTITY, "No such mounted folder"),
    "mapping_invalid": _kind(HTTPStatus.UNPROCESSABLE_ENTITY, "The mapping cannot be used"),
    "no_case_in_upload": _kind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "The upload holds no CT with structures"
    ),
    "edited_rtstruct_not_compared": _kind(
        HTTPStatus.CONFLICT, "The edited RTSTRUCT was not compared successfully"
    ),
    "dataset_version_not_found": _kind(HTTPStatus.NOT_FOUND, "No such dataset version"),
    "dataset_has_no_source": _kind(HTTPStatus.CONFLICT, "The dataset has no source of cases"),
    "version_in_progress": _kind(HTTPStatus.CONFLICT, "A version of the dataset is in progress"),
    "dataset_version_in_use": _kind(HTTPStatus.CONFLICT, "The dataset version is in use"),
    "idempotency_key_reused": _kind(
        HTTPStatus.CONFLICT, "Idempotency-Key used before with another request"
    ),
    "experiment_not_found": _kind(HTTPStatus.NOT_FOUND, "No such experiment"),
    "run_not_found": _kind(HTTPStatus.NOT_FOUND, "No such run"),
    "report_not_found": _kind(HTTPStatus.NOT_FOUND, "No such report"),
    "report_file_not_found": _kind(HTTPStatus.NOT_FOUND, "No such file in the report"),
    "report_in_progress": _kind(HTTPStatus.CONFLICT, "The report is being written"),
    "report_purged": _kind(HTTPStatus.GONE, "The files of the report were removed"),
    "report_not_ready": _kind(HTTPStatus.CONFLICT, "The report is not there"),
    "dataset_versions_differ": _kind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "Experiments on different dataset versions"
    ),
    "nothing_to_report": _kind(HTTPStatus.CONFLICT, "No run succeeded"),
    "config_invalid": _kind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "A setting that does not exist, or cannot have the value"
    ),
    "too_many_runs": _kind(HTTPStatus.UNPROCESSABLE_ENTITY, "Too many runs"),
    "run_not_resumable": _kind(HTTPStatus.CONFLICT, "The run cannot be taken up again"),
    "dataset_not_ready": _kind(HTTPStatus.CONFLICT, "The dataset version is not indexed"),
    "dataset_purged": _kind(HTTPStatus.GONE, "The files of the dataset version were removed"),
    "split_too_small": _kind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "A part of the split has no case to train or validate with"
    ),
    "dataset_lacks_structure": _kind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "No training case shows a structure"
    ),
    "structures_differ": _kind(HTTPStatus.UNPROCESSABLE_ENTITY, "Other structures"),
    "batch_larger_than_training_set": _kind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "A batch is larger than an epoch"
    ),
    "run_not_succeeded": _kind(HTTPStatus.CONFLICT, "The run has no weights"),
    "already_promoted": _kind(HTTPStatus.CONFLICT, "The run was promoted before"),
    "below_minimum": _kind(HTTPStatus.UNPROCESSABLE_ENTITY, "Below the minimum asked for"),
    "model_version_not_found": _kind(HTTPStatus.NOT_FOUND, "No such model version"),
    "model_version_exists": _kind(
        HTTPStatus.CONFLICT, "Another model version has the weights or the name"
    ),
    "model_version_not_ready": _kind(HTTPStatus.CONFLICT, "The model version was not checked"),
    "model_version_retired": _kind(HTTPStatus.CONFLICT, "The model version is retired"),
    "model_version_in_use": _kind(HTTPStatus.CONFLICT, "An alias means the model version"),
    "model_version_not_retired": _kind(HTTPStatus.CONFLICT, "The model version is not retired"),
    "model_version_purged": _kind(HTTPStatus.GONE, "The files of the model version were removed"),
    "model_archive_invalid": _kind(HTTPStatus.UNPROCESSABLE_ENTITY, "No exported model version"),
    "alias_changed": _kind(HTTPStatus.CONFLICT, "The alias was changed meanwhile"),
    "nothing_to_roll_back": _kind(HTTPStatus.CONFLICT, "The alias has nothing to go back to"),
    "weights_changed": _kind(
        HTTPStatus.INTERNAL_SERVER_ERROR, "Stored weights are not those that were checked"
    ),
    "value_not_storable": _kind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "The database cannot keep a value of the request"
    ),
    "database_unavailable": _kind(HTTPStatus.SERVICE_UNAVAILABLE, "Database unavailable"),
    "storage_unavailable": _kind(HTTPStatus.SERVICE_UNAVAILABLE, "Storage unavailable"),
    "storage_full": _kind(HTTPStatus.INSUFFICIENT_STORAGE, "Storage full"),
    "stored_files_missing": _kind(
        HTTPStatus.INTERNAL_SERVER_ERROR, "Files of a known resource are missing"
    ),
    "body_too_large": _kind(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Request body too large"),
    "body_too_deep": _kind(HTTPStatus.UNPROCESSABLE_ENTITY, "Request body nested too deeply"),
    "body_timeout": _kind(HTTPStatus.REQUEST_TIMEOUT, "Request body did not arrive in time"),
    "request_head_too_large": _kind(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "Request line and headers too large"
    ),
    "request_head_timeout": _kind(
        HTTPStatus.REQUEST_TIMEOUT, "Request line and headers did not arrive in time"
    ),
    "private_key_invalid": _kind(
        HTTPStatus.INTERNAL_SERVER_ERROR, "A key of de-identification is no key"
    ),
    "private_key_missing": _kind(
        HTTPStatus.SERVICE_UNAVAILABLE, "A key of de-identification is missing"
    ),
    "private_key_changed": _kind(
        HTTPStatus.INTERNAL_SERVER_ERROR, "A key of de-identification is another one than before"
    ),
    "seal_unreadable": _kind(
        HTTPStatus.INTERNAL_SERVER_ERROR, "What de-identification set aside cannot be opened"
    ),
    "relinking_failed": _kind(
        HTTPStatus.INTERNAL_SERVER_ERROR, "The RTSTRUCT cannot be linked to the sender's CT"
    ),
    "internal_error": _kind(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal error"),
}

PROBLEMS: dict[str, ProblemKind] = {
    **{code.value: kind for code, kind in _UPLOAD_KINDS.items()},
    **_PARSE_KINDS,
    **{code.value: kind for code, kind in _DICOM_KINDS.items()},
    **_SERVICE_KINDS,
}
"""By code. A code that is missing here is answered as internal_error."""

MANY_FILES_CODES = (*(code.value for code in _UPLOAD_KINDS), *_PARSE_KINDS)
"""Codes of every route that takes any number of files."""
UPLOAD_CODES = (*MANY_FILES_CODES, *(code.value for code in _DICOM_KINDS))
"""Codes of every route that takes a CT series."""
FILE_CODES = (
    UploadErrorCode.EMPTY_UPLOAD.value,
    UploadErrorCode.UNSUPPORTED_MEDIA_TYPE.value,
    UploadErrorCode.MALFORMED_MULTIPART.value,
    UploadErrorCode.UNEXPECTED_FORM_FIELD.value,
    UploadErrorCode.UPLOAD_STALLED.value,
    UploadErrorCode.TOO_MANY_BYTES.value,
    UploadErrorCode.TOO_MANY_FILES.value,
    UploadErrorCode.PATH_TRAVERSAL.value,
    *_PARSE_KINDS,
)
"""Codes of every route that takes one file."""
STORAGE_CODES = ("storage_full", "storage_unavailable")
DATASET_CODES = (
    "dataset_not_ready",
    "dataset_purged",
    "split_too_small",
    "dataset_lacks_structure",
    "structures_differ",
    "batch_larger_than_training_set",
)
"""Codes of every route that asks for training on a dataset version."""
KEY_CODES = ("private_key_invalid", "private_key_missing", "private_key_changed")
"""Codes of every route that may de-identify what it takes."""
IDENTITY_CODES = (*KEY_CODES, "seal_unreadable")
"""Codes of every route that gives away what was de-identified."""
ROW_CODES = ("validation_error", "value_not_storable", "database_unavailable")
"""Codes of every route that reads or writes a row."""
ACCESS_CODES = (
    "unauthenticated",
    "role_missing",
    "role_not_allowed",
    "rate_limited",
    "database_unavailable",
    "identity_provider_unavailable",
)
"""Codes of every route that is not public; the OpenAPI description adds them."""


def problem(
    code: str, *, detail: str, instance: str, context: Json, correlation_id: str
) -> Problem:
    """Build the problem details of one failure."""
    kind = PROBLEMS[code]
    return Problem(
        type=TYPE_PREFIX + code,
        title=kind.title,
        status=kind.status,
        detail=detail,
        instance=instance,
        code=code,
        context=context,
        correlation_id=correlation_id,
    )


def problem_responses(*codes: str) -> dict[int | str, Json]:
    """Describe failures for OpenAPI: one response a status, one example a code.

    internal_error belongs to every route and is added.
    """
    responses: dict[int | str, Json] = {}
    for code in (*codes, "internal_error"):
        kind = PROBLEMS[code]
        response = responses.setdefault(
            int(kind.status),
            {
                "description": kind.status.phrase,
                "content": {
                    PROBLEM_MEDIA_TYPE: {
                        "schema": {"$ref": "#/components/schemas/Problem"},
                        "examples": {},
                    }
                },
            },
        )
        response["content"][PROBLEM_MEDIA_TYPE]["examples"][code] = {
            "summary": kind.title,
            "value": _example(code),
        }
    return responses


def _example(code: str) -> Json:
    context: Json = {}
    if code in _DICOM_KINDS:
        context = {"sop_instance_uids": ["1.2.826.0.1.3680043.8.498.1"], "file_names": ["IM0001"]}
    return problem(
        code,
        detail=PROBLEMS[code].title + ".",
        instance="/v1/contour-jobs",
        context=context,
        correlation_id="0f8fad5bd9cb469fa16570867728950e",
    ).model_dump()
