"""The service's own API with a heart on its event loop: `uvicorn --factory` takes create_app.

Two paths are added: one tells what the heart saw since it was last asked, the other has the
interpreter collect its garbage and tells what is still in use, so that memory can be compared.
"""

import asyncio
import ctypes
import gc
import sys

from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from bench.load.heartbeat import Heart
from services.api import main

HEARTBEAT_PATH = "/bench/heartbeat"
IN_USE_PATH = "/bench/in-use"


class _Mallinfo2(ctypes.Structure):
    """The structure of mallinfo2(3): what glibc's allocator has, and what of it is in use."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def _malloc_bytes() -> int | None:
    """Return what was asked of malloc and not given back; None where glibc cannot tell."""
    mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)  # of glibc 2.33 and newer
    if mallinfo2 is None:
        return None
    mallinfo2.restype = _Mallinfo2
    found = mallinfo2()
    return found.uordblks + found.hblkhd


class WatchedApi:
    """Passes everything on but the two paths of the bench."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._heart = Heart()
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        if scope["type"] == "lifespan":
            self._task = asyncio.create_task(self._heart.run())
        elif scope["path"] == HEARTBEAT_PATH:
            answer = PlainTextResponse(self._heart.take().to_json())
            return await answer(scope, receive, send)
        elif scope["path"] == IN_USE_PATH:
            gc.collect()
            in_use = {"malloc_bytes": _malloc_bytes(), "objects": sys.getallocatedblocks()}
            return await JSONResponse(in_use)(scope, receive, send)
        return await self._app(scope, receive, send)


def create_app() -> WatchedApi:
    """Build the API as its composition root does."""
    return WatchedApi(main.create_app())
