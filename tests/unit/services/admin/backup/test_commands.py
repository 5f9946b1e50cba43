import fcntl
import json
import os
from pathlib import Path
from uuid import uuid4

import pytest

from services.admin.backup import creating
from services.admin.backup.commands import EXIT_DAMAGED, EXIT_MISSING
from services.admin.backup.databases import Dump, PostgresTools
from services.admin.backup.layout import METRIC, backups_in, read_manifest
from services.core.database import create_database_engine, utc_now
from services.core.lifecycle import DatasetSourceKind
from services.core.storage import StoredKind
from services.core.storage_facts import StorageFacts
from tests.factories.datasets import add_dataset, add_source
from tests.unit.services.admin.backup.conftest import Service, make_backup


class TestCreate:
    def test_rows_and_files_are_in_it(self, service: Service, backups: Path) -> None:
        series_id = service.add_series(b"voxels")

        made = make_backup(service, backups)

        assert (
            made / "storage" / "series" / str(series_id) / "00001.dcm"
        ).read_bytes() == b"voxels"
        manifest = read_manifest(made)
        assert (manifest.database, manifest.file_count) == ("sqlite", 2)
        assert (manifest.gone, manifest.missing) == ([], [])

    def test_files_that_nobody_needs_are_not(self, service: Service, backups: Path) -> None:
        service.add_series()
        for name in (f"series/{uuid4()}", f"crops/{uuid4()}", "incoming/x", "broker"):
            (service.data_dir / name).mkdir(parents=True)
            (service.data_dir / name / "file").touch()

        made = make_backup(service, backups)

        assert [path.name for path in (made / "storage").iterdir()] == ["series"]
        assert len(list((made / "storage" / "series").iterdir())) == 1

    def test_only_its_owner_may_read_it(self, service: Service, backups: Path) -> None:
        made = make_backup(service, backups)

        assert made.stat().st_mode & 0o077 == 0
        assert backups.stat().st_mode & 0o077 == 0

    def test_what_did_not_change_is_the_same_file_as_before(
        self, service: Service, backups: Path
    ) -> None:
        kept = service.add_series(b"kept")
        first = make_backup(service, backups)
        new = service.add_series(b"new")

        second = make_backup(service, backups)

        path = f"storage/series/{kept}/00001.dcm"
        assert (first / path).stat().st_ino == (second / path).stat().st_ino
        assert (second / "storage" / "series" / str(new) / "00001.dcm").read_bytes() == b"new"

    def test_what_is_removed_meanwhile_is_told(
        self, service: Service, backups: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        series_id = service.add_series()
        dump = creating.dump_database

        def dump_then_remove(url: str, folder: Path, tools: PostgresTools) -> Dump:
            dumped = dump(url, folder, tools)
            with service.new_uow() as uow:
                uow.series.purge(series_id, utc_now())
                service.storage.delete(StoredKind.SERIES, series_id)
                uow.commit()
            return dumped

        monkeypatch.setattr(creating, "dump_database", dump_then_remove)

        made = make_backup(service, backups)

        assert read_manifest(made).gone == [f"series/{series_id}"]

    def test_what_the_storage_had_lost_is_an_exit_code(
        self, service: Service, backups: Path
    ) -> None:
        lost = service.add_series()
        service.storage.delete(StoredKind.SERIES, lost)

        result = service.run("create", backups)

        assert result.exit_code == EXIT_MISSING
        (made,) = backups_in(backups)
        assert read_manifest(made).missing == [f"series/{lost}"]

    def test_what_a_dataset_never_collected_is_not_missing(
        self, service: Service, backups: Path
    ) -> None:
        dataset_id = add_dataset(service.new_uow())
        kind = DatasetSourceKind.EDITED_RTSTRUCT
        collected, _ = (add_source(service.new_uow(), dataset_id, kind, name) for name in "ab")
        with service.storage.staging() as folder:
            (folder / "rtstruct.dcm").write_bytes(b"edited")
            service.storage.publish(StoredKind.DATASET_UPLOADS, folder, collected)

        made = make_backup(service, backups)

        assert read_manifest(made).missing == []
        assert [path.name for path in (made / "storage" / "dataset-uploads").iterdir()] == [
            str(collected)
        ]

    def test_the_keys_come_only_when_asked_for(self, service: Service, backups: Path) -> None:
        (service.data_dir / "private").mkdir(parents=True)
        (service.data_dir / "private" / "pseudonym.key").write_bytes(b"secret")

        without = make_backup(service, backups)
        with_keys = make_backup(service, backups, "--with-private-keys")

        assert not (without / "storage" / "private").exists()
        key = with_keys / "storage" / "private" / "pseudonym.key"
        assert key.read_bytes() == b"secret"
        assert key.stat().st_mode & 0o077 == 0

    def test_monitoring_reads_when_it_succeeded(self, service: Service, backups: Path) -> None:
        service.add_series()
        made = make_backup(service, backups)

        facts = json.loads((backups / "last-backup.json").read_text())
        assert facts["name"] == made.name
        assert f"{METRIC} {facts['timestamp']}\n" in (backups / "last-backup.prom").read_text()
        assert StorageFacts(service.data_dir).last_backup_timestamp() == facts["timestamp"]

    def test_storage_that_can_only_be_read_is_backed_up_and_said(
        self, service: Service, backups: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(facts: StorageFacts, timestamp: int) -> None:
            raise PermissionError

        monkeypatch.setattr(StorageFacts, "note_backup", refuse)
        result = service.run("create", backups)
        assert result.exit_code == 0
        assert "/metrics does not show this backup" in result.stderr

    def test_only_the_latest_are_kept(self, service: Service, backups: Path) -> None:
        service.add_series()
        old = [make_backup(service, backups) for _ in range(2)]

        latest = make_backup(service, backups, "--keep", "2")

        assert backups_in(backups) == [old[1], latest]
        assert service.run("verify", latest).exit_code == 0

    def test_one_of_a_later_date_is_left_alone_and_takes_no_other_s_place(
        self, service: Service, backups: Path
    ) -> None:
        later = make_backup(service, backups).rename(backups / "29991231T235959Z")
        first = make_backup(service, backups)

        result = service.run("create", backups, "--keep", "1")
        while "is there already" in result.output:
            result = service.run("create", backups, "--keep", "1")

        (made,) = set(backups_in(backups)) - {first, later}
        assert backups_in(backups) == [made, later]
        assert result.exit_code == 0
        assert f"older backup removed: {first.name}" in result.stdout
        assert f"{later.name} is of a later date" in result.stderr

    def test_one_that_did_not_end_is_none(self, service: Service, backups: Path) -> None:
        (backups / ".20260101T000000Z.part").mkdir(parents=True)

        made = make_backup(service, backups)

        assert backups_in(backups) == [made]
        assert not (backups / ".20260101T000000Z.part").exists()

    def test_two_at_a_time_are_refused(self, service: Service, backups: Path) -> None:
        backups.mkdir()
        descriptor = os.open(backups / ".lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(descriptor, fcntl.LOCK_EX)

        result = service.run("create", backups)

        os.close(descriptor)
        assert result.exit_code == 1
        assert "another backup" in result.output

    def test_a_database_without_tables_is_refused(self, empty: Service, backups: Path) -> None:
        empty.data_dir.mkdir()
        create_database_engine(empty.database_url).connect().close()

        result = empty.run("create", backups)

        assert result.exit_code == 1
        assert "no tables of this service" in result.output
        assert backups_in(backups) == []


class TestVerify:
    def test_a_whole_one_is_whole(self, service: Service, backups: Path) -> None:
        service.add_series()

        assert service.run("verify", make_backup(service, backups)).exit_code == 0

    @pytest.mark.parametrize("damage", ["change", "remove", "add", "database", "list"])
    def test_every_damage_is_found(self, service: Service, backups: Path, damage: str) -> None:
        series_id = service.add_series()
        made = make_backup(service, backups)
        path = made / "storage" / "series" / str(series_id) / "00001.dcm"
        if damage == "change":
            path.write_bytes(b"other")
        elif damage == "remove":
            path.unlink()
        elif damage == "add":
            path.with_name("more").touch()
        elif damage == "database":
            with (made / "database.sqlite").open("ab") as file:
                file.write(b"x")
        else:
            (made / "files.sha256").write_text("")

        assert service.run("verify", made).exit_code == EXIT_DAMAGED

    def test_what_is_none_is_told(self, service: Service, tmp_path: Path) -> None:
        result = service.run("verify", tmp_path)

        assert result.exit_code == 1
        assert "no complete backup" in result.output
