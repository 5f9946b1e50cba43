from services.core.queue import QueueName
from services.core.tables.operations import WorkerHeartbeat
from services.core.unit_of_work import UnitOfWork
from tests.fakes import Clock


def heartbeat(name: str, queue: QueueName, *, loaded: bool = False) -> WorkerHeartbeat:
    return WorkerHeartbeat(
        name=name, queue=queue, device="cpu", software_version="0.1.0", weights_loaded=loaded
    )


class TestWorkers:
    def test_a_worker_is_listed_while_it_reports(self, uow: UnitOfWork, clock: Clock) -> None:
        with uow:
            uow.workers.report(heartbeat("inference@a", QueueName.INFERENCE))
            uow.workers.report(heartbeat("training@a", QueueName.TRAINING))
            clock.advance(seconds=20)
            uow.workers.report(heartbeat("inference@a", QueueName.INFERENCE, loaded=True))
            clock.advance(seconds=20)
            uow.commit()

        with uow:
            (seen,) = uow.workers.seen_within(30)
            assert seen.name == "inference@a"
            assert seen.weights_loaded
            assert uow.workers.seen_within(30, QueueName.TRAINING) == []
            assert [w.name for w in uow.workers.seen_within(60)] == ["inference@a", "training@a"]

    def test_a_worker_seen_before_the_clock_was_set_back_is_not_present(
        self, uow: UnitOfWork, clock: Clock
    ) -> None:
        with uow:
            uow.workers.report(heartbeat("inference@a", QueueName.INFERENCE))
            clock.advance(hours=-3)
            assert uow.workers.seen_within(30) == []

    def test_a_worker_that_signs_off_is_gone(self, uow: UnitOfWork) -> None:
        with uow:
            uow.workers.report(heartbeat("inference@a", QueueName.INFERENCE))
            uow.workers.sign_off("inference@a")
            assert uow.workers.seen_within(60) == []

    def test_silent_workers_are_forgotten(self, uow: UnitOfWork, clock: Clock) -> None:
        with uow:
            uow.workers.report(heartbeat("inference@a", QueueName.INFERENCE))
            clock.advance(days=2)
            uow.workers.forget(clock())
            clock.advance(days=-2)
            assert uow.workers.seen_within(60) == []
