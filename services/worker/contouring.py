"""One contouring job: from the series in storage to a checked RTSTRUCT."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from ml.dicom.rtstruct import Provenance, write_rtstruct
from ml.dicom.rtstruct_check import check_rtstruct
from ml.dicom.series import SeriesIndex, index_series, list_source_files, read_volume
from services.core.database import utc_now
from services.core.lifecycle import AliasName, JobStage
from services.core.queue import TaskName
from services.core.repositories.leases import Claim
from services.core.repositories.model_versions import ServedVersion
from services.core.storage import RTSTRUCT_NAME, StoredKind
from services.core.tables.leased import Json
from services.core.unit_of_work import UnitOfWork
from services.worker.context import WorkerContext
from services.worker.lease import Lease
from services.worker.leased_work import finish
from services.worker.networks import LoadedNetwork, Prediction

PROGRESS_AT_START = {
    JobStage.READING: 0.0,
    JobStage.CONTOURING: 0.1,
    JobStage.WRITING: 0.85,
    JobStage.CHECKING: 0.95,
    JobStage.COMPARING: 0.97,
}
"""Rough shares of a job on a CPU; the last stage ends at 1. Only shadows are compared."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Contoured:
    """A series with its contours; the checked RTSTRUCT lies alone in a staged folder."""

    series: SeriesIndex
    network: LoadedNetwork
    prediction: Prediction
    folder: Path
    clock: "StageClock"

    def outcome(self, worker: WorkerContext) -> Json:
        """Return the columns that jobs and shadows have in common."""
        steps = self.prediction.seconds.items()
        return {
            "warnings": [
                {
                    "code": str(warning.code),
                    "structure": warning.structure,
                    "message": warning.message,
                    "facts": dict(warning.facts),
                }
                for warning in self.prediction.warnings
            ],
            "volumes_ml": dict(self.prediction.volumes_ml),
            "seconds": self.clock.seconds
            | {f"contouring_{step}": round(took, 3) for step, took in steps},
            "weights_sha256": self.network.weights_sha256,
            "software_version": worker.software_version,
        }


def contour_job(worker: WorkerContext, claim: Claim, lease: Lease) -> None:
    """Contour the series of a job with what production means and release the RTSTRUCT."""
    with worker.unit_of_work() as uow:
        series_id = uow.contour_jobs.get(claim.resource_id).series_id
        production = uow.model_aliases.served(AliasName.PRODUCTION)
    with contoured_series(worker, lease, series_id, production) as contoured:
        options = worker.networks.options
        outcome = contoured.outcome(worker) | {
            "settings": {
                "device": options.device,
                "batch_size": options.batch_size,
                "thread_count": options.thread_count,
            },
            "model_version": contoured.network.model_version,
            "model_version_id": production.id if production else None,
        }

        def publish(uow: UnitOfWork) -> None:
            worker.storage.publish(StoredKind.RESULTS, contoured.folder, claim.resource_id)
            _queue_shadow(worker, claim, uow, production)

        finish(worker, claim, outcome, publish)


@contextmanager
def contoured_series(
    worker: WorkerContext, lease: Lease, series_id: UUID, version: ServedVersion | None
) -> Iterator[Contoured]:
    """Contour a series with a version, and write and check the RTSTRUCT of it.

    Raises:
        DicomError: the series is unusable, or the RTSTRUCT is wrong.
        StoredFilesMissingError: files of the series or the version are gone.
        WeightsChangedError: the files of the version are not those that were checked.
    """
    clock = StageClock(lease)
    with clock.stage(JobStage.READING) as report:
        source = worker.storage.folder(StoredKind.SERIES, series_id)
        series = index_series(list_source_files(source))
        volume = read_volume(series, report)
    with clock.stage(JobStage.CONTOURING) as report:
        network = worker.networks.get(version)
        prediction = network.predictor.predict(volume, report)
    del volume  # half the memory of the job is free before the contours are made
    with worker.storage.staging() as folder:
        path = folder / RTSTRUCT_NAME
        with clock.stage(JobStage.WRITING):
            _write(path, series, network, prediction, worker.software_version)
        with clock.stage(JobStage.CHECKING):
            check_rtstruct(path, series)
        lease.check()
        yield Contoured(
            series=series, network=network, prediction=prediction, folder=folder, clock=clock
        )


def _queue_shadow(
    worker: WorkerContext, claim: Claim, uow: UnitOfWork, used: ServedVersion | None
) -> None:
    """Have the shadow version contour the job, too, unless it is the one that just did."""
    shadow = uow.model_aliases.served(AliasName.SHADOW)
    if shadow is None or shadow == used:
        return
    row = uow.shadow_contours.add(
        claim.resource_id,
        shadow.id,
        correlation_id=claim.correlation_id,
        max_attempts=worker.max_attempts,
    )
    uow.enqueue(TaskName.SHADOW_CONTOUR_RUN, row.id)


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


class StageClock:
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
