"""The OpenAPI description: FastAPI's own, plus what problem details need."""

import gzip
import hashlib
import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from anyio import Lock, to_thread
from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi

from services.api.access.roles import CURTAILED_PATHS, SCHEME
from services.api.problems import ACCESS_CODES, PROBLEM_MEDIA_TYPE, Problem, problem_responses

DESCRIPTION = """\
Posts a planning CT, returns an RTSTRUCT with bladder, rectum, CTV-N and CTV-UV.
**Not a medical device: every RTSTRUCT is UNAPPROVED and needs review.**

Send an API key, or a token of the identity provider, as `Authorization: Bearer ...`; each route
says which roles it serves (`x-roles`). What belongs to others does not exist for a submitter.

Every failure is `application/problem+json` (RFC 9457) with a stable `code`.
Every answer carries `X-Correlation-ID`; send one of your own (a UUID, a W3C trace id or a ULID) to
find your request in the logs. Lists go newest first; follow `next_cursor`.
"""
TAGS = [
    {"name": "autocontour", "description": "CT in, job out, in one request."},
    {"name": "series", "description": "CT series in storage."},
    {"name": "contour jobs", "description": "Contouring requests and their results."},
    {"name": "datasets", "description": "Cases to learn from, and where they come from."},
    {"name": "dataset versions", "description": "Cases as they were read once, with their split."},
    {"name": "experiments", "description": "Training, comparisons and what they came to."},
    {"name": "reviews", "description": "What readers say of contours, and make of them."},
    {"name": "quality", "description": "How contours fare: acceptability, agreement, drift."},
    {"name": "model versions", "description": "Weights that may contour, and their shadows."},
    {"name": "model aliases", "description": "Which model version contours."},
    {"name": "access", "description": "Who may use the service."},
    {"name": "health", "description": "For load balancers, schedulers and people."},
]

OPENAPI_PATH = "/openapi.json"


def add_openapi(app: FastAPI) -> None:
    """Make the application describe itself completely, at an address that costs next to nothing."""

    def openapi() -> dict[str, Any]:  # Any: OpenAPI
        if app.openapi_schema is None:
            app.openapi_schema = _describe(app)
        return app.openapi_schema

    app.openapi = openapi  # FastAPI's documented way to extend the description
    app.add_route(OPENAPI_PATH, _DescriptionPage(app).answer, include_in_schema=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rendered:
    """The description as it is sent."""

    plain: bytes
    packed: bytes
    etag: str


class _DescriptionPage:
    """Answers strangers with 600 KB that were made once; FastAPI's own page makes them anew."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._lock = Lock()
        self._by_root: dict[str, _Rendered] = {}  # of one: a proxy's prefix is the process' own

    async def answer(self, request: Request) -> Response:
        root = request.scope.get("root_path", "").rstrip("/")
        async with self._lock:  # first requests at the same time share the work
            if root not in self._by_root:
                self._by_root[root] = await to_thread.run_sync(_render, self._app, root)
        rendered = self._by_root[root]
        headers = {
            "ETag": rendered.etag,
            "Cache-Control": "no-cache",  # kept, and asked about: another release has another
            "Vary": "Accept-Encoding",
        }
        if rendered.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            packed = {**headers, "Content-Encoding": "gzip"}
            return Response(rendered.packed, media_type="application/json", headers=packed)
        return Response(rendered.plain, media_type="application/json", headers=headers)


def _render(app: FastAPI, root: str) -> _Rendered:
    servers = {"servers": [{"url": root}]} if root else {}
    plain = json.dumps(
        {**app.openapi(), **servers}, ensure_ascii=False, separators=(",", ":")
    ).encode()
    # A weak tag, for it names both forms (RFC 9110, 8.8.3.3).
    etag = f'W/"{hashlib.sha256(plain).hexdigest()}"'
    return _Rendered(plain=plain, packed=gzip.compress(plain, mtime=0), etag=etag)


def _describe(app: FastAPI) -> dict[str, Any]:  # Any: OpenAPI
    schema = get_openapi(
        title=app.title,
        version=app.version,
        description=DESCRIPTION,
        tags=TAGS,
        routes=app.routes,
    )
    # FastAPI's `model=` of a response always means application/json, so the schema comes in here.
    schema["components"]["schemas"]["Problem"] = Problem.model_json_schema()
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            _describe_access(path, operation)
            _add_body_failures(operation)
    return schema


def _describe_access(path: str, operation: dict[str, Any]) -> None:  # Any: OpenAPI
    """Say which roles a route serves, and how it refuses; FastAPI takes roles for scopes."""
    if path in CURTAILED_PATHS:
        operation["security"] = [{}, {SCHEME: []}]
    elif "security" in operation:
        (requirement,) = operation["security"]
        operation["x-roles"] = requirement[SCHEME]
        operation["security"] = [{SCHEME: []}]
        roles = ", ".join(requirement[SCHEME])
        text = operation.get("description", "")
        operation["description"] = f"{text}\n\nRoles: {roles}."
        codes = [*ACCESS_CODES]
        if "application/zip" in operation.get("requestBody", {}).get("content", {}):
            codes.append("too_many_uploads")
        _add_problems(operation["responses"], problem_responses(*codes))


def _add_problems(responses: dict[str, Any], further: dict[int | str, Any]) -> None:  # Any: OpenAPI
    for status, response in further.items():
        known = responses.setdefault(str(status), response)
        content = known.get("content", {}).get(PROBLEM_MEDIA_TYPE)
        if content is not None:
            content["examples"] = {
                **content["examples"],
                **response["content"][PROBLEM_MEDIA_TYPE]["examples"],
            }


def _add_body_failures(operation: dict[str, Any]) -> None:  # Any: OpenAPI
    """Describe what comes before a route: a body too large, too deep or too slow."""
    if "application/json" in operation.get("requestBody", {}).get("content", {}):
        codes = ("body_timeout", "body_too_large", "body_too_deep")
        _add_problems(operation["responses"], problem_responses(*codes))
