"""Asks every dependency whether it works."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from services.api.probes import Check, Probe, ask_all
from services.core.queue import QueueName
from services.core.tables.operations import WorkerHeartbeat


@dataclass(frozen=True, kw_only=True, slots=True)
class Readiness:
    """What works and what does not."""

    checks: dict[str, Check]
    workers: list[WorkerHeartbeat]

    @property
    def is_ready(self) -> bool:
        """Tell whether a job posted now would be contoured."""
        return all(check.is_ok for check in self.checks.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """Knows of every dependency how it was some seconds ago at most."""

    workers: Probe[list[WorkerHeartbeat]]
    """Looks into the database for workers that reported themselves lately."""
    components: Mapping[str, Probe[None]]
    """Everything else, by name."""

    async def find_readiness(self) -> Readiness:
        """Run every check whose answer is not fresh, at the same time."""
        database, others = await asyncio.gather(self.workers.ask(), ask_all(self.components))
        workers = database.seen or []
        checks = {"database": database.check} | others | _judge(workers)
        return Readiness(checks=checks, workers=workers)


def _judge(workers: list[WorkerHeartbeat]) -> dict[str, Check]:
    inference = [worker for worker in workers if worker.queue is QueueName.INFERENCE]
    loaded = [worker for worker in inference if worker.weights_loaded]
    return {
        "inference_worker": Check(
            is_ok=bool(inference), detail=f"{len(inference)} reported lately"
        ),
        "weights": Check(
            is_ok=bool(loaded),
            detail=f"loaded by {len(loaded)} of {len(inference)} inference workers",
        ),
    }
