"""What every task does, imported where it is done.

A parent that has touched torch before it forks hangs its children.
"""

# ruff: noqa: PLC0415 (see the head of this module)

from collections.abc import Callable

from services.core.queue import TaskName
from services.worker.leased_work import Work


def _contour_job() -> Work:
    from services.worker.contouring import contour_job

    return contour_job


def _train_run() -> Work:
    from services.worker.training import train_run

    return train_run


def _write_report() -> Work:
    from services.worker.reporting import write_experiment_report

    return write_experiment_report


def _compare_edited_rtstruct() -> Work:
    from services.worker.editing import compare_edited_rtstruct

    return compare_edited_rtstruct


def _index_dataset_version() -> Work:
    from services.worker.indexing import index_dataset_version

    return index_dataset_version


def _shadow_contour() -> Work:
    from services.worker.shadowing import shadow_contour

    return shadow_contour


def _check_model_version() -> Work:
    from services.worker.model_checks import check_model_version

    return check_model_version


WORK: dict[TaskName, Callable[[], Work]] = {
    TaskName.CONTOUR_JOB_RUN: _contour_job,
    TaskName.SHADOW_CONTOUR_RUN: _shadow_contour,
    TaskName.RUN_TRAIN: _train_run,
    TaskName.EDITED_RTSTRUCT_COMPARE: _compare_edited_rtstruct,
    TaskName.DATASET_VERSION_INDEX: _index_dataset_version,
    TaskName.MODEL_VERSION_CHECK: _check_model_version,
    TaskName.REPORT_WRITE: _write_report,
}
"""By task; called in the forked child."""
