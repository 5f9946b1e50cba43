"""Any leased row from claim to end: what every Celery task does around its own work."""

import os
from collections.abc import Callable
from uuid import UUID, uuid4

from celery.exceptions import SoftTimeLimitExceeded

from ml.dicom.errors import DicomError
from services.core.database import wait_for_database
from services.core.errors import ServiceError
from services.core.lifecycle import JobErrorCode
from services.core.logging import get_logger, log_context
from services.core.queue import TaskName
from services.core.repositories.leases import Claim
from services.core.tables.leased import Json
from services.core.unit_of_work import UnitOfWork
from services.worker.context import WorkerContext
from services.worker.lease import JobCancelledError, Lease, LeaseLostError

log = get_logger(__name__)

Work = Callable[[WorkerContext, Claim, Lease], None]
"""Does what the row asks for and ends it with finish(); errors end it otherwise."""


def run_leased(worker: WorkerContext, task: TaskName, resource_id: UUID, work: Work) -> None:
    """Bring a queued row to its end; leave at once when there is nothing to do."""
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
) -> None:
    """End the row as SUCCEEDED, together with what else belongs to its success.

    Args:
        worker: the process.
        claim: of this start.
        outcome: columns of the row.
        publish: called while the row is locked, before the commit: nobody else can publish.

    Raises:
        LeaseLostError: another start has the row; nothing was written.
    """
    wait_for_database(worker.engine, worker.times.lease_seconds)
    with worker.unit_of_work() as uow:
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
    except ServiceError as error:
        refuse(worker, claim, error)
    except SoftTimeLimitExceeded:
        _fail(worker, claim, code=JobErrorCode.TIME_LIMIT, detail="the job took too long")
    except Exception as error:
        log.exception("job broke")
        detail = f"an unexpected {type(error).__name__}; the log tells more"
        _fail(worker, claim, code=JobErrorCode.INTERNAL_ERROR, detail=detail)


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
