"""The only place that turns errors into HTTP answers."""

from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from ml.dicom.errors import DicomError
from services.api.problems import PROBLEM_MEDIA_TYPE, PROBLEMS, problem
from services.api.uploads.names import shown_json, shown_name, shown_text
from services.core.disk import storage_error
from services.core.errors import ServiceError, UnavailableError
from services.core.logging import get_logger

RETRY_AFTER_SECONDS = 5
"""What a sender is told to wait when a dependency is away or a job is not finished."""
MAX_SHOWN_PATH_LENGTH = 500
MAX_SHOWN_ERRORS = 50
"""Of the things wrong with one request; a list of thousands may be wrong throughout."""
MAX_LOCATION_PARTS = 20
RETRIABLE_CODES = frozenset({"job_not_finished"})
RETRIABLE_STATUSES = frozenset({HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS})

log = get_logger(__name__)

Json = dict[str, Any]  # Any: nested json values


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error of the application with problem details."""
    app.exception_handler(ServiceError)(_on_service_error)
    app.exception_handler(DicomError)(_on_dicom_error)
    app.exception_handler(RequestValidationError)(_on_validation_error)
    app.exception_handler(HTTPException)(_on_http_exception)
    app.exception_handler(OSError)(_on_disk_error)
    app.exception_handler(DataError)(_on_data_error)
    for unavailable in (OperationalError, InterfaceError, PoolTimeoutError):
        app.exception_handler(unavailable)(_on_database_error)


def problem_response(
    code: str, *, detail: str, context: Json, path: str, correlation_id: str
) -> JSONResponse:
    """Build the answer to a failed request."""
    body = problem(
        code,
        detail=shown_text(detail),
        instance=quote(path[:MAX_SHOWN_PATH_LENGTH], safe="/:@!$&'()*+,;=", errors="replace"),
        context=cast("Json", shown_json(context)),
        correlation_id=correlation_id,
    )
    headers: dict[str, str] = {}
    if code in RETRIABLE_CODES or body.status in RETRIABLE_STATUSES:
        headers["Retry-After"] = str(context.get("retry_after_seconds", RETRY_AFTER_SECONDS))
    if body.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"  # RFC 9110, 11.6.1
    return JSONResponse(
        body.model_dump(),
        status_code=body.status,
        media_type=PROBLEM_MEDIA_TYPE,
        headers=headers,
    )


def _on_service_error(request: Request, error: ServiceError) -> JSONResponse:
    if isinstance(error, UnavailableError) or error.code not in PROBLEMS:
        log.error("request failed", code=error.code, exc_info=error)
    return _response(request, error.code, error.message, error.context)


def _on_dicom_error(request: Request, error: DicomError) -> JSONResponse:
    context: Json = dict(error.facts)
    if error.sop_instance_uids:
        context["sop_instance_uids"] = list(error.sop_instance_uids)
    if error.file_names:
        context["file_names"] = list(error.file_names)
    return _response(request, error.code.value, error.message, context)


def _on_validation_error(request: Request, error: RequestValidationError) -> JSONResponse:
    # Without the offending input, which may be anything; where it stood may be the sender's words.
    found = error.errors()
    errors = [
        {
            "location": [shown_name(str(part)) for part in e["loc"][:MAX_LOCATION_PARTS]],
            "message": shown_text(e["msg"]),
            "type": e["type"],
        }
        for e in found[:MAX_SHOWN_ERRORS]
    ]
    context: Json = {"errors": errors, "error_count": len(found)}
    return _response(request, "validation_error", "The request is invalid.", context)


def _on_http_exception(request: Request, error: HTTPException) -> JSONResponse:
    codes = {
        HTTPStatus.NOT_FOUND: "not_found",
        HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    }
    code = codes.get(HTTPStatus(error.status_code), "bad_request")
    response = _response(request, code, PROBLEMS[code].title + ".", {})
    response.headers.update(error.headers or {})
    return response


def _on_disk_error(request: Request, error: OSError) -> JSONResponse:
    return _on_service_error(request, storage_error(error))


def _on_database_error(request: Request, error: Exception) -> JSONResponse:
    log.error("database failed", reason=type(error).__name__)
    return _response(request, "database_unavailable", "The database does not answer.", {})


def _on_data_error(request: Request, error: DataError) -> JSONResponse:
    # Routes refuse such values before; one that did not came from a request all the same.
    log.error("value refused by the database", reason=type(error.orig).__name__)
    return _response(request, "value_not_storable", "The database cannot keep a value.", {})


def _response(request: Request, code: str, detail: str, context: Json) -> JSONResponse:
    return problem_response(
        code if code in PROBLEMS else "internal_error",
        detail=detail,
        context=context,
        path=request.scope["path"],
        correlation_id=request.state.correlation_id,
    )
