import datetime as dt
import os
import time
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from services.core.audit import Action, ResourceKind
from services.core.database import utc_now
from services.core.deletion import begin_deletion
from services.core.errors import StorageUnavailableError, StoredFilesMissingError
from services.core.lifecycle import DeletionCause, JobState
from services.core.queue import TaskName
from services.core.repositories.audit import AuditFilter
from services.core.storage import RTSTRUCT_NAME, FilesystemStorage, StoredKind
from services.core.unit_of_work import UnitOfWork
from services.worker.clearing import (
    NEEDED_AMONG,
    clear_up,
    complete_deletions,
    purge_edited,
    purge_ended_versions,
    purge_results,
    purge_series,
    purge_unused_series,
    remove_orphans,
)
from services.worker.context import WorkerContext
from services.worker.housekeeping import report_worker
from tests.factories.datasets import add_dataset, add_folder, end_version, queue_version
from tests.factories.deletions import add_stored_series, ask_for_deletion
from tests.factories.model_versions import add_version
from tests.factories.planted import plant
from tests.factories.reviews import add_edit
from tests.factories.rows import job_of, make_series
from tests.factories.workers import run_contour_job
from tests.fakes import Clock, SickStorage

A_DAY = dt.timedelta(days=1)


class TestPurge:
    def test_files_of_old_jobs_go_and_rows_stay(
        self,
        worker: WorkerContext,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        job_id: UUID,
        clock: Clock,
    ) -> None:
        run_contour_job(worker, job_id)
        series_id = job_of(uow, job_id).series_id

        purge_results(uow, storage, clock())
        purge_series(uow, storage, clock())
        assert storage.file(StoredKind.RESULTS, job_id, RTSTRUCT_NAME).is_file()

        purge_series(uow, storage, clock() + A_DAY)
        assert storage.folder(StoredKind.SERIES, series_id).is_dir()  # its job still has a result

        purge_results(uow, storage, clock() + A_DAY)
        purge_series(uow, storage, clock() + A_DAY)
        assert job_of(uow, job_id).purged_at is not None
        with pytest.raises(StoredFilesMissingError):
            storage.file(StoredKind.RESULTS, job_id, RTSTRUCT_NAME)
        with pytest.raises(StoredFilesMissingError):
            storage.folder(StoredKind.SERIES, series_id)

    def test_series_that_were_never_contoured_go(
        self, uow: UnitOfWork, storage: FilesystemStorage, clock: Clock, job_id: UUID
    ) -> None:
        used = job_of(uow, job_id).series_id
        with uow, storage.staging() as folder:
            unused, _ = uow.series.get_or_create(make_series())
            (folder / "00001.dcm").write_bytes(b"CT")
            storage.publish_once(StoredKind.SERIES, folder, unused.id)
            uow.commit()

        purge_unused_series(uow, storage, clock())
        assert storage.folder(StoredKind.SERIES, unused.id).is_dir()  # too young

        purge_unused_series(uow, storage, clock() + A_DAY)
        with pytest.raises(StoredFilesMissingError):
            storage.folder(StoredKind.SERIES, unused.id)
        assert storage.folder(StoredKind.SERIES, used).is_dir()


class TestPurgeEdited:
    def test_edits_go_after_their_time_and_keep_their_job_and_series_until_then(
        self,
        worker: WorkerContext,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        job_id: UUID,
        clock: Clock,
    ) -> None:
        run_contour_job(worker, job_id)
        series_id = job_of(uow, job_id).series_id
        edited = add_edit(uow, job_id, {})
        with storage.staging() as folder:
            (folder / RTSTRUCT_NAME).write_bytes(b"edited")
            storage.publish(StoredKind.EDITED_RTSTRUCTS, folder, edited.id)

        purge_edited(uow, storage, clock())
        purge_results(uow, storage, clock() + A_DAY)
        purge_series(uow, storage, clock() + A_DAY)
        for kind, stored_id in (
            (StoredKind.EDITED_RTSTRUCTS, edited.id),
            (StoredKind.RESULTS, job_id),
            (StoredKind.SERIES, series_id),
        ):
            assert storage.folder(kind, stored_id).is_dir()

        purge_edited(uow, storage, clock() + A_DAY)
        purge_results(uow, storage, clock() + A_DAY)
        purge_series(uow, storage, clock() + A_DAY)
        for kind in (StoredKind.EDITED_RTSTRUCTS, StoredKind.RESULTS, StoredKind.SERIES):
            assert storage.list_stored(kind, 0) == []
        with uow:
            assert uow.edited_rtstructs.get(edited.id).scores is not None


