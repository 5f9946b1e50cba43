"""Prints how fast and at what memory a real server takes uploads, beside Starlette's own form.

    python bench/upload.py [--files 200] [--file-bytes 525000]

Every line is one server process of its own: the API of this repository, and an application that
does the least possible with Starlette's request.form(), on the same machine in the same run.
The API's time includes what request.form() does not do: unpacking, hashing, checking every header,
making the files durable and committing the row.
"""

import argparse
import io
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import httpx
import psutil

from services.admin.transactions import transactions
from services.core.database import create_database_engine
from services.core.migrations import upgrade_database
from services.core.settings import Settings
from services.embedded.api_command import API_OPTIONS
from services.embedded.supervisor import API_APP

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.factories.access import add_key, bearer
from tests.factories.uploads import FORM, encode, make_form, make_slice

PEER = """
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

async def live(request):
    return JSONResponse({})

async def upload(request):
    async with request.form(max_files=5000) as form:
        size = sum(file.size for file in form.getlist("file"))
    return JSONResponse({"bytes": size})

app = Starlette(routes=[Route("/health/live", live), Route("/v1/series", upload, methods=["POST"])])
"""
POLL_SECONDS = 0.005
MIB = 1 << 20


NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One upload to one server."""

    name: str
    seconds: float
    body_bytes: int
    rss_growth_bytes: int
    worst_health_ms: float

    @property
    def mb_per_second(self) -> float:
        """Body bytes a second."""
        return self.body_bytes / self.seconds / 1e6


class Server:
    """A uvicorn process, its memory and its answers watched while it works."""

    def __init__(
        self,
        arguments: list[str],
        folder: Path,
        environment: dict[str, str],
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        self._headers = headers
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "uvicorn", *arguments, "--port", str(port)]
        self._log = (folder / "server.log").open("wb")
        self._process = subprocess.Popen(
            [*command, "--no-access-log"], cwd=folder, env=environment, stderr=self._log
        )
        self._address = f"http://127.0.0.1:{port}"
        while not self._is_up():
            time.sleep(0.05)

    def upload(self, name: str, body: bytes, content_type: str) -> Measured:
        """Post a body and measure until it is answered."""
        process = psutil.Process(self._process.pid)
        before = process.memory_info().rss
        peak, worst = [before], [0.0]
        done = threading.Event()
        watchers = [
            threading.Thread(target=self._watch_memory, args=(process, peak, done)),
            threading.Thread(target=self._watch_health, args=(worst, done)),
        ]
        for watcher in watchers:
            watcher.start()
        start = time.perf_counter()
        response = httpx.post(
            f"{self._address}/v1/series",
            content=body,
            headers={"Content-Type": content_type, **self._headers},
            timeout=300,
            trust_env=False,
        )
        seconds = time.perf_counter() - start
        done.set()
        for watcher in watchers:
            watcher.join()
        if response.status_code != httpx.codes.UNPROCESSABLE_ENTITY:
            response.raise_for_status()
        return Measured(
            name=name,
            seconds=seconds,
            body_bytes=len(body),
            rss_growth_bytes=peak[0] - before,
            worst_health_ms=worst[0] * 1000,
        )

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()
        self._log.close()

    def _is_up(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"the server ended; see {self._log.name}")
        try:
            return httpx.get(f"{self._address}/health/live", trust_env=False).is_success
        except httpx.TransportError:
            return False

    @staticmethod
    def _watch_memory(process: psutil.Process, peak: list[int], done: threading.Event) -> None:
        while not done.wait(POLL_SECONDS):
            peak[0] = max(peak[0], process.memory_info().rss)

    def _watch_health(self, worst: list[float], done: threading.Event) -> None:
        with httpx.Client(base_url=self._address, trust_env=False, timeout=60) as client:
            while not done.wait(POLL_SECONDS * 4):
                start = time.perf_counter()
                client.get("/health/live").raise_for_status()
                worst[0] = max(worst[0], time.perf_counter() - start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure uploads.")
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--file-bytes", type=int, default=525_000)
    options = parser.parse_args()
    side = int((options.file_bytes / 2) ** 0.5)
    files = {f"IM{n}": encode(make_slice(n, side)) for n in range(1, options.files + 1)}
    form = make_form(files)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "peer.py").write_text(PEER)
        results = [_measure_peer(folder, form)]
        no_ct = {f"{name}.txt": content for name, content in files.items()}
        bodies = {
            "API, received only (422)": (_without_magic(make_form(no_ct)), FORM),
            "API, multipart": (form, FORM),
            "API, zip stored": (_zip(files, zipfile.ZIP_STORED), "application/zip"),
            "API, zip deflated": (_zip(files, zipfile.ZIP_DEFLATED), "application/zip"),
        }
        for title, (body, content_type) in bodies.items():
            results.append(_measure_api(folder / title, title, body, content_type))
    _print(results)


def _measure_peer(folder: Path, form: bytes) -> Measured:
    server = Server(["peer:app"], folder, dict(os.environ))
    try:
        return server.upload("Starlette request.form()", form, FORM)
    finally:
        server.stop()


def _measure_api(folder: Path, title: str, body: bytes, content_type: str) -> Measured:
    folder.mkdir()
    data_dir = folder / "data"
    data_dir.mkdir()
    engine = create_database_engine(f"sqlite:///{data_dir / 'cervicontour.sqlite'}")
    upgrade_database(engine)
    engine.dispose()
    environment = os.environ | {
        "CERVICONTOUR_DATA_DIR": str(data_dir),
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    with transactions(Settings(data_dir=data_dir)) as new_unit_of_work:
        headers = bearer(add_key(new_unit_of_work))
    server = Server([API_APP, *API_OPTIONS], folder, environment, headers)
    try:
        return server.upload(title, body, content_type)
    finally:
        server.stop()


def _without_magic(form: bytes) -> bytes:
    # Files that are no DICOM are refused right after they were received.
    return form.replace(b"\0DICM\2\0", b"\0NONE\2\0")


def _zip(files: dict[str, bytes], method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method, compresslevel=1) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _print(results: list[Measured]) -> None:
    peer = results[0]
    heads = f"{'MB':>7}{'s':>7}{'MB/s':>7}{'ratio':>7}{'RSS +MiB':>10}{'ratio':>7}{'health ms':>11}"
    print(f"{'':26}{heads}")
    for result in results:
        print(
            f"{result.name:26}{result.body_bytes / 1e6:7.0f}{result.seconds:7.2f}"
            f"{result.mb_per_second:7.0f}{result.mb_per_second / peer.mb_per_second:7.2f}"
            f"{result.rss_growth_bytes / MIB:10.1f}"
            f"{result.rss_growth_bytes / peer.rss_growth_bytes:7.2f}"
            f"{result.worst_health_ms:11.1f}"
        )


if __name__ == "__main__":
    main()
