"""One correlation id and one log line for every request; the outermost frame of the API."""

import re
import time
from collections.abc import MutableMapping
from typing import Any
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.api.error_handlers import problem_response
from services.core.logging import get_logger, log_context

CORRELATION_HEADER = "X-Correlation-ID"
SAFE_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
"""What a sender's id may look like: fits the column and cannot break a log line."""
CLIENT_CLOSED_REQUEST = 499
"""Log status of a request whose sender left, after nginx; never sent."""

log = get_logger(__name__)


class RequestContextMiddleware:
    """Every request has a correlation id, in its answer and log lines; none ends unanswered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        correlation_id = _correlation_id(Headers(scope=scope).get(CORRELATION_HEADER))
        scope.setdefault("state", {})["correlation_id"] = correlation_id
        with log_context(correlation_id=correlation_id):
            await _Exchange(scope, receive, send, correlation_id).run(self._app)


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, correlation_id: str) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._correlation_id = correlation_id
        self._status: int | None = None

    async def run(self, app: ASGIApp) -> None:
        start = time.perf_counter()
        try:
            await app(self._scope, self._receive, self._send_with_id)
        except ClientDisconnect:
            self._status = CLIENT_CLOSED_REQUEST
        except Exception as error:  # noqa: BLE001  the outermost frame: nothing may leave unanswered
            await self._answer(error)
        log.info(
            "request",
            method=self._scope["method"],
            route=_route_path(self._scope),
            status=self._status,
            seconds=round(time.perf_counter() - start, 4),
        )

    async def _answer(self, error: Exception) -> None:
        # The reason goes to the log only: it may quote code, paths or the request.
        log.error("request failed", exc_info=error)
        if self._status is None:
            response = problem_response(
                "internal_error",
                detail="The service failed; its operators find the reason by the correlation id.",
                context={},
                path=self._scope["path"],
                correlation_id=self._correlation_id,
            )
            await response(self._scope, self._receive, self._send_with_id)

    async def _send_with_id(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            MutableHeaders(scope=message)[CORRELATION_HEADER] = self._correlation_id
        await self._send(message)


def _correlation_id(sent: str | None) -> str:
    return sent if sent is not None and SAFE_ID.fullmatch(sent) else uuid4().hex


def _route_path(scope: MutableMapping[str, Any]) -> str:  # Any: an ASGI scope
    # The template, not the path: a mistyped path may hold anything, a patient's name too.
    return getattr(scope.get("route"), "path", "unmatched")