class TestDeletions:
    def test_retention_leaves_records_of_the_system(
        self,
        worker: WorkerContext,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        job_id: UUID,
        clock: Clock,
    ) -> None:
        run_contour_job(worker, job_id)
        purge_results(uow, storage, clock() + A_DAY)
        purge_series(uow, storage, clock() + A_DAY)

        with uow:
            deletions = uow.deletions.page(9)
            entries = uow.audit.page(AuditFilter(), 9)
        assert {deletion.resource_kind for deletion in deletions} == {
            ResourceKind.SERIES, ResourceKind.CONTOUR_JOB,
        }  # fmt: skip
        for deletion in deletions:
            assert (deletion.cause, deletion.actor_id) == (DeletionCause.RETENTION, "system")
            assert deletion.completed_at is not None
        assert sorted(entry.action for entry in entries) == [
            Action.CONTOUR_JOB_DELETED,
            Action.DELETION_COMPLETED,
            Action.DELETION_COMPLETED,
            Action.SERIES_DELETED,
        ]

    def test_what_a_request_left_is_completed_after_a_while(
        self, uow: UnitOfWork, storage: FilesystemStorage, clock: Clock
    ) -> None:
        planted = plant(uow, storage)
        series_id = planted.ids[ResourceKind.SERIES]
        with uow:
            erased = uow.erasure.series(series_id, with_sources=True)
            deletion = begin_deletion(uow, ResourceKind.SERIES, series_id, erased)
            uow.commit()

        complete_deletions(uow, storage, clock())
        assert series_id in storage.list_stored(StoredKind.SERIES, 0)

        complete_deletions(uow, storage, clock() + A_DAY)
        assert series_id not in storage.list_stored(StoredKind.SERIES, 0)
        with uow:
            assert uow.deletions.get(deletion.id).completed_at == clock()
            assert uow.deletions.unfinished(clock() + A_DAY, 9) == []

    def test_one_that_cannot_be_removed_keeps_no_other(
        self, uow: UnitOfWork, clock: Clock, tmp_path: Path
    ) -> None:
        sick = SickStorage(tmp_path / "storage")
        series_ids = [add_stored_series(uow, sick) for _ in range(3)]
        deletions: list[UUID] = []
        for series_id in series_ids:
            deletions.append(ask_for_deletion(uow, series_id))
            clock.advance(seconds=1)
        sick.bad = {series_ids[0]}

        with pytest.raises(StorageUnavailableError):
            complete_deletions(uow, sick, clock())

        assert sick.list_stored(StoredKind.SERIES, 0) == series_ids[:1]
        with uow:
            assert uow.deletions.unfinished(clock(), 9) == deletions[:1]

        sick.bad = set()
        complete_deletions(uow, sick, clock())
        assert sick.list_stored(StoredKind.SERIES, 0) == []

    def test_workspaces_of_ended_dataset_versions_go_and_others_stay(
        self, uow: UnitOfWork, storage: FilesystemStorage, clock: Clock
    ) -> None:
        dataset_id = add_dataset(uow)
        add_folder(uow, dataset_id)
        cancelled, queued = queue_version(uow, dataset_id), queue_version(uow, dataset_id)
        with uow:
            uow.dataset_versions.request_cancel(cancelled)
            uow.commit()
        a_run = uuid4()
        for one in (cancelled, queued, a_run):
            (storage.workspace(one, 1) / "case").write_bytes(b"images")

        purge_ended_versions(uow, storage, clock())
        assert len(storage.list_stored(StoredKind.WORKSPACES, 0)) == 3

        purge_ended_versions(uow, storage, clock() + A_DAY)
        assert set(storage.list_stored(StoredKind.WORKSPACES, 0)) == {queued, a_run}


