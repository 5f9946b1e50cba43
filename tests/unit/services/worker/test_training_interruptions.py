"""What stops a run loses no finished epoch, and nothing of it is left for ever."""

import dataclasses
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.core.lifecycle import JobState
from services.core.queue import TaskName
from services.core.repositories.leases import Claim
from services.core.storage import FilesystemStorage, StoredKind
from services.core.unit_of_work import UnitOfWork
from services.worker.clearing import purge_workspaces, remove_orphans
from services.worker.context import WorkerContext
from services.worker.run_reporter import RunReporter
from tests.factories.experiments import add_run, epochs_of, run_of, tiny_config
from tests.factories.workers import TIMES, train


class DiesAt:
    """Kills the work of a process, as far as one process can: nothing after the moment happens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, epoch: int, batch: int) -> None:
        original = RunReporter.batch_finished

        def batch_finished(reporter: RunReporter, done: int, total: int, loss: float) -> None:
            original(reporter, done, total, loss)
            if (reporter._finished + 1, done) == (epoch, batch):
                raise KeyboardInterrupt  # no handler of the work catches it

        self._patch = monkeypatch
        monkeypatch.setattr(RunReporter, "batch_finished", batch_finished)

    def lives_on(self) -> None:
        self._patch.undo()


class TestInterruption:
    def test_a_killed_run_goes_on_and_ends_bit_by_bit_like_an_undisturbed_one(
        self,
        trainer: WorkerContext,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        version_id: UUID,
        clock: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        calm = add_run(uow, version_id, tiny_config(epochs=3))
        train(trainer, calm.id)
        hit = add_run(uow, version_id, tiny_config(epochs=3))
        death = DiesAt(monkeypatch, epoch=2, batch=1)
        with pytest.raises(KeyboardInterrupt):
            train(trainer, hit.id)
        death.lives_on()
        assert run_of(uow, hit.id).epochs == 1
        clock.advance(seconds=TIMES.lease_seconds + 1)
        with uow:
            assert uow.leases.reap(TaskName.RUN_TRAIN).requeued == (hit.id,)
            uow.commit()

        train(trainer, hit.id)

        found, expected = run_of(uow, hit.id), run_of(uow, calm.id)
        assert (found.state, found.attempt) == (JobState.SUCCEEDED, 2)
        assert found.weights_sha256 == expected.weights_sha256
        assert found.validation_dice == expected.validation_dice
        assert epochs_of(uow, hit.id) == epochs_of(uow, calm.id)
        assert len(epochs_of(uow, hit.id)) == 3

    def test_a_worker_frozen_past_its_lease_writes_nothing_into_the_run(
        self,
        trainer: WorkerContext,
        uow: UnitOfWork,
        version_id: UUID,
        clock: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # a frozen process does not beat
        times = dataclasses.replace(trainer.times, heartbeat_seconds=1000)
        trainer = dataclasses.replace(trainer, times=times)
        run = add_run(uow, version_id, tiny_config(epochs=2))
        original = RunReporter.epoch_finished
        taken_over: list[Claim] = []

        def epoch_finished(reporter: RunReporter, report: Any) -> None:
            if not taken_over:
                clock.advance(seconds=10**6)
                with uow:
                    uow.leases.reap(TaskName.RUN_TRAIN)
                    claim = uow.leases.claim(
                        TaskName.RUN_TRAIN, run.id, owner="other", seconds=10**6
                    )
                    assert claim is not None
                    taken_over.append(claim)
                    uow.commit()
            original(reporter, report)

        monkeypatch.setattr(RunReporter, "epoch_finished", epoch_finished)

        train(trainer, run.id)

        assert epochs_of(uow, run.id) == []
        found = run_of(uow, run.id)
        assert (found.state, found.fencing_token) == (JobState.RUNNING, 2)
        assert found.lease_owner == "other"

    def test_a_cancel_ends_an_epoch_after_the_batch_and_keeps_the_last_one(
        self,
        trainer: WorkerContext,
        uow: UnitOfWork,
        version_id: UUID,
        unit_of_work: Callable[[], UnitOfWork],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # the test beats itself; a second heart would learn of the cancel when it likes
        trainer = dataclasses.replace(
            trainer, times=dataclasses.replace(trainer.times, heartbeat_seconds=3600)
        )
        run = add_run(uow, version_id, tiny_config(epochs=3, slices_per_epoch=64))
        original = RunReporter.batch_finished
        batches: list[int] = []

        def batch_finished(reporter: RunReporter, done: int, total: int, loss: float) -> None:
            original(reporter, done, total, loss)
            if reporter._finished == 1:
                batches.append(done)
                with unit_of_work() as other:
                    other.leases.request_cancel(TaskName.RUN_TRAIN, run.id)
                    other.commit()
                reporter._lease._beat()  # what the heartbeat does within its second

        monkeypatch.setattr(RunReporter, "batch_finished", batch_finished)

        train(trainer, run.id)

        assert batches == [1]
        assert run_of(uow, run.id).state is JobState.CANCELLED
        assert len(epochs_of(uow, run.id)) == 1

        monkeypatch.undo()
        with uow:
            uow.runs.requeue(run.id, from_the_start=False, max_attempts=3)
            uow.commit()
        train(trainer, run.id)
        assert run_of(uow, run.id).state is JobState.SUCCEEDED
        assert len(epochs_of(uow, run.id)) == 3

    def test_a_retried_run_begins_with_its_first_epoch(
        self,
        trainer: WorkerContext,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        version_id: UUID,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        run = add_run(uow, version_id, tiny_config(epochs=2))
        death = DiesAt(monkeypatch, epoch=2, batch=1)
        with pytest.raises(KeyboardInterrupt):
            train(trainer, run.id)
        death.lives_on()
        with uow:
            uow.leases.request_cancel(TaskName.RUN_TRAIN, run.id)
            row = uow.runs.get(run.id)
            row.state = JobState.CANCELLED
            uow.commit()
            uow.runs.requeue(run.id, from_the_start=True, max_attempts=3)
            uow.commit()
        reported: list[int] = []
        original = RunReporter.epoch_finished

        def epoch_finished(reporter: RunReporter, report: Any) -> None:
            reported.append(report.epoch)
            original(reporter, report)

        monkeypatch.setattr(RunReporter, "epoch_finished", epoch_finished)

        train(trainer, run.id)

        assert reported == [1, 2]

    def test_epochs_give_a_run_its_starts_back(
        self, trainer: WorkerContext, uow: UnitOfWork, version_id: UUID
    ) -> None:
        run = add_run(uow, version_id, tiny_config(), max_attempts=1)

        train(trainer, run.id)

        assert run_of(uow, run.id).max_attempts == 3


class TestClearingUp:
    def test_what_an_old_failed_run_could_go_on_from_is_removed(
        self,
        trainer: WorkerContext,
        uow: UnitOfWork,
        version_id: UUID,
        storage: FilesystemStorage,
        clock: Any,
    ) -> None:
        failed, running = (add_run(uow, version_id, tiny_config()) for _ in range(2))
        for run in (failed, running):
            with uow:
                claim = uow.leases.claim(TaskName.RUN_TRAIN, run.id, owner="w", seconds=10**8)
                assert claim is not None
                if run is failed:
                    uow.leases.fail(claim, code="x", detail="x", context={})
                uow.commit()
            storage.workspace(run.id, 1)

        purge_workspaces(uow, storage, clock())
        assert set(storage.list_stored(StoredKind.WORKSPACES, 0)) == {failed.id, running.id}
        clock.advance(days=1)
        purge_workspaces(uow, storage, clock())

        assert storage.list_stored(StoredKind.WORKSPACES, 0) == [running.id]

    def test_files_of_runs_and_reports_nobody_knows_are_removed(
        self,
        trainer: WorkerContext,
        uow: UnitOfWork,
        version_id: UUID,
        storage: FilesystemStorage,
    ) -> None:
        run = add_run(uow, version_id, tiny_config(epochs=1))
        train(trainer, run.id)
        storage.workspace(run.id, 1)  # left by a worker that died right after its commit
        waiting = add_run(uow, version_id, tiny_config())
        storage.workspace(waiting.id, 1)
        for kind in (StoredKind.RUNS, StoredKind.REPORTS):
            with storage.staging() as folder:
                storage.publish(kind, folder, uuid4())

        remove_orphans(uow, storage, 0)

        assert storage.list_stored(StoredKind.RUNS, 0) == [run.id]
        assert storage.list_stored(StoredKind.REPORTS, 0) == []
        assert storage.list_stored(StoredKind.WORKSPACES, 0) == [waiting.id]
