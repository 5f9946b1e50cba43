"""One correlation id, address and log line for every request; the outermost frame of the API."""

import re
import time
from collections.abc import MutableMapping
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.api.error_handlers import problem_response
from services.api.refusals import RefusalTally
from services.api.telemetry import CLIENT_CLOSED_REQUEST, route_template
from services.core.actor import Actor
from services.core.addresses import find_network_address
from services.core.logging import get_logger, log_context

CORRELATION_HEADER = "X-Correlation-ID"
_UUID = r"[0-9A-Fa-f]{8}(-?)(?:[0-9A-Fa-f]{4}\1){3}[0-9A-Fa-f]{12}"
_ULID = r"[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}"
SAFE_ID = re.compile(f"{_UUID}|{_ULID}")
"""What a sender's id may look like: UUID, trace id of W3C or ULID, as programs draw them. Any other
may say whom a request is about, and the audit trail keeps it for good."""

REFUSALS = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
"""Statuses of requests that the audit trail counts."""

log = get_logger(__name__)


class RequestContextMiddleware:
    """Every request has a correlation id, in its answer and log lines; none ends unanswered.

    Its log lines also have the address it came from: who guesses keys is known by nothing else.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        correlation_id = _correlation_id(Headers(scope=scope).get(CORRELATION_HEADER))
        state = scope.setdefault("state", {})
        state["correlation_id"] = correlation_id
        state["address"] = _address(scope)
        with log_context(correlation_id=correlation_id, address=state["address"]):
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
        if self._status in REFUSALS:
            self._note_refusal()
        log.info(
            "request",
            method=self._scope["method"],
            route=route_template(self._scope),
            actor=_actor_id(self._scope),
            status=self._status,
            seconds=round(time.perf_counter() - start, 4),
        )

    def _note_refusal(self) -> None:
        tally: RefusalTally = self._scope["app"].state.refusals
        state = self._scope["state"]
        tally.note(state.get("actor"), state["address"])

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


def _address(scope: Scope) -> str | None:
    client = scope.get("client")
    return find_network_address(client[0] if client else None)


def _actor_id(scope: MutableMapping[str, Any]) -> str | None:  # Any: an ASGI scope
    actor: Actor | None = scope["state"].get("actor")
    return None if actor is None else actor.id