class TestRemoveOrphans:
    def test_only_old_folders_without_a_row_go(
        self,
        worker: WorkerContext,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        job_id: UUID,
        tmp_path: Path,
    ) -> None:
        run_contour_job(worker, job_id)
        known = job_of(uow, job_id).series_id
        edited = add_edit(uow, job_id, {}).id
        with storage.staging() as folder:
            storage.publish(StoredKind.EDITED_RTSTRUCTS, folder, edited)
        old, young = uuid4(), uuid4()
        for orphan in (old, young):
            for kind in NEEDED_AMONG:
                with storage.staging() as folder:
                    storage.publish(kind, folder, orphan)
        staged = tmp_path / "storage" / "incoming" / str(uuid4())
        staged.mkdir()
        a_day_ago = time.time() - A_DAY.total_seconds()
        for path in (tmp_path / "storage").rglob("*"):
            if str(young) not in str(path):
                os.utime(path, (a_day_ago, a_day_ago))

        remove_orphans(uow, storage, 3600)

        assert not staged.exists()
        assert set(storage.list_stored(StoredKind.SERIES, 0)) == {known, young}
        assert set(storage.list_stored(StoredKind.RESULTS, 0)) == {job_id, young}
        assert set(storage.list_stored(StoredKind.EDITED_RTSTRUCTS, 0)) == {edited, young}

    def test_of_datasets_what_a_row_needs_stays(
        self, uow: UnitOfWork, storage: FilesystemStorage, tmp_path: Path
    ) -> None:
        dataset_id = add_dataset(uow)
        source_id = add_folder(uow, dataset_id)
        stored, purged, cancelled, queued = (queue_version(uow, dataset_id) for _ in range(4))
        end_version(uow, stored)
        end_version(uow, purged)
        with uow:
            uow.erasure.versions([uow.dataset_versions.get_locked(purged)])
            uow.dataset_versions.request_cancel(cancelled)
            uow.commit()
        a_run = uuid4()
        everything = [source_id, stored, purged, cancelled, queued, a_run]
        kept = {
            StoredKind.DATASET_UPLOADS: {source_id},
            StoredKind.DATASETS: {stored},
            StoredKind.CROPS: {stored},
            StoredKind.WORKSPACES: {source_id, queued, a_run},
        }
        for kind in kept:
            for resource_id in everything:
                with storage.staging() as folder:
                    storage.publish(kind, folder, resource_id)
        remove_orphans(uow, storage, 3600)
        assert {len(storage.list_stored(kind, 0)) for kind in kept} == {len(everything)}
        a_day_ago = time.time() - A_DAY.total_seconds()
        for path in (tmp_path / "storage").rglob("*"):
            os.utime(path, (a_day_ago, a_day_ago))

        remove_orphans(uow, storage, 3600)

        assert {kind: set(storage.list_stored(kind, 0)) for kind in kept} == kept

    def test_folders_of_versions_and_shadows_without_a_row_go(
        self, uow: UnitOfWork, storage: FilesystemStorage, job_id: UUID
    ) -> None:
        kinds = (StoredKind.MODEL_VERSIONS, StoredKind.MODEL_UPLOADS, StoredKind.SHADOW_RESULTS)
        ready = add_version(uow, storage, "ready", seed=1)
        queued = add_version(uow, storage, "queued", seed=2, state=JobState.QUEUED)
        failed = add_version(uow, storage, "failed", seed=3, state=JobState.FAILED)
        with uow:
            shadow = uow.shadow_contours.add(job_id, ready, correlation_id="c", max_attempts=1)
            uow.leases.claim(TaskName.SHADOW_CONTOUR_RUN, shadow.id, owner="w", seconds=60)
            uow.commit()
        for kind in kinds:
            for resource_id in (ready, queued, failed, shadow.id):
                with storage.staging() as folder:
                    storage.publish(kind, folder, resource_id)

        remove_orphans(uow, storage, -1)

        left = {kind: set(storage.list_stored(kind, -1)) for kind in kinds}
        assert left[StoredKind.MODEL_VERSIONS] == {ready}
        assert left[StoredKind.MODEL_UPLOADS] == {queued}
        assert left[StoredKind.SHADOW_RESULTS] == {shadow.id}


class TestClearUp:
    def test_old_keys_and_reports_are_forgotten(
        self, worker: WorkerContext, uow: UnitOfWork, clock: Clock
    ) -> None:
        clock.advance(days=(utc_now() - clock()).days - 2)
        request = {"route": "r", "key": "k", "request_sha256": "a" * 64}
        with uow:
            uow.idempotency.remember(**request, resource_id=uuid4())
            uow.commit()
        report_worker(worker)

        clear_up(worker)

        with uow:
            assert uow.idempotency.find(**request) is None
        with uow:
            assert uow.workers.all() == []

    def test_what_cannot_be_removed_keeps_nothing_else(
        self, worker: WorkerContext, uow: UnitOfWork, tmp_path: Path, job_id: UUID
    ) -> None:
        run_contour_job(worker, job_id)
        sick = SickStorage(tmp_path / "storage")
        orphans = [uuid4(), uuid4()]
        for orphan in orphans:
            with sick.staging() as folder:
                sick.publish(StoredKind.REPORTS, folder, orphan)
        unused = add_stored_series(uow, sick)
        sick.bad = {job_id, orphans[0]}
        a_day_ago = time.time() - A_DAY.total_seconds()
        for path in (tmp_path / "storage").rglob("*"):
            os.utime(path, (a_day_ago, a_day_ago))

        with pytest.raises(StorageUnavailableError):
            clear_up(replace(worker, storage=sick))  # the test's clock stands long before today

        assert sick.list_stored(StoredKind.RESULTS, 0) == [job_id]
        assert sick.list_stored(StoredKind.REPORTS, 0) == [orphans[0]]
        assert unused not in sick.list_stored(StoredKind.SERIES, 0)
