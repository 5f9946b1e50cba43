"""The only place that turns errors into HTTP answers."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from ml.dicom.errors import DicomError
from services.api.problems import PROBLEM_MEDIA_TYPE, PROBLEMS, problem
from services.core.errors import ServiceError, UnavailableError
from services.core.logging import get_logger

RETRY_AFTER_SECONDS = 5
"""What a sender is told to wait when a dependency is away or a job is not finished."""
RETRIABLE_CODES = frozenset({"job_not_finished"})

log = get_logger(__name__)

Json = dict[str, Any]  # Any: nested json values


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error of the application with problem details."""
    app.exception_handler(ServiceError)(_on_service_error)
    app.exception_handler(DicomError)(_on_dicom_error)
    app.exception_handler(RequestValidationError)(_on_validation_error)
    app.exception_handler(HTTPException)(_on_http_exception)
    for unavailable in (OperationalError, InterfaceError, PoolTimeoutError):
        app.exception_handler(unavailable)(_on_database_error)


def problem_response(
    code: str, *, detail: str, context: Json, path: str, correlation_id: str
) -> JSONResponse:
    """Build the answer to a failed request."""
    body = problem(
        code, detail=detail, instance=path, context=context, correlation_id=correlation_id
    )
    retry = code in RETRIABLE_CODES or body.status == HTTPStatus.SERVICE_UNAVAILABLE
    return JSONResponse(
        body.model_dump(),
        status_code=body.status,
        media_type=PROBLEM_MEDIA_TYPE,
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)} if retry else None,
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
    # Without the offending input: it may be anything.
    errors = [
        {"location": [str(part) for part in e["loc"]], "message": e["msg"], "type": e["type"]}
        for e in error.errors()
    ]
    return _response(request, "validation_error", "The request is invalid.", {"errors": errors})


def _on_http_exception(request: Request, error: HTTPException) -> JSONResponse:
    codes = {
        HTTPStatus.NOT_FOUND: "not_found",
        HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    }
    code = codes.get(HTTPStatus(error.status_code), "bad_request")
    response = _response(request, code, PROBLEMS[code].title + ".", {})
    response.headers.update(error.headers or {})
    return response


def _on_database_error(request: Request, error: Exception) -> JSONResponse:
    log.error("database failed", reason=type(error).__name__)
    return _response(request, "database_unavailable", "The database does not answer.", {})


def _response(request: Request, code: str, detail: str, context: Json) -> JSONResponse:
    return problem_response(
        code if code in PROBLEMS else "internal_error",
        detail=detail,
        context=context,
        path=request.url.path,
        correlation_id=request.state.correlation_id,
    )
