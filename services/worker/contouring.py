"""One contouring job: from the series in storage to a checked RTSTRUCT."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ml.dicom.rtstruct import Provenance, write_rtstruct
from ml.dicom.rtstruct_check import check_rtstruct
from ml.dicom.series import SeriesIndex, index_series, list_source_files, read_volume
from services.core.database import utc_now
from services.core.lifecycle import JobStage
from services.core.repositories.leases import Claim
from services.core.storage import RTSTRUCT_NAME, StoredKind
from services.core.tables.leased import Json
from services.worker.context import WorkerContext
from services.worker.lease import Lease
from services.worker.leased_work import finish
from services.worker.networks import LoadedNetwork, Prediction

PROGRESS_AT_START = {
    JobStage.READING: 0.0,
    JobStage.CONTOURING: 0.1,
    JobStage.WRITING: 0.85,
    JobStage.CHECKING: 0.95,
}
"""Rough shares of a job on a CPU; the last stage ends at 1."""


def contour_job(worker: WorkerContext, claim: Claim, lease: Lease) -> None:
    """Contour the series of a job and release the checked RTSTRUCT."""
    clock = _StageClock(lease)
    with worker.unit_of_work() as uow:
        series_id = uow.contour_jobs.get(claim.resource_id).series_id
    with clock.stage(JobStage.READING) as report:
        folder = worker.storage.folder(StoredKind.SERIES, series_id)
        series = index_series(list_source_files(folder))
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
        finish(worker, claim, outcome, lambda _: _publish(worker, claim, folder))


def _publish(worker: WorkerContext, claim: Claim, folder: Path) -> None:
    worker.storage.publish(StoredKind.RESULTS, folder, claim.resource_id)


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
