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


WORK: dict[TaskName, Callable[[], Work]] = {
    TaskName.CONTOUR_JOB_RUN: _contour_job,
}
"""By task; called in the forked child."""
