"""Any leased row from claim to end: what every Celery task does around its own work."""

import os
from collections.abc import Callable
from uuid import UUID, uuid4

from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ml.dicom.errors import DicomError
from services.core.database import wait_for_database
from services.core.disk import storage_error
from services.core.errors import (
    DatabaseUnavailableError,
    ServiceError,
    StorageUnavailableError,
    UnavailableError,
)
from services.core.lifecycle import JobErrorCode
from services.core.logging import get_logger, log_context
from services.core.queue import TaskName
from services.core.repositories.leases import Claim
from services.core.tables.leased import Json
from services.core.unit_of_work import UnitOfWork
from services.worker.context import WorkerContext
from services.worker.lease import JobCancelledError, Lease, LeaseLostError

log = get_logger(__name__)

PASSING = (UnavailableError, OSError, OperationalError, InterfaceError, PoolTimeoutError)
"""What is the fault of a disk, a database or a network and not of the work: it is tried again."""

Work = Callable[[WorkerContext, Claim, Lease], None]
"""Does what the row asks for and ends it with finish(); errors end it otherwise."""


def run_leased(worker: WorkerContext, task: TaskName, resource_id: UUID, work: Work) -> None:
    """Bring a queued row to its end; leave at once when there is nothing to do.

    A worker whose storage cannot be written starts nothing: its message is sent again later, and
    no start is wasted on a full disk.
    """
    try:
        worker.storage.check()
    except StorageUnavailableError as error:
        log.error("nothing is started", job_id=str(resource_id), code=error.code, **error.context)  # noqa: TRY400 (the code says it)
        return
    with worker.unit_of_work() as uow:
        claim = uow.leases.claim(
            task, resource_id, owner=_owner(worker), seconds=worker.times.lease_seconds
        )
        uow.commit()
    if claim is None:
        log.info("nothing to do", job_id=str(resource_id))
        return
    with log_context(
        correlation_id=claim.correlation_id, job_id=str(resource_id), attempt=claim.attempt
    ):
        log.info("job started")
        with Lease(
            claim,
            worker.unit_of_work,
            lease_seconds=worker.times.lease_seconds,
            heartbeat_seconds=worker.times.heartbeat_seconds,
        ) as lease:
            _run(worker, claim, lease, work)


def finish(
    worker: WorkerContext,
    claim: Claim,
    outcome: Json,
    publish: Callable[[UnitOfWork], None] | None = None,
    lock: Callable[[UnitOfWork], None] | None = None,
) -> None:
    """End the row as SUCCEEDED, together with what else belongs to its success.

    Args:
        worker: the process.
        claim: of this start.
        outcome: columns of the row.
        lock: called before the row is locked: locks what others lock before it, such as the job
            of a shadow, since two that lock in opposite orders wait for each other for ever.
        publish: called while the row is locked, before the commit: nobody else can publish.

    Raises:
        LeaseLostError: another start has the row; nothing was written.
    """
    wait_for_database(worker.engine, worker.times.lease_seconds)
    with worker.unit_of_work() as uow:
        if lock is not None:
            lock(uow)
        if not uow.leases.succeed(claim, outcome):
            raise LeaseLostError
        if publish is not None:
            publish(uow)
        uow.commit()
    log.info("job succeeded")


def refuse(
    worker: WorkerContext,
    claim: Claim,
    error: ServiceError,
    also: Callable[[UnitOfWork], None] | None = None,
) -> bool:
    """End the row as FAILED, together with what else belongs to its failure.

    Args:
        worker: the process.
        claim: of this start.
        error: the reason.
        also: called while the row is locked, before the commit.

    Returns:
        Whether it ended; False if the lease was lost: nothing was written.
    """
    return _fail(
        worker,
        claim,
        code=error.code,
        detail=error.message,
        context=error.context,
        also=also,
    )


def _run(worker: WorkerContext, claim: Claim, lease: Lease, work: Work) -> None:
    try:
        work(worker, claim, lease)
    except LeaseLostError:
        log.warning("lease lost; the result is thrown away")
    except JobCancelledError:
        wait_for_database(worker.engine, worker.times.lease_seconds)
        with worker.unit_of_work() as uow:
            uow.leases.cancel(claim)
            uow.commit()
        log.info("job cancelled")
    except DicomError as error:
        context: Json = {
            "sop_instance_uids": list(error.sop_instance_uids),
            "file_names": list(error.file_names),
            **error.facts,
        }
        _fail(worker, claim, code=error.code, detail=error.message, context=context)
    except PASSING as error:
        log.exception("job interrupted")
        _give_back(worker, claim, _as_service_error(error))
    except ServiceError as error:
        refuse(worker, claim, error)
    except SoftTimeLimitExceeded:
        _fail(worker, claim, code=JobErrorCode.TIME_LIMIT, detail="the job took too long")
    except Exception as error:
        log.exception("job broke")
        detail = f"an unexpected {type(error).__name__}; the log tells more"
        _fail(worker, claim, code=JobErrorCode.INTERNAL_ERROR, detail=detail)


def _give_back(worker: WorkerContext, claim: Claim, error: ServiceError) -> None:
    """Have the row started again after a pause, or end it where no start is left."""
    wait_for_database(worker.engine, worker.times.lease_seconds)
    with worker.unit_of_work() as uow:
        is_queued = uow.leases.give_back(claim)
        uow.commit()
    if is_queued:
        log.warning("job given back", code=error.code, **error.context)
    else:
        refuse(worker, claim, error)


def _as_service_error(error: Exception) -> ServiceError:
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, OSError):
        return storage_error(error)
    return DatabaseUnavailableError("the database does not answer", reason=type(error).__name__)


def _fail(
    worker: WorkerContext,
    claim: Claim,
    *,
    code: str,
    detail: str,
    context: Json | None = None,
    also: Callable[[UnitOfWork], None] | None = None,
) -> bool:
    wait_for_database(worker.engine, worker.times.lease_seconds)
    with worker.unit_of_work() as uow:
        counted = uow.leases.fail(claim, code=str(code), detail=detail, context=context or {})
        if counted and also is not None:
            also(uow)
        uow.commit()
    log.warning("job failed", code=str(code), counted=counted)
    return counted


def _owner(worker: WorkerContext) -> str:
    return f"{worker.name}:{os.getpid()}:{uuid4().hex[:8]}"
