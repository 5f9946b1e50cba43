"""One contouring job from claim to end: the plain function behind the Celery task."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

from celery.exceptions import SoftTimeLimitExceeded

from ml.dicom.errors import DicomError
from ml.dicom.rtstruct import Provenance, write_rtstruct
from ml.dicom.rtstruct_check import check_rtstruct
from ml.dicom.series import SeriesIndex, index_series, list_source_files, read_volume
from services.core.database import utc_now, wait_for_database
from services.core.errors import ServiceError
from services.core.lifecycle import JobErrorCode, JobStage
from services.core.logging import get_logger, log_context
from services.core.repositories.leases import Claim
from services.core.storage import RTSTRUCT_NAME
from services.core.tables import Json
from services.worker.context import WorkerContext
from services.worker.lease import JobCancelledError, Lease, LeaseLostError
from services.worker.networks import LoadedNetwork, Prediction

log = get_logger(__name__)

PROGRESS_AT_START = {
    JobStage.READING: 0.0,
    JobStage.CONTOURING: 0.1,
    JobStage.WRITING: 0.85,
    JobStage.CHECKING: 0.95,
}
"""Rough shares of a job on a CPU; the last stage ends at 1."""


def run_contour_job(worker: WorkerContext, job_id: UUID) -> None:
    """Bring a queued job to its end; leave at once when there is nothing to do."""
    with worker.unit_of_work() as uow:
        claim = uow.leases.claim(job_id, owner=_owner(worker), seconds=worker.times.lease_seconds)
        uow.commit()
    if claim is None:
        log.info("nothing to do", job_id=str(job_id))
        return
    with log_context(
        correlation_id=claim.correlation_id, job_id=str(job_id), attempt=claim.attempt
    ):
        log.info("job started")
        with Lease(
            claim,
            worker.unit_of_work,
            lease_seconds=worker.times.lease_seconds,
            heartbeat_seconds=worker.times.heartbeat_seconds,
        ) as lease:
            _run(worker, claim, lease)


def _run(worker: WorkerContext, claim: Claim, lease: Lease) -> None:
    try:
        _contour(worker, claim, lease)
    except LeaseLostError:
        log.warning("lease lost; the result is thrown away")
    except JobCancelledError:
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
        _fail(worker, claim, code=error.code, detail=error.message, context=error.context)
    except SoftTimeLimitExceeded:
        _fail(worker, claim, code=JobErrorCode.TIME_LIMIT, detail="the job took too long")
    except Exception as error:
        log.exception("job broke")
        detail = f"an unexpected {type(error).__name__}; the log tells more"
        _fail(worker, claim, code=JobErrorCode.INTERNAL_ERROR, detail=detail)


def _contour(worker: WorkerContext, claim: Claim, lease: Lease) -> None:
    clock = _StageClock(lease)
    with clock.stage(JobStage.READING) as report:
        series = index_series(list_source_files(worker.storage.series_folder(claim.series_id)))
        volume = read_volume(series, report)
    with clock.stage(JobStage.CONTOURING) as report:
        network = worker.networks.get()
        prediction = network.predictor.predict(volume, report)
    del volume  # half the memory of the job is free before the contours are made
    with worker.storage.staging() as folder:
        path = folder / RTSTRUCT_NAME
        with clock.stage(JobStage.WRITING):
            _write(path, series, network, prediction, worker.software_version)
        with clock.stage(JobStage.CHECKING):
            check_rtstruct(path, series)
        lease.check()
        outcome = _outcome(worker, network, prediction) | {
            "seconds": clock.seconds
            | {f"contouring_{step}": round(took, 3) for step, took in prediction.seconds.items()}
        }
        _release(worker, claim, folder, outcome)


def _write(
    path: Path,
    series: SeriesIndex,
    network: LoadedNetwork,
    prediction: Prediction,
    software_version: str,
) -> None:
    provenance = Provenance(
        software_version=software_version,
        model_version=network.model_version,
        weights_sha256=network.weights_sha256,
        created_at=utc_now(),
    )
    masks = ((s, prediction.labels == s.number) for s in network.structures.structures)
    write_rtstruct(series, masks, provenance, path)


def _outcome(worker: WorkerContext, network: LoadedNetwork, prediction: Prediction) -> Json:
    options = worker.networks.options
    return {
        "warnings": [
            {
                "code": str(warning.code),
                "structure": warning.structure,
                "message": warning.message,
                "facts": dict(warning.facts),
            }
            for warning in prediction.warnings
        ],
        "volumes_ml": dict(prediction.volumes_ml),
        "settings": {
            "device": options.device,
            "batch_size": options.batch_size,
            "thread_count": options.thread_count,
        },
        "model_version": network.model_version,
        "weights_sha256": network.weights_sha256,
        "software_version": worker.software_version,
    }


def _release(worker: WorkerContext, claim: Claim, folder: Path, outcome: Json) -> None:
    wait_for_database(worker.engine, worker.times.lease_seconds)
    with worker.unit_of_work() as uow:
        # The row is locked from here to the commit: nobody else can publish for this job.
        if not uow.leases.succeed(claim, outcome):
            raise LeaseLostError
        worker.storage.publish_result(folder, claim.job_id)
        uow.commit()
    log.info("job succeeded", seconds=outcome["seconds"])


def _fail(
    worker: WorkerContext, claim: Claim, *, code: str, detail: str, context: Json | None = None
) -> None:
    wait_for_database(worker.engine, worker.times.lease_seconds)
    with worker.unit_of_work() as uow:
        counted = uow.leases.fail(claim, code=str(code), detail=detail, context=context or {})
        uow.commit()
    log.warning("job failed", code=str(code), counted=counted)


def _owner(worker: WorkerContext) -> str:
    return f"{worker.name}:{os.getpid()}:{uuid4().hex[:8]}"


class _StageClock:
    """Reports the progress of every stage and adds up its seconds."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._started = time.perf_counter()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, stage: JobStage) -> Iterator[Callable[[float], None]]:
        """Measure a stage; the work inside tells its share done, from 0 to 1."""
        begin = PROGRESS_AT_START[stage]
        end = min([share for share in PROGRESS_AT_START.values() if share > begin], default=1.0)
        self._lease.report(stage, begin)
        started = time.perf_counter()
        yield lambda share: self._lease.report(stage, begin + (end - begin) * share)
        self._seconds[stage.value] = round(time.perf_counter() - started, 3)

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds by stage, and in all so far."""
        return self._seconds | {"total": round(time.perf_counter() - self._started, 3)}
