"""A service with a database and a storage of its own, as the command line finds it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from services.admin.backup.layout import backups_in
from services.admin.main import cli
from services.core.storage import FilesystemStorage, StoredKind, slice_name
from services.core.unit_of_work import UnitOfWork
from tests.factories.rows import make_series


@dataclass(kw_only=True)
class Service:
    """Rows and files, and the command line on them."""

    data_dir: Path
    database_url: str
    new_uow: Callable[[], UnitOfWork]
    runner: CliRunner

    @property
    def storage(self) -> FilesystemStorage:
        return FilesystemStorage(self.data_dir)

    def run(self, *arguments: str | Path) -> Result:
        variables = {
            "CERVICONTOUR_DATA_DIR": str(self.data_dir),
            "CERVICONTOUR_DATABASE_URL": self.database_url,
        }
        return self.runner.invoke(cli, ["backup", *map(str, arguments)], env=variables)

    def add_series(self, content: bytes = b"slice") -> UUID:
        with self.new_uow() as uow, self.storage.staging() as folder:
            (folder / slice_name(1)).write_bytes(content)
            (folder / slice_name(2)).write_bytes(content + b"2")
            series, _ = uow.series.get_or_create(make_series())
            self.storage.publish_once(StoredKind.SERIES, folder, series.id)
            uow.commit()
        return series.id

    def files_of(self, series_id: UUID) -> dict[str, bytes]:
        folder = self.data_dir / "series" / str(series_id)
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def make_backup(service: Service, backups: Path, *options: str) -> Path:
    before = set(backups_in(backups)) if backups.exists() else set()
    while True:  # a backup is named by the second
        result = service.run("create", backups, *options)
        if "is there already" not in result.output:
            break
        time.sleep(0.2)
    assert result.exit_code == 0, result.output
    (made,) = set(backups_in(backups)) - before
    return made


@pytest.fixture
def service(tmp_path: Path, engine: sa.Engine, uow: UnitOfWork) -> Service:
    return Service(
        data_dir=tmp_path / "data",
        database_url=engine.url.render_as_string(),
        new_uow=lambda: uow,
        runner=CliRunner(),
    )


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    return tmp_path / "backups"


@pytest.fixture
def empty(tmp_path: Path, service: Service) -> Service:
    """Another service that has nothing yet."""
    return Service(
        data_dir=tmp_path / "restored",
        database_url=f"sqlite:///{tmp_path / 'restored' / 'db.sqlite'}",
        new_uow=service.new_uow,
        runner=service.runner,
    )
