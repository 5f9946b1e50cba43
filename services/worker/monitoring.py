"""What a worker does for monitoring: GPU memory, tallies, and the sizes of what is stored."""

import sys
import threading
import time
from collections.abc import Mapping

from sqlalchemy.exc import SQLAlchemyError

from services.core.logging import get_logger
from services.core.repositories.tallies import FOLD_BATCH, Amount, TallyKey
from services.core.storage import StoredKind
from services.core.storage_facts import StorageFacts
from services.core.tables.tallies import TallyKind
from services.core.unit_of_work import UnitOfWork
from services.worker.context import WorkerContext

log = get_logger(__name__)

MEASURE_PERIOD_SECONDS = 3600.0
"""Between two looks through all stored files: a million of them cost a minute of disk."""

FOLDER_PAUSE_SECONDS = 0.002
"""Between two folders, so that a look through them leaves the disk to jobs."""

RETRY_SECONDS = 60.0
"""After a look that failed."""


def gpu_memory(device: str) -> tuple[int, int] | None:
    """Return used and total bytes of the worker's GPU, whoever holds them.

    None without one, and before the first work on it: asking would claim half a gigabyte.
    """
    torch = sys.modules.get("torch")  # never imported for this: see worker.tasks
    if device != "cuda" or torch is None or not torch.cuda.is_initialized():
        return None
    free, total = torch.cuda.mem_get_info()
    return total - free, total


def fold_tallies(uow: UnitOfWork) -> None:
    """Bring the ends of work into the tallies, batch by batch."""
    folded = FOLD_BATCH
    while folded == FOLD_BATCH:
        with uow:
            folded = uow.tallies.fold()
            uow.commit()


def count(
    uow: UnitOfWork, kind: TallyKind, by_subject: Mapping[str, int], detail: str = ""
) -> None:
    """Raise the tallies of one kind, in the transaction at hand."""
    uow.tallies.add(
        {
            TallyKey(kind, subject, detail): Amount(count=number)
            for subject, number in by_subject.items()
            if number
        }
    )


class StorageMeter:
    """Adds up what is stored, in a thread of its own: the worker's report must not wait for it."""

    def __init__(self, worker: WorkerContext, facts: StorageFacts) -> None:
        self._worker = worker
        self._facts = facts
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="storage-meter", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, in the middle of a look if need be."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        pause = 0.0
        while not self._stopped.wait(pause):
            try:
                self.measure()
                pause = MEASURE_PERIOD_SECONDS
            except (SQLAlchemyError, OSError) as error:
                # Outermost frame of the thread: the next look tries again.
                log.warning("storage unmeasured", reason=type(error).__name__)
                pause = RETRY_SECONDS

    def measure(self) -> None:
        """Note the bytes of every kind."""
        for kind in StoredKind:
            byte_count = self._facts.measure(kind.value, self._goes_on)
            if byte_count is None:
                return
            with self._worker.unit_of_work() as uow:
                uow.tallies.note_stored_bytes(kind.value, byte_count)
                uow.commit()

    def _goes_on(self) -> bool:
        time.sleep(FOLDER_PAUSE_SECONDS)
        return not self._stopped.is_set()
