"""Asks every dependency whether it works; no answer within seconds counts as no."""

from collections.abc import Callable
from dataclasses import dataclass, field

from anyio import create_task_group, fail_after, to_thread
from sqlalchemy.exc import SQLAlchemyError

from services.api.dependencies import Dependencies
from services.core.errors import ServiceError
from services.core.queue import QueueName
from services.core.tables.operations import WorkerHeartbeat

CHECK_TIMEOUT_SECONDS = 4.0
"""Longer than a frozen broker takes to be noticed (3 s), shorter than a probe waits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One dependency's answer."""

    is_ok: bool
    detail: str


@dataclass(kw_only=True, slots=True)
class Readiness:
    """What is known so far."""

    checks: dict[str, Check] = field(default_factory=dict[str, Check])
    workers: list[WorkerHeartbeat] = field(default_factory=list[WorkerHeartbeat])

    @property
    def is_ready(self) -> bool:
        """Tell whether a job posted now would be contoured."""
        return all(check.is_ok for check in self.checks.values())


async def find_readiness(dependencies: Dependencies) -> Readiness:
    """Run every check at the same time."""
    readiness = Readiness()

    def look_for_workers() -> None:
        with dependencies.new_unit_of_work() as uow:
            readiness.workers = uow.workers.seen_within(dependencies.worker_silent_seconds)

    async def run(name: str, check: Callable[[], None]) -> None:
        readiness.checks[name] = await _answer(check)

    async with create_task_group() as group:
        group.start_soon(run, "database", look_for_workers)
        group.start_soon(run, "broker", dependencies.queue.check)
        group.start_soon(run, "storage", dependencies.storage.check)
    _judge_workers(readiness)
    return readiness


async def _answer(check: Callable[[], None]) -> Check:
    try:
        with fail_after(CHECK_TIMEOUT_SECONDS):
            await to_thread.run_sync(check, abandon_on_cancel=True)
    except TimeoutError:
        return Check(is_ok=False, detail=f"no answer within {CHECK_TIMEOUT_SECONDS:g} s")
    except ServiceError as error:
        return Check(is_ok=False, detail=error.message)
    except SQLAlchemyError as error:
        return Check(is_ok=False, detail=f"failed ({type(error).__name__})")
    return Check(is_ok=True, detail="answers")


def _judge_workers(readiness: Readiness) -> None:
    inference = [worker for worker in readiness.workers if worker.queue is QueueName.INFERENCE]
    loaded = [worker for worker in inference if worker.weights_loaded]
    readiness.checks["inference_worker"] = Check(
        is_ok=bool(inference), detail=f"{len(inference)} reported lately"
    )
    readiness.checks["weights"] = Check(
        is_ok=bool(loaded), detail=f"loaded by {len(loaded)} of {len(inference)} inference workers"
    )
