"""What workers report for monitoring."""

import dataclasses
import datetime as dt
import sys
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
from sqlalchemy.exc import OperationalError

from services.core.lifecycle import JobState
from services.core.queue import TaskName
from services.core.repositories.tallies import FOLD_BATCH, Amount, TallyKey, ended_work
from services.core.storage import FilesystemStorage, StoredKind
from services.core.storage_facts import StorageFacts
from services.core.tables.operations import WorkerHeartbeat
from services.core.tables.tallies import TallyKind
from services.core.unit_of_work import UnitOfWork
from services.worker.clearing import remove_orphans
from services.worker.context import WorkerContext
from services.worker.housekeeping import Housekeeper, report_worker
from services.worker.monitoring import StorageMeter, fold_tallies, gpu_memory
from tests.factories.rows import add_job
from tests.factories.workers import run_contour_job
from tests.fakes import Clock
from tests.waiting import wait_until


def tallies(uow: UnitOfWork) -> dict[TallyKey, Amount]:
    with uow:
        return uow.tallies.all()


def fake_torch(*, is_used: bool) -> SimpleNamespace:
    cuda = SimpleNamespace(is_initialized=lambda: is_used, mem_get_info=lambda: (10, 30))
    return SimpleNamespace(cuda=cuda)


class TestGpuMemory:
    @pytest.mark.parametrize(
        ("device", "is_used", "found"),
        [("cuda", True, (20, 30)), ("cuda", False, None), ("cpu", True, None)],
    )
    def test_it_is_asked_only_where_a_gpu_is_in_use(
        self,
        monkeypatch: pytest.MonkeyPatch,
        device: str,
        is_used: bool,
        found: tuple[int, int] | None,
    ) -> None:
        monkeypatch.setitem(sys.modules, "torch", fake_torch(is_used=is_used))
        assert gpu_memory(device) == found

    def test_a_worker_without_a_gpu_reports_none(
        self, worker: WorkerContext, uow: UnitOfWork, clock: Clock
    ) -> None:
        report_worker(worker, cleared_at=clock() - dt.timedelta(minutes=1))

        with uow:
            (found,) = uow.workers.all()
        assert (found.gpu_memory_used_bytes, found.gpu_memory_total_bytes) == (None, None)
        assert found.cleared_at == clock() - dt.timedelta(minutes=1)


class TestTallies:
    def test_a_job_leaves_its_end_and_its_stages(
        self, worker: WorkerContext, uow: UnitOfWork, job_id: UUID
    ) -> None:
        run_contour_job(worker, job_id)
        fold_tallies(uow)

        found = tallies(uow)
        assert found[TallyKey(TallyKind.ENDED, TaskName.CONTOUR_JOB_RUN, "succeeded")].count == 1
        stages = {key.detail for key in found if key.kind is TallyKind.SECONDS}
        assert stages == {"waiting", "reading", "contouring", "writing", "checking", "total"}

    def test_a_long_backlog_of_ends_is_folded_whole(self, uow: UnitOfWork) -> None:
        number = FOLD_BATCH + 1
        with uow:
            for _ in range(number):
                uow.leases._session.add(ended_work(TaskName.RUN_TRAIN, JobState.CANCELLED))
            uow.commit()

        fold_tallies(uow)

        assert tallies(uow)[TallyKey(TallyKind.ENDED, "run.train", "cancelled")].count == number

    def test_orphans_are_counted_by_kind(self, uow: UnitOfWork, storage: FilesystemStorage) -> None:
        for _ in range(2):
            with storage.staging() as folder:
                storage.publish(StoredKind.RESULTS, folder, uuid4())

        remove_orphans(uow, storage, 0)

        assert tallies(uow)[TallyKey(TallyKind.ORPHANS, "results")] == Amount(2)

    def test_the_housekeeper_folds_and_says_when_it_cleared_up(
        self, worker: WorkerContext, uow: UnitOfWork
    ) -> None:
        job = add_job(uow)
        with uow:
            uow.leases.request_cancel(TaskName.CONTOUR_JOB_RUN, job.id)
            uow.commit()

        def reported() -> list[WorkerHeartbeat]:
            with uow:
                return [row for row in uow.workers.all() if row.cleared_at is not None]

        housekeeper = Housekeeper(worker)
        housekeeper.start()
        try:
            wait_until(reported)
            wait_until(lambda: tallies(uow))
        finally:
            housekeeper.stop()


class TestAliveFile:
    def test_it_is_touched_also_while_the_database_is_away(
        self, worker: WorkerContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise OperationalError("SELECT", {}, Exception())

        monkeypatch.setattr("services.worker.housekeeping.report_worker", fail)
        path = tmp_path / "alive"
        housekeeper = Housekeeper(dataclasses.replace(worker, alive_file=path))
        housekeeper.start()
        try:
            wait_until(path.exists)
            path.unlink()
            wait_until(path.exists)
        finally:
            housekeeper.stop()


class TestStorageMeter:
    def test_every_kind_is_added_up(
        self, worker: WorkerContext, uow: UnitOfWork, storage: FilesystemStorage, job_id: UUID
    ) -> None:
        meter = StorageMeter(worker, StorageFacts(storage._root))
        meter.start()
        try:
            wait_until(lambda: len(_stored(uow)) == len(StoredKind))
        finally:
            meter.stop()

        found = _stored(uow)
        assert found["series"] > 0
        assert found["results"] == 0


def _stored(uow: UnitOfWork) -> dict[str, int]:
    with uow:
        return uow.tallies.stored_bytes()
