"""The API on a database and storage of its own, spoken to over HTTP without a socket."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from services.api.main import create_app
from services.core.settings import Settings
from tests.factories.access import add_key, bearer
from tests.factories.api import MEBIBYTE, STEADY_PROBES, Api
from tests.fakes import BoundedThreads, FakeJobQueue


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path / "data",
        max_upload_bytes=4 * MEBIBYTE,
        max_unpacked_bytes=2 * MEBIBYTE,
        max_file_bytes=MEBIBYTE,
        max_files=20,
        worker_silent_seconds=3600,  # a test machine may pause
    )


@pytest.fixture
async def api(settings: Settings, migrated_file: Path, anyio_backend: str) -> AsyncIterator[Api]:
    settings.data_dir.mkdir()
    shutil.copy(migrated_file, settings.data_dir / "cervicontour.sqlite")
    queue = FakeJobQueue()
    app = create_app(settings, queue, BoundedThreads(), probes=STEADY_PROBES)
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://api") as client,
    ):
        key = add_key(app.state.dependencies.new_unit_of_work)
        client.headers.update(bearer(key))
        yield Api(app=app, client=client, queue=queue, data_dir=settings.data_dir)
