"""What every worker does beside its jobs: report itself, take over, send again, clear up.

Runs in threads of the child process, because only the child knows whether its network is
loaded, and because a parent that forks should have no threads. Removing files has a thread of its
own: a slow disk must not make a worker look dead, nor hold up what others wait for. Every step is
safe to repeat and to run in several workers at once.
"""

import datetime as dt
import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from services.core.database import utc_now
from services.core.errors import ServiceError
from services.core.lifecycle import AliasName
from services.core.logging import get_logger
from services.core.queue import TaskName
from services.core.tables.operations import WorkerHeartbeat
from services.core.tables.tallies import TallyKind
from services.core.unit_of_work import UnitOfWork
from services.worker.clearing import clear_up, complete_deletions, take_each
from services.worker.context import WorkerContext
from services.worker.experiments import conclude_experiments
from services.worker.monitoring import count, fold_tallies, gpu_memory

log = get_logger(__name__)

COMPLETION_SECONDS = 30
"""A request removes its files itself within this time; then workers go on with it."""


class Housekeeper:
    """Keeps house every few seconds until stopped."""

    def __init__(self, worker: WorkerContext) -> None:
        self._worker = worker
        self._stopped = threading.Event()
        self._reporting = self._thread("housekeeping", self._keep_house)
        self._clearing = self._thread("clearing", self._clear)
        self._cleared_at = -float("inf")
        self._last_clearing: dt.datetime | None = None
        self._are_completed = False  # the deletions, as the latest pass left them

    def start(self) -> None:
        """Begin, and report the worker at once."""
        self._reporting.start()
        self._clearing.start()

    def stop(self) -> None:
        """End, and take the worker off the list of those present; what is being removed goes."""
        self._stopped.set()
        self._reporting.join()
        with self._worker.unit_of_work() as uow:
            uow.workers.sign_off(self._worker.name)
            uow.commit()
        self._clearing.join()

    def _thread(self, name: str, step: Callable[[], None]) -> threading.Thread:
        return threading.Thread(target=self._run, args=(step,), name=name, daemon=True)

    def _run(self, step: Callable[[], None]) -> None:
        while True:
            try:
                step()
            except (SQLAlchemyError, ServiceError, OSError) as error:
                # Outermost frame of the thread: the next pass tries again.
                log.warning("housekeeping failed", reason=type(error).__name__)
            if self._stopped.wait(self._worker.times.sweep_seconds):
                return

    def _keep_house(self) -> None:
        worker = self._worker
        if worker.alive_file is not None:
            # First: a database that is away is no reason to call the worker dead.
            worker.alive_file.touch()
        report_worker(worker, cleared_at=self._last_clearing)
        fold_tallies(worker.unit_of_work())
        take_over_lost_jobs(worker.unit_of_work(), lease_seconds=worker.times.lease_seconds)
        conclude_experiments(worker)
        send_again(worker.unit_of_work(), resend_seconds=worker.times.resend_seconds)

    def _clear(self) -> None:
        take_each([self._complete_deletions, self._clear_up])

    def _complete_deletions(self) -> None:
        worker = self._worker
        asked_before = utc_now() - dt.timedelta(seconds=COMPLETION_SECONDS)
        self._are_completed = False
        complete_deletions(worker.unit_of_work(), worker.storage, asked_before)
        self._are_completed = True

    def _clear_up(self) -> None:
        if time.monotonic() - self._cleared_at < self._worker.times.retention_seconds:
            return
        self._cleared_at = time.monotonic()
        clear_up(self._worker)
        if self._are_completed:  # not where something could not be removed
            self._last_clearing = utc_now()


def report_worker(worker: WorkerContext, *, cleared_at: dt.datetime | None = None) -> None:
    """Note in the database that this worker is there and which network it contours with.

    After a change of production the network before it is shown until a job has loaded the next.
    """
    memory = gpu_memory(worker.networks.options.device)
    with worker.unit_of_work() as uow:
        production = uow.model_aliases.get(AliasName.PRODUCTION).model_version_id
        shadow = uow.model_aliases.get(AliasName.SHADOW).model_version_id
        loaded = worker.networks.loaded
        others = [network for key, network in loaded.items() if key != shadow]
        network = loaded.get(production) or next(reversed(others), None)
        uow.workers.report(
            WorkerHeartbeat(
                name=worker.name,
                queue=min(worker.queues),  # a worker serves one queue: compose and supervisor
                device=worker.networks.options.device,
                software_version=worker.software_version,
                weights_loaded=network is not None,
                model_version=network.model_version if network else None,
                weights_sha256=network.weights_sha256 if network else None,
                cleared_at=cleared_at,
                gpu_memory_used_bytes=memory[0] if memory else None,
                gpu_memory_total_bytes=memory[1] if memory else None,
            )
        )
        uow.commit()


def take_over_lost_jobs(uow: UnitOfWork, *, lease_seconds: float) -> None:
    """Queue the jobs of silent workers again, or end those that have no attempt left."""
    for task in TaskName:
        with uow:
            reaped = uow.leases.reap(task, longest_seconds=lease_seconds)
            for outcome in ("requeued", "failed", "cancelled"):
                lost = {task.value: len(getattr(reaped, outcome))}
                count(uow, TallyKind.TAKEN_OVER, lost, outcome)
            uow.commit()
        for outcome, job_ids in (
            ("queued again", reaped.requeued),
            ("failed", reaped.failed),
            ("cancelled", reaped.cancelled),
        ):
            for job_id in job_ids:
                log.warning("worker lost", task=task, job_id=str(job_id), outcome=outcome)


def send_again(uow: UnitOfWork, *, resend_seconds: float) -> None:
    """Send the messages of queued jobs that were never sent or may have been lost."""
    for task in TaskName:
        with uow:
            due = uow.leases.due_for_sending(task, resend_seconds=resend_seconds)
            for job_id in due:
                uow.enqueue(task, job_id)
            count(uow, TallyKind.SENT_AGAIN, {task.value: len(due)})
            uow.commit()
        if due:
            log.info("messages sent again", task=task, count=len(due))
