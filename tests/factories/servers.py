"""Servers on loopback: the API itself, and one that answers as a test tells it to."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import uvicorn
from fastapi import FastAPI

from services.api.request_heads import BoundedHttpProtocol
from tests.factories.api import Api
from tests.waiting import PATIENCE_SECONDS, wait_until


@dataclass(frozen=True, kw_only=True, slots=True)
class Service(Api):
    """An API that listens, its address, and an administrator's key."""

    url: str
    key: str


@contextmanager
def serving(
    app: FastAPI, protocol: type[BoundedHttpProtocol] = BoundedHttpProtocol
) -> Iterator[str]:
    """Serve an application from a thread; gives its address."""
    config = uvicorn.Config(
        app,
        port=0,
        log_config=None,
        http=protocol,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()

    def has_started() -> bool:
        assert thread.is_alive(), "the API did not start"
        return server.started

    wait_until(has_started)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE_SECONDS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Scripted:
    """An answer; `missing_bytes` of its announced length are never sent."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    missing_bytes: int = 0


HANG_UP = Scripted(status=0)
"""No answer at all: the connection ends."""


class ScriptedServer:
    """Gives one answer after the other, the last one for ever, and keeps what it was asked."""

    def __init__(self, *answers: Scripted) -> None:
        self._answers = list(answers)
        self.seen: list[Seen] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> "ScriptedServer":
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def _next(self, seen: Seen) -> Scripted:
        self.seen.append(seen)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answer_to: Callable[[Seen], Scripted] = self._next

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                seen = Seen(
                    method=self.command,
                    path=self.path,
                    headers=dict(self.headers.items()),
                    body=self.rfile.read(length),
                )
                scripted = answer_to(seen)
                self.close_connection = True
                if scripted.status:
                    self.send_response(scripted.status)
                    for name, value in scripted.headers.items():
                        self.send_header(name, value)
                    announced = len(scripted.body) + scripted.missing_bytes
                    self.send_header("Content-Length", str(announced))
                    self.end_headers()
                    self.wfile.write(scripted.body)

            do_GET = do_POST = do_PUT = do_CONNECT = _answer  # noqa: N815  # http.server's names

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # likewise
                """Keep quiet."""

        return Handler
