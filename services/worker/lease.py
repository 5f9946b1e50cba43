"""Holds a job while it is worked on: a thread that extends the lease and listens for a cancel."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from sqlalchemy.exc import SQLAlchemyError

from services.core.lifecycle import JobStage
from services.core.logging import get_logger
from services.core.repositories.leases import Claim, LeaseAnswer
from services.core.unit_of_work import UnitOfWork

log = get_logger(__name__)


class LeaseLostError(Exception):
    """Another worker may have the job now: nothing of this start counts any more."""


class JobCancelledError(Exception):
    """Somebody asked for the job to stop."""


class Lease:
    """`with Lease(...) as lease:` keeps the job; the work calls report() often.

    The thread writes; the work only reads what the thread learned, so reporting costs nothing.
    """

    def __init__(
        self,
        claim: Claim,
        unit_of_work: Callable[[], UnitOfWork],
        *,
        lease_seconds: float,
        heartbeat_seconds: float,
    ) -> None:
        self._claim = claim
        self._unit_of_work = unit_of_work
        self._lease_seconds = lease_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._stage = JobStage.READING
        self._progress = 0.0
        self._answer = LeaseAnswer.HELD
        self._valid_until = time.monotonic() + lease_seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat_until_stopped, daemon=True)

    def __enter__(self) -> Self:
        """Start the heartbeat."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the heartbeat."""
        self._stopped.set()
        self._thread.join()

    def report(self, stage: JobStage, progress: float) -> None:
        """Note where the work stands.

        Raises:
            LeaseLostError: the lease ran out or another worker has the job.
            JobCancelledError: the job is to stop.
        """
        self.note(stage, progress)
        self.check()

    def note(self, stage: JobStage, progress: float) -> None:
        """Note where the work stands, for the next heartbeat to write."""
        self._stage, self._progress = stage, progress

    @property
    def is_wanted(self) -> bool:
        """Tell whether check() would return."""
        return self._answer is LeaseAnswer.HELD and time.monotonic() <= self._valid_until

    def check(self) -> None:
        """Return while the work is wanted.

        Raises:
            LeaseLostError: the lease ran out or another worker has the job.
            JobCancelledError: the job is to stop.
        """
        if self._answer is LeaseAnswer.LOST or time.monotonic() > self._valid_until:
            raise LeaseLostError
        if self._answer is LeaseAnswer.CANCEL_REQUESTED:
            raise JobCancelledError

    def _beat_until_stopped(self) -> None:
        while not self._stopped.wait(self._heartbeat_seconds):
            try:
                self._beat()
            except SQLAlchemyError as error:
                # The next beat may succeed; if none does, _valid_until ends the work.
                log.warning("heartbeat failed", reason=type(error).__name__)

    def _beat(self) -> None:
        asked_at = time.monotonic()
        with self._unit_of_work() as uow:
            answer = uow.leases.beat(
                self._claim,
                seconds=self._lease_seconds,
                stage=self._stage,
                progress=self._progress,
            )
            uow.commit()
        self._answer = answer
        if answer is not LeaseAnswer.LOST:
            self._valid_until = asked_at + self._lease_seconds
