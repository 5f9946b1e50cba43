"""Request bodies arrive within limits of size, depth and time, before any route sees them.

FastAPI's own max_body_size counts bytes only and answers in plain text.
"""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from anyio import fail_after, to_thread
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.api.error_handlers import problem_response
from services.core.errors import ServiceError

SLOWEST_BYTES_PER_SECOND = 1024
"""Below this a sender holds a connection and a folder rather than sends: a modem was faster."""
INLINE_BYTES = 16 << 10
"""A body up to this is looked through in less time than a hop to a thread takes."""

_TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_OPENING = frozenset(b"[{")


@dataclass(frozen=True, kw_only=True, slots=True)
class BodyLimits:
    """What a request body may be."""

    max_bytes: int
    """Of a body that is no upload."""
    max_depth: int
    """Lists and tables within each other in such a body."""
    idle_seconds: float
    """Longest wait for the next piece of such a body."""


class BodyTooLargeError(ServiceError):
    """A request body that is no upload has too many bytes."""

    code = "body_too_large"

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"the request body exceeds {max_bytes} bytes", max_body_bytes=max_bytes)


class BodyTooDeepError(ServiceError):
    """A request body has too many lists and tables within each other."""

    code = "body_too_deep"

    def __init__(self, max_depth: int) -> None:
        super().__init__(
            f"the request body nests more than {max_depth} lists and tables", max_depth=max_depth
        )


class BodyTimeoutError(ServiceError):
    """The sender stopped sending, or sends next to nothing."""

    code = "body_timeout"

    def __init__(self) -> None:
        super().__init__("the request body did not arrive in time")


class BodyLimitsMiddleware:
    """Receives every body that is no upload whole, before its route is asked."""

    def __init__(
        self, app: ASGIApp, *, limits: BodyLimits, upload_routes: Iterable[BaseRoute]
    ) -> None:
        self._app = app
        self._limits = limits
        self._upload_routes = tuple(upload_routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if any(route.matches(scope)[0] is Match.FULL for route in self._upload_routes):
            await self._app(scope, receive, send)  # it counts and times its body itself
            return
        try:
            replay = await self._receive(scope, _Timed(receive, self._limits.idle_seconds))
        except ServiceError as error:
            await _refuse(error, scope, receive, send)
            return
        await self._app(scope, replay, send)

    async def _receive(self, scope: Scope, timed: "_Timed") -> Receive:
        limit = self._limits.max_bytes
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced[:20]) > limit:
            raise BodyTooLargeError(limit)
        body = bytearray()
        while True:
            message = await timed.receive()
            if message["type"] != "http.request":  # the sender left
                return _once(message, timed.receive)
            body += message.get("body", b"")
            if len(body) > limit:
                raise BodyTooLargeError(limit)
            if not message.get("more_body", False):
                break
        await self._check_depth(bytes(body))
        return _once({"type": "http.request", "body": bytes(body)}, timed.receive)

    async def _check_depth(self, body: bytes) -> None:
        limit = self._limits.max_depth
        if len(body) <= INLINE_BYTES:
            is_deep = is_deeper(body, limit)
        else:
            is_deep = await to_thread.run_sync(is_deeper, body, limit)
        if is_deep:
            raise BodyTooDeepError(limit)


class _Timed:
    """Receives a body in time; what comes after it, the end of the connection, may take long."""

    def __init__(self, receive: Receive, idle_seconds: float) -> None:
        self._receive = receive
        self._idle_seconds = idle_seconds
        self._started = time.monotonic()
        self._received = 0
        self._is_complete = False

    async def receive(self) -> Message:
        if self._is_complete:
            return await self._receive()
        allowed = self._idle_seconds + self._received / SLOWEST_BYTES_PER_SECOND
        left = allowed - (time.monotonic() - self._started)
        try:
            with fail_after(max(0.0, min(left, self._idle_seconds))):
                message = await self._receive()
        except TimeoutError as error:
            raise BodyTimeoutError from error
        self._received += len(message.get("body", b""))
        self._is_complete = not message.get("more_body", False)
        return message


def takes_upload(route: BaseRoute) -> bool:
    """Tell whether a route receives files; it counts and times them itself."""
    return isinstance(route, APIRoute) and "requestBody" in (route.openapi_extra or {})


def is_deeper(body: bytes, limit: int) -> bool:
    """Tell whether JSON nests deeper than the limit; what is no JSON may count as either."""
    brackets = _TEXTS.sub(b"", body).translate(None, _ALL_BUT_BRACKETS)
    if len(brackets) <= limit:
        return False
    steps = (1 if bracket in _OPENING else -1 for bracket in brackets)
    return any(depth > limit for depth in accumulate(steps))


def _once(message: Message, receive: Receive) -> Receive:
    waiting = [message]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


async def _refuse(error: ServiceError, scope: Scope, receive: Receive, send: Send) -> None:
    response = problem_response(
        error.code,
        detail=error.message,
        context=error.context,
        path=scope["path"],
        correlation_id=scope["state"]["correlation_id"],
    )
    if isinstance(error, BodyTimeoutError):
        response.headers["Connection"] = "close"  # RFC 9110 15.5.9
    await response(scope, receive, send)
