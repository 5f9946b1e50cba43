"""A job contoured once more by the shadow version: compared with its result, never returned."""

from collections.abc import Mapping
from uuid import UUID

from ml.arrays import MaskVolume
from ml.dicom.rtstruct_read import read_rtstruct
from ml.evaluation.edits import EditScore, compare_structures
from services.core.errors import ResultPurgedError, SeriesPurgedError
from services.core.lifecycle import JobStage
from services.core.repositories.leases import Claim
from services.core.storage import RTSTRUCT_NAME, StoredKind
from services.core.tables.leased import Json
from services.core.unit_of_work import UnitOfWork
from services.worker.context import WorkerContext
from services.worker.contouring import Contoured, contoured_series
from services.worker.lease import Lease
from services.worker.leased_work import finish
from services.worker.numbers import finite_or_none


def shadow_contour(worker: WorkerContext, claim: Claim, lease: Lease) -> None:
    """Contour the series of a job with the shadow version and compare the two.

    Raises:
        SeriesPurgedError: the series was removed.
        ResultPurgedError: the result of the job was removed.
        ServiceError, DicomError: as for jobs.
    """
    with worker.unit_of_work() as uow:
        shadow = uow.shadow_contours.get(claim.resource_id)
        job = uow.contour_jobs.get(shadow.job_id)
        if uow.series.get(job.series_id).purged_at is not None:
            raise SeriesPurgedError(job.series_id)
        _check_has_result(uow, job.id)
        version = uow.model_versions.get_served(shadow.model_version_id)
    with contoured_series(worker, lease, job.series_id, version) as contoured:
        with contoured.clock.stage(JobStage.COMPARING):
            released = worker.storage.file(StoredKind.RESULTS, job.id, RTSTRUCT_NAME)
            scores = _compare(contoured, read_rtstruct(released, contoured.series))
        outcome = contoured.outcome(worker) | {"scores": scores}

        def lock(uow: UnitOfWork) -> None:
            _check_has_result(uow, job.id)  # else the files would outlive what they shadow

        def publish(_: UnitOfWork) -> None:
            worker.storage.publish(StoredKind.SHADOW_RESULTS, contoured.folder, claim.resource_id)

        finish(worker, claim, outcome, publish, lock=lock)


def _check_has_result(uow: UnitOfWork, job_id: UUID) -> None:
    if uow.contour_jobs.get_locked(job_id).purged_at is not None:
        raise ResultPurgedError(job_id)


def _compare(contoured: Contoured, released: Mapping[str, MaskVolume]) -> Json:
    """Return by structure how the shadow agrees with what was released.

    An infinite distance is None beside the `empty` that says whose contours are missing.
    """
    labels = contoured.prediction.labels
    structures = contoured.network.structures.structures
    shadow = {structure.name: labels == structure.number for structure in structures}
    compared = compare_structures(released, shadow, contoured.series.geometry)
    return {
        name: {
            "dice": finite_or_none(score.dice),
            "hd95_mm": finite_or_none(score.hd95_mm),
            "assd_mm": finite_or_none(score.assd_mm),
            "surface_dice_2mm": finite_or_none(score.surface_dice_2mm),
            "released_ml": score.found_ml,
            "shadow_ml": score.edited_ml,
            "empty": _who_is_empty(score),
        }
        for name, score in compared.items()
    }


def _who_is_empty(score: EditScore) -> str | None:
    if score.edited_ml:
        return None if score.found_ml else "released"
    return "shadow" if score.found_ml else "both"
