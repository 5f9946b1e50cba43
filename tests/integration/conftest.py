"""Real databases, brokers and worker processes, once on each pair the service runs on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.core.database import create_database_engine
from services.core.migrations import upgrade_database
from tests.integration.deployment import Deployment, Mode, Pair
from tests.integration.servers import Servers, running_servers


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with running_servers(tmp_path_factory.mktemp("servers")) as servers:
        yield servers


@pytest.fixture(scope="session", params=list(Mode))
def mode(request: pytest.FixtureRequest) -> Mode:
    return request.param


@pytest.fixture
def database_url(mode: Mode, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database of its own."""
    with new_database(mode, tmp_path, request) as url:
        yield url


@pytest.fixture(scope="session")
def pair(
    mode: Mode, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Pair]:
    with new_database(mode, tmp_path_factory.mktemp("database"), request) as url:
        engine = create_database_engine(url)
        upgrade_database(engine)
        engine.dispose()
        broker_url = "filesystem://"
        if mode is Mode.SERVERS:
            broker_url = request.getfixturevalue("servers").redis_url
        yield Pair(database_url=url, broker_url=broker_url)


@pytest.fixture(scope="session")
def deployment(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One deployment for all tests of a pair; they leave no unfinished job behind."""
    deployment = Deployment(root=tmp_path_factory.mktemp("deployment"), pair=pair)
    yield deployment
    deployment.close()


@contextmanager
def new_database(mode: Mode, folder: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    if mode is Mode.EMBEDDED:
        yield f"sqlite+pysqlite:///{folder / 'test.sqlite'}"
    else:
        servers: Servers = request.getfixturevalue("servers")
        with servers.new_database() as url:
            yield url
