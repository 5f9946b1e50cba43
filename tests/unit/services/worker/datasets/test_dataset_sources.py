import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from services.admin.backup.creating import BackupSource, create_backup
from services.admin.backup.databases import PostgresTools
from services.admin.backup.restoring import restore_backup
from services.core.database import create_database_engine, create_sessions, utc_now
from services.core.lifecycle import CaseStatus, DatasetSourceKind, JobState
from services.core.queue import TaskName
from services.core.storage import FilesystemStorage, StoredKind
from services.core.unit_of_work import UnitOfWork
from services.worker.clearing import purge_edited
from services.worker.context import WorkerContext
from tests.factories.datasets import (
    add_dataset,
    add_edited_rtstruct,
    add_folder,
    add_source,
    add_upload,
    cases_of,
    queue_version,
    version_of,
)
from tests.factories.imports import box_masks, write_dicom_case
from tests.factories.workers import run_task
from tests.fakes import Clock, FakeJobQueue

INDEX = TaskName.DATASET_VERSION_INDEX


class TestSources:
    def test_a_later_source_takes_the_place_of_an_earlier_one(
        self,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        tmp_path: Path,
        dataset_id: UUID,
        index: Callable[..., UUID],
    ) -> None:
        index(dataset_id)
        changed = box_masks()
        changed["Bladder"][2] = False
        sent = tmp_path / "sent"
        write_dicom_case(sent, number=2, masks=changed)
        files = {f"again/{path.name}": path for path in sent.rglob("*.dcm")}
        add_upload(uow, storage, dataset_id, files)

        cases = cases_of(uow, index(dataset_id))

        assert [(case.name, case.status) for case in cases] == [
            ("clinic/p1/rs.1.dcm", CaseStatus.ALREADY_IMPORTED),
            ("clinic/p2/rs.2.dcm", CaseStatus.REPLACED),
            ("clinic/p3/rs.3.dcm", CaseStatus.ALREADY_IMPORTED),
            ("clinic/p4/rs.4.dcm", CaseStatus.ALREADY_IMPORTED),
            ("again/rs.2.dcm", CaseStatus.IMPORTED),
        ]
        assert cases[1].facts == {"successor": "again/rs.2.dcm"}
        assert cases[4].facts["structures"]["Bladder"]["slices"] == 2

    def test_an_edited_rtstruct_is_learned_from_and_outlives_its_retention(
        self,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        mount: Path,
        tmp_path: Path,
        dataset_id: UUID,
        index: Callable[..., UUID],
    ) -> None:
        changed = box_masks()
        changed["Rectum"][0] = False
        edited = write_dicom_case(tmp_path / "edited", number=3, masks=changed)
        ct = sorted((mount / "clinic" / "p3" / "ct").iterdir())
        edited_id = add_edited_rtstruct(uow, storage, ct, edited)
        add_source(uow, dataset_id, DatasetSourceKind.EDITED_RTSTRUCT, str(edited_id))
        first = index(dataset_id)
        for kind in (StoredKind.SERIES, StoredKind.EDITED_RTSTRUCTS):
            (resource_id,) = storage.list_stored(kind, 0)
            storage.delete(kind, resource_id)

        second = index(dataset_id)

        for version_id in (first, second):
            by_name = {case.name: case for case in cases_of(uow, version_id)}
            case = by_name[f"edited-rtstructs/{edited_id}/rtstruct.dcm"]
            assert case.facts["structures"]["Rectum"]["slices"] == 2
            assert by_name["clinic/p3/rs.3.dcm"].status is CaseStatus.REPLACED
            assert version_of(uow, version_id).case_count == 4

    def test_an_edited_rtstruct_comes_back_with_a_backup(
        self,
        worker: WorkerContext,
        storage: FilesystemStorage,
        mount: Path,
        tmp_path: Path,
        dataset_id: UUID,
        index: Callable[..., UUID],
    ) -> None:
        uow = worker.unit_of_work()
        folder = mount / "clinic" / "p3"
        ct = sorted((folder / "ct").iterdir())
        edited_id = add_edited_rtstruct(uow, storage, ct, folder / "rs.3.dcm")
        add_source(uow, dataset_id, DatasetSourceKind.EDITED_RTSTRUCT, str(edited_id))
        index(dataset_id)
        purge_edited(uow, storage, utc_now())
        source = BackupSource(
            database_url=worker.engine.url.render_as_string(), data_dir=tmp_path / "storage"
        )
        made = create_backup(
            source, tmp_path / "backups", PostgresTools(None), with_private_keys=True
        )
        target = tmp_path / "restored"
        url = f"sqlite+pysqlite:///{target / 'db.sqlite'}"
        restore_backup(
            made.folder, BackupSource(database_url=url, data_dir=target), PostgresTools(None)
        )
        engine = create_database_engine(url)
        sessions = create_sessions(engine)
        restored = replace(
            worker,
            engine=engine,
            storage=FilesystemStorage(target),
            unit_of_work=lambda: UnitOfWork(sessions, FakeJobQueue()),
        )

        version_id = queue_version(restored.unit_of_work(), dataset_id)
        run_task(restored, INDEX, version_id)

        assert storage.list_stored(StoredKind.EDITED_RTSTRUCTS, 0) == []
        codes = {c.name: c.code for c in cases_of(restored.unit_of_work(), version_id)}
        assert codes[f"edited-rtstructs/{edited_id}/rtstruct.dcm"] is None
        engine.dispose()

    def test_an_edited_rtstruct_that_was_removed_unread_is_refused(
        self,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        mount: Path,
        dataset_id: UUID,
        index: Callable[..., UUID],
    ) -> None:
        folder = mount / "clinic" / "p3"
        edited_id = add_edited_rtstruct(
            uow, storage, sorted((folder / "ct").iterdir()), folder / "rs.3.dcm"
        )
        storage.delete(StoredKind.EDITED_RTSTRUCTS, edited_id)
        add_source(uow, dataset_id, DatasetSourceKind.EDITED_RTSTRUCT, str(edited_id))

        version_id = index(dataset_id)

        last = cases_of(uow, version_id)[-1]
        assert (last.name, last.code) == (f"edited-rtstructs/{edited_id}", "stored_files_missing")
        assert version_of(uow, version_id).case_count == 4

    def test_an_edited_rtstruct_that_is_being_deleted_is_refused_with_its_files_still_there(
        self,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        mount: Path,
        dataset_id: UUID,
        index: Callable[..., UUID],
    ) -> None:
        folder = mount / "clinic" / "p3"
        edited_id = add_edited_rtstruct(
            uow, storage, sorted((folder / "ct").iterdir()), folder / "rs.3.dcm"
        )
        source_id = add_source(uow, dataset_id, DatasetSourceKind.EDITED_RTSTRUCT, str(edited_id))
        with uow:
            assert uow.edited_rtstructs.purge(edited_id)
            uow.commit()

        version_id = index(dataset_id)

        assert cases_of(uow, version_id)[-1].code == "stored_files_missing"
        assert source_id not in storage.list_stored(StoredKind.DATASET_UPLOADS, 0)

    def test_two_folders_with_the_same_names_inside_are_two(
        self,
        uow: UnitOfWork,
        clock: Clock,
        mount: Path,
        patients: Path,
        index: Callable[..., UUID],
    ) -> None:
        dataset_id = add_dataset(uow)
        for number, folder in ((1, "b"), (2, "a")):
            copied = shutil.copytree(patients / f"p{number}", mount / folder / "p")
            (copied / f"rs.{number}.dcm").rename(copied / "rs.dcm")
            add_folder(uow, dataset_id, folder)
            clock.advance(seconds=1)

        assert [case.name for case in cases_of(uow, index(dataset_id))] == [
            "b/p/rs.dcm", "a/p/rs.dcm",
        ]  # fmt: skip

    def test_a_folder_that_is_gone_fails_the_version(
        self, uow: UnitOfWork, mount: Path, dataset_id: UUID, index: Callable[..., UUID]
    ) -> None:
        shutil.rmtree(mount / "clinic")

        version = version_of(uow, index(dataset_id))

        assert (version.state, version.error_code) == (JobState.FAILED, "folder_not_found")
        assert version.error_context == {"folder": "clinic"}

    def test_a_worker_without_the_mount_fails_the_version(
        self, worker: WorkerContext, uow: UnitOfWork, dataset_id: UUID
    ) -> None:
        version_id = queue_version(uow, dataset_id)

        run_task(replace(worker, datasets_dir=None), INDEX, version_id)

        assert version_of(uow, version_id).error_code == "no_mounted_datasets"

    def test_an_upload_without_its_files_fails_the_version(
        self,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        dataset_id: UUID,
        patients: Path,
        index: Callable[..., UUID],
    ) -> None:
        source_id = add_upload(uow, storage, dataset_id, sent_from(patients / "p1"))
        storage.delete(StoredKind.DATASET_UPLOADS, source_id)

        assert version_of(uow, index(dataset_id)).error_code == "stored_files_missing"

    def test_a_damaged_file_of_an_upload_spoils_the_series_beside_it(
        self,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        patients: Path,
        tmp_path: Path,
        index: Callable[..., UUID],
    ) -> None:
        damaged = tmp_path / "damaged.dcm"
        damaged.write_bytes(b"junk" * 99)
        dataset_id = add_dataset(uow)
        files = {
            **sent_from(patients / "p1"), "p1/ct/last.dcm": damaged, **sent_from(patients / "p2"),
        }  # fmt: skip
        add_upload(uow, storage, dataset_id, files)

        cases = {case.name: case.code for case in cases_of(uow, index(dataset_id))}

        assert cases == {"p1/rs.1.dcm": "not_dicom", "p2/rs.2.dcm": None}


def sent_from(folder: Path) -> dict[str, Path]:
    """The files of a folder under the names of an archive of it."""
    paths = folder.rglob("*.dcm")
    return {path.relative_to(folder.parent).as_posix(): path for path in paths}
