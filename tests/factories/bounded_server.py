"""An application behind the bounds of heads, which a test can tighten, and what it came to see."""

from collections.abc import AsyncIterator
from threading import Event
from typing import Any

import anyio
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from services.api.request_heads import BoundedHttpProtocol
from services.core.errors import ServiceError
from tests.factories.senders import Sender
from tests.waiting import PATIENCE_SECONDS, POLL_SECONDS

BOUND = 4000
SHORT_SECONDS = 0.2
"""For what arrives in one piece, or must not arrive."""
FIRST_SECONDS = 3.0
"""For what comes after the connection, or in pieces: a machine may stand still in between."""


class Server:
    """An application behind bounds of a test's own."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, ...]] = []
        self.refused: list[str] = []
        self.gate = Event()
        server = self

        class Protocol(BoundedHttpProtocol):
            max_head_bytes = BOUND
            head_seconds = PATIENCE_SECONDS
            linger_seconds = PATIENCE_SECONDS

            def connection_made(self, transport: Any) -> None:
                self.timeout_keep_alive = PATIENCE_SECONDS  # uvicorn's own is none of these tests
                super().connection_made(transport)

            def _refuse(self, error: ServiceError) -> None:
                server.refused.append(error.code)
                super()._refuse(error)

        self.protocol = Protocol
        self.app = FastAPI()
        self.app.add_route("/bytes", self._count, methods=["GET", "POST"])
        self.app.add_route("/wait", self._wait, methods=["GET", "POST"])
        self.app.add_route("/refuse", self._forbid, methods=["POST"])
        self.app.add_route("/begin", self._begin, methods=["POST"])
        self.url = ""

    def sender(self) -> Sender:
        return Sender(self.url)

    def hasten(self) -> None:
        """Give heads, from the next one on, next to no time."""
        self.protocol.head_seconds = SHORT_SECONDS

    async def _count(self, request: Request) -> Response:
        self.seen.append(tuple(name for name, _ in request.headers.raw))
        return JSONResponse({"bytes": len(await request.body())})

    async def _wait(self, request: Request) -> Response:
        while not self.gate.is_set():
            await anyio.sleep(POLL_SECONDS)
        return JSONResponse({"bytes": 0})

    async def _begin(self, request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"{"
            await self._wait(request)

        return StreamingResponse(pieces())

    async def _forbid(self, request: Request) -> Response:
        return JSONResponse({}, status_code=403)
