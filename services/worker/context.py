"""What a worker process works with; built in the child, after the fork."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from services.core.queue import QueueName
from services.core.storage import Storage
from services.core.unit_of_work import UnitOfWork
from services.worker.network_cache import NetworkCache


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerTimes:
    """Rhythms of a worker; the fields of the same names in the settings explain them."""

    lease_seconds: float
    heartbeat_seconds: float
    sweep_seconds: float
    resend_seconds: float
    retention_seconds: float
    result_retention_days: float
    edited_retention_days: float
    unused_series_retention_days: float
    idempotency_retention_hours: float
    stale_upload_hours: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class WorkerContext:
    """One child process of one worker."""

    name: str
    """Celery's node name, such as inference@host."""
    queues: frozenset[QueueName]
    """What the worker listens to."""
    engine: sa.Engine
    storage: Storage
    networks: NetworkCache
    times: WorkerTimes
    software_version: str
    datasets_dir: Path | None
    """Where registered folders of cases are mounted."""
    max_attempts: int
    """Starts of a row that a worker adds, before it fails."""
    unit_of_work: Callable[[], UnitOfWork]
    """Makes one for every caller and thread."""
    alive_file: Path | None = None
    """Touched every pass of housekeeping, where health checks look at it."""
