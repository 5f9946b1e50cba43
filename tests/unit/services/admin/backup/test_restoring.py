import errno
import json
import shutil
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

from services.admin.backup import databases, restoring
from services.admin.backup.commands import EXIT_NOT_MIGRATED
from services.admin.backup.layout import BackupError
from services.api.identities import Identities
from services.core.database import create_database_engine
from services.core.errors import PrivateKeyChangedError, PrivateKeyMissingError
from services.core.migrations import ForeignKeysBrokenError, upgrade_database
from tests.unit.services.admin.backup.conftest import Service, make_backup


class TestRestore:
    def test_rows_and_files_are_back(self, service: Service, empty: Service, backups: Path) -> None:
        series_id = service.add_series(b"voxels")
        made = make_backup(service, backups)

        result = empty.run("restore", made)

        assert result.exit_code == 0, result.output
        assert empty.files_of(series_id) == service.files_of(series_id)
        with closing(create_database_engine(empty.database_url).connect()) as connection:
            assert connection.scalar(sa.text("SELECT count(*) FROM series")) == 1

    def test_the_keys_are_asked_for(self, service: Service, empty: Service, backups: Path) -> None:
        made = make_backup(service, backups)

        assert "no private keys" in empty.run("restore", made).output

    def test_the_keys_come_back(self, service: Service, empty: Service, backups: Path) -> None:
        (service.data_dir / "private").mkdir(parents=True)
        (service.data_dir / "private" / "pseudonym.key").write_bytes(b"secret")
        made = make_backup(service, backups, "--with-private-keys")

        result = empty.run("restore", made)

        assert "no private keys" not in result.output
        assert (empty.data_dir / "private" / "pseudonym.key").read_bytes() == b"secret"

    def test_other_keys_are_known_for_others_after_it(
        self, service: Service, empty: Service, backups: Path
    ) -> None:
        Identities(service.storage).make_keys(lambda: False, lambda: False)
        made = make_backup(service, backups)
        assert empty.run("restore", made).exit_code == 0
        identities = Identities(empty.storage)
        with pytest.raises(PrivateKeyMissingError):
            identities.make_keys(lambda: False, lambda: False)

        shutil.copytree(service.data_dir / "private", empty.data_dir / "private")
        identities.check()

        empty.storage.sealing_key_path().write_text("0" * 64)
        with pytest.raises(PrivateKeyChangedError):
            identities.check()

    @pytest.mark.parametrize("full", ["database", "storage"])
    def test_a_service_that_has_something_is_left_alone(
        self, service: Service, empty: Service, backups: Path, full: str
    ) -> None:
        service.add_series()
        made = make_backup(service, backups)
        target = service if full == "database" else empty
        if full == "storage":
            (empty.data_dir / "series" / str(uuid4())).mkdir(parents=True)
        before = sorted(path for path in target.data_dir.rglob("*"))

        result = target.run("restore", made)

        assert result.exit_code == 1
        assert "not empty" in result.output
        assert sorted(path for path in target.data_dir.rglob("*")) == before

    @pytest.mark.parametrize("ending", ["-wal", "-shm", "-journal"])
    def test_what_a_database_before_left_is_not_replayed_over_it(
        self, service: Service, empty: Service, backups: Path, ending: str
    ) -> None:
        service.add_series()
        made = make_backup(service, backups)
        empty.data_dir.mkdir()
        (empty.data_dir / f"db.sqlite{ending}").write_bytes(b"left by a killed process")

        result = empty.run("restore", made)

        assert result.exit_code == 1
        assert f"target_not_empty: the database of the settings is not empty: {empty.data_dir}" in (
            result.output
        )
        assert [path.name for path in empty.data_dir.iterdir()] == [f"db.sqlite{ending}"]

    def test_a_database_that_came_while_files_were_copied_is_left_alone(
        self, service: Service, empty: Service, backups: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        series_id = service.add_series()
        made = make_backup(service, backups)
        copy_file = restoring.copy_file

        def copy_while_the_service_starts(source: Path, target: Path, *, mode: int | None) -> str:
            if not (empty.data_dir / "db.sqlite").exists():
                engine = create_database_engine(empty.database_url)
                upgrade_database(engine)
                engine.dispose()
            return copy_file(source, target, mode=mode)

        monkeypatch.setattr(restoring, "copy_file", copy_while_the_service_starts)
        empty.data_dir.mkdir()

        result = empty.run("restore", made)

        assert result.exit_code == 1
        assert "target_not_empty" in result.output
        assert not (empty.data_dir / "series" / str(series_id)).exists()
        with closing(create_database_engine(empty.database_url).connect()) as connection:
            assert connection.scalar(sa.text("SELECT count(*) FROM series")) == 0

    def test_the_name_of_the_database_is_durable(
        self, service: Service, empty: Service, backups: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = make_backup(service, backups)
        seen: list[tuple[Path, bool]] = []
        database = empty.data_dir / "db.sqlite"
        monkeypatch.setattr(databases, "sync", lambda path: seen.append((path, database.exists())))

        assert empty.run("restore", made).exit_code == 0

        assert seen[-1] == (empty.data_dir, True)

    def test_a_database_that_cannot_be_written_leaves_nothing(
        self, service: Service, empty: Service, backups: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(path: Path) -> None:
            raise OSError(errno.EIO, "Input/output error", str(path))

        service.add_series()
        made = make_backup(service, backups)
        with monkeypatch.context() as patch:
            patch.setattr(databases, "sync", fail)

            assert empty.run("restore", made).exit_code == 1

        assert list(empty.data_dir.iterdir()) == []
        assert empty.run("restore", made).exit_code == 0

    def test_one_that_cannot_be_migrated_is_whole_and_says_what_to_do(
        self, service: Service, empty: Service, backups: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(engine: sa.Engine) -> None:
            raise ForeignKeysBrokenError({"series"})

        series_id = service.add_series()
        made = make_backup(service, backups)
        monkeypatch.setattr(restoring, "upgrade_database", fail)

        result = empty.run("restore", made)

        assert result.exit_code == EXIT_NOT_MIGRATED
        assert "alembic upgrade head" in result.output
        assert empty.files_of(series_id) == service.files_of(series_id)
        with closing(create_database_engine(empty.database_url).connect()) as connection:
            assert connection.scalar(sa.text("SELECT count(*) FROM series")) == 1

    def test_a_damaged_one_changes_nothing(
        self, service: Service, empty: Service, backups: Path
    ) -> None:
        series_id = service.add_series()
        made = make_backup(service, backups)
        (made / "storage" / "series" / str(series_id) / "00002.dcm").write_bytes(b"other")

        result = empty.run("restore", made)

        assert result.exit_code == 1
        assert not empty.data_dir.exists()

    def test_one_of_a_later_release_is_refused(
        self, service: Service, empty: Service, backups: Path
    ) -> None:
        made = make_backup(service, backups)
        manifest = made / "manifest.json"
        manifest.write_text(
            json.dumps(json.loads(manifest.read_text()) | {"schema_revision": "9999"})
        )

        assert "later release" in empty.run("restore", made).output

    def test_one_of_another_database_is_refused(
        self, service: Service, empty: Service, backups: Path
    ) -> None:
        made = make_backup(service, backups)
        empty.database_url = "postgresql+psycopg:///nowhere"

        assert "the backup is of sqlite" in empty.run("restore", made).output

    def test_a_restore_that_fails_leaves_nothing(
        self,
        service: Service,
        empty: Service,
        backups: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def fail(*_: object) -> None:
            raise BackupError("pg_restore failed")

        service.add_series()
        made = make_backup(service, backups)
        with monkeypatch.context() as patch:
            patch.setattr(restoring, "load_database", fail)

            assert empty.run("restore", made).exit_code == 1

        assert list(empty.data_dir.iterdir()) == []
        assert empty.run("restore", made).exit_code == 0
