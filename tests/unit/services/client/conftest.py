"""The API behind a real port, and the client and its command line in front of it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from services.api.main import create_app
from services.client.cli.main import cli
from services.client.client import CerviContourClient
from services.client.transport import RetryPolicy
from services.core.settings import Settings
from tests.factories.access import add_key
from tests.factories.api import STEADY_PROBES
from tests.factories.servers import Service, serving
from tests.factories.uploads import make_series
from tests.fakes import BoundedThreads, FakeJobQueue


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "mounted" / "clinic").mkdir(parents=True)
    return Settings(data_dir=tmp_path / "data", datasets_dir=tmp_path / "mounted")


@pytest.fixture
def service(settings: Settings, migrated_file: Path) -> Iterator[Service]:
    data_dir = settings.data_dir
    data_dir.mkdir()
    shutil.copy(migrated_file, data_dir / "cervicontour.sqlite")
    queue = FakeJobQueue()
    app = create_app(settings, queue, BoundedThreads(), probes=STEADY_PROBES)
    with serving(app) as url:
        key = add_key(app.state.dependencies.new_unit_of_work)
        unused = httpx.AsyncClient(base_url=url)
        yield Service(app=app, client=unused, queue=queue, data_dir=data_dir, url=url, key=key)


@pytest.fixture
def delays() -> list[float]:
    """What the client slept; it sleeps in no test."""
    return []


@pytest.fixture
def retries(delays: list[float]) -> RetryPolicy:
    return RetryPolicy(sleep=delays.append)


@pytest.fixture
def client(service: Service, retries: RetryPolicy) -> Iterator[CerviContourClient]:
    with CerviContourClient(service.url, api_key=service.key, retries=retries) as client:
        yield client


@pytest.fixture
def run(service: Service) -> Callable[..., Result]:
    """Run the command line against the service."""

    def run(*arguments: object) -> Result:
        variables = {"CERVICONTOUR_URL": service.url, "CERVICONTOUR_API_KEY": service.key}
        return CliRunner().invoke(cli, [str(a) for a in arguments], env=variables)

    return run


@pytest.fixture
def ct_folder(tmp_path: Path) -> Path:
    """A CT series of three slices, and a file that is none."""
    folder = tmp_path / "ct"
    folder.mkdir()
    for name, content in make_series(3).items():
        (folder / name).write_bytes(content)
    (folder / "notes.txt").write_text("hello")
    return folder
