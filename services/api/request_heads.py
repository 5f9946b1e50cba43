"""Heads of requests are small and arrive in time, or are refused before the application sees them.

`uvicorn --http services.api.request_heads:BoundedHttpProtocol`; uvicorn's own protocol reads heads
of any size, waits for them for ever, and refuses what is no HTTP in plain text.
"""

import asyncio
from collections.abc import Iterable
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, cast
from uuid import uuid4

from fastapi.responses import JSONResponse
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from services.api.correlation import CORRELATION_HEADER
from services.api.error_handlers import problem_response
from services.core.addresses import find_network_address
from services.core.errors import ServiceError
from services.core.logging import get_logger

MAX_HEAD_BYTES = 64 << 10
"""Of the request line and the headers; a token of an identity provider has a few thousand."""
HEAD_SECONDS = 30.0
"""From a head's first byte to its last; as long a connection may wait before its first."""
LINGER_SECONDS = 2.0
"""What a sender is still sending is thrown away for so long, so that it comes to read the answer:
a connection that is closed with bytes unread is reset, and a reset may overtake an answer."""

_BODY_HEADERS = frozenset({b"content-length", b"transfer-encoding"})

log = get_logger(__name__)


class RequestHeadTooLargeError(ServiceError):
    """The head of a request, or what follows its chunks, has too many bytes."""

    code = "request_head_too_large"

    def __init__(self, max_bytes: int) -> None:
        super().__init__(
            f"the request line and headers exceed {max_bytes} bytes", max_head_bytes=max_bytes
        )


class RequestHeadTimeoutError(ServiceError):
    """The head of a request began and did not end."""

    code = "request_head_timeout"

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"the request line and headers did not arrive within {seconds:g} s",
            head_seconds=seconds,
        )


class NotHttpError(ServiceError):
    """What was sent is no request."""

    code = "bad_request"

    def __init__(self) -> None:
        super().__init__("what was sent is no HTTP/1.1 request")


class _Stage(Enum):
    """What the next byte belongs to."""

    BETWEEN = auto()
    """No request yet; empty lines before one change nothing."""
    HEAD = auto()
    BODY = auto()


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection, on which no head of a request takes too many bytes or too long.

    Bodies are the application's to bound: nothing here counts or times them. While a request is
    answered the next one may take its time, too: uvicorn does not even read it to the end.
    """

    max_head_bytes = MAX_HEAD_BYTES
    head_seconds = HEAD_SECONDS
    linger_seconds = LINGER_SECONDS

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],  # Any: uvicorn's, whatever a lifespan leaves
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._stage = _Stage.BETWEEN
        self._bytes = 0
        """Of reads since the last one with the end of a head, a piece of a body or its end."""
        self._is_deaf = False
        """Whatever else comes on this connection is thrown away."""
        self._clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Expect a first request, though not for ever."""
        super().connection_made(transport)
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, and stop where nothing but a head comes."""
        if self._is_deaf:
            return
        self._bytes += len(data)
        super().data_received(data)
        # In a body these are trailers and extensions of chunks, which the application never sees.
        if self._bytes > self.max_head_bytes and not self._is_deaf:
            self._refuse(RequestHeadTooLargeError(self.max_head_bytes))
        if not self._is_deaf:
            self._keep_time()

    def on_message_begin(self) -> None:
        """Take the first byte of a head."""
        self._stage = _Stage.HEAD
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, and leave a trailer: it would pass for a header (RFC 9110, 6.5.1)."""
        if self._stage is _Stage.HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer."""
        if self._head_bytes() > self.max_head_bytes:  # all came in one read with its end
            error = RequestHeadTooLargeError(self.max_head_bytes)
            self._refuse(error)
            raise error  # stops the parser
        super().on_headers_complete()
        self._stage = _Stage.BODY
        self._bytes = 0
        self._stop_clock()
        has_body = any(name in _BODY_HEADERS for name, _ in self.headers)
        if has_body and self.parser is not None and self.parser.should_upgrade():
            # The parser skips the body of such a request and would take it for the next one.
            self._is_deaf = True
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Hand on a piece of a body."""
        self._bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Expect the next head."""
        self._stage = _Stage.BETWEEN
        self._bytes = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's plain text
        """Answer what the parser does not take with problem details."""
        if not self._is_deaf:
            self._refuse(NotHttpError())

    def _head_bytes(self) -> int:
        """Return the length of a complete head as clients write it, with one space after colons."""
        method = b"" if self.parser is None else self.parser.get_method()
        lines = len(b"%b %b HTTP/1.1\r\n" % (method, self.url)) + len(b"\r\n")
        return lines + sum(len(name) + len(value) + len(b": \r\n") for name, value in self.headers)

    def _keep_time(self) -> None:
        """Run the clock while nobody else does.

        Bytes have stopped uvicorn's own of kept-alive connections, which begins with an answer's
        end. The application waits for a body, but not for what is left of it after the answer.
        """
        if self._stage is _Stage.BODY:
            self._stop_clock()
        if not self._is_answering() and self._clock is None:
            self._start_clock()

    def _is_answering(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None before the first request
        return cycle is not None and not cycle.response_complete

    def _start_clock(self) -> None:
        self._clock = self.loop.call_later(self.head_seconds, self._end_waiting)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _end_waiting(self) -> None:
        if self._stage is _Stage.HEAD:
            self._refuse(RequestHeadTimeoutError(self.head_seconds))
        else:
            self.transport.close()

    def _refuse(self, error: ServiceError) -> None:
        """Answer where that cannot be taken for a part of another answer, and hang up."""
        self._is_deaf = True
        self._stop_clock()
        is_answering = self._is_answering()
        is_of_the_next = self._stage is not _Stage.BODY or len(self.pipeline) > 0
        if is_answering and (is_of_the_next or self.cycle.response_started):
            self.transport.close()
            return
        self.transport.write(self._answer(error))
        if is_answering or not self.transport.can_write_eof():
            self.transport.close()
        else:
            self.transport.write_eof()
            self._clock = self.loop.call_later(self.linger_seconds, self.transport.close)

    def _answer(self, error: ServiceError) -> bytes:
        correlation_id = uuid4().hex
        response = problem_response(
            error.code,
            detail=error.message,
            context=error.context,
            path="",  # nobody can say before the head has ended
            correlation_id=correlation_id,
        )
        response.headers[CORRELATION_HEADER] = correlation_id
        response.headers["Connection"] = "close"
        log.info(
            "request",
            code=error.code,
            status=response.status_code,
            address=find_network_address(self.client[0] if self.client else None),
            correlation_id=correlation_id,
        )
        return _on_the_wire(response, self.server_state.default_headers)


def _on_the_wire(response: JSONResponse, default_headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    status = HTTPStatus(response.status_code)
    lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode()]
    lines += [name + b": " + value for name, value in (*default_headers, *response.raw_headers)]
    return b"\r\n".join([*lines, b"", bytes(response.body)])
