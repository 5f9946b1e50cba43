"""Rows for tests, complete but for what a test says."""

from typing import Any
from uuid import UUID, uuid4

from services.core.tables.contouring import ContourJob, Series
from services.core.unit_of_work import UnitOfWork


def make_series(**values: Any) -> Series:
    """A series that is not in the database yet; every one has a content of its own."""
    defaults = {
        "content_sha256": uuid4().hex * 2,
        "series_instance_uid": "2.25.1",
        "study_instance_uid": "2.25.2",
        "frame_of_reference_uid": "2.25.3",
        "is_deidentified": False,
        "patient_position": "HFS",
        "slice_count": 3,
        "rows": 32,
        "columns": 32,
        "spacing_mm": [3.0, 1.0, 1.0],
        "extent_mm": [9.0, 32.0, 32.0],
        "byte_count": 3072,
    }
    return Series(**(defaults | values))


def add_job(uow: UnitOfWork, **values: Any) -> ContourJob:
    """A committed queued job on a series of its own."""
    with uow:
        series, _ = uow.series.get_or_create(make_series())
        job = uow.contour_jobs.add(
            series.id, **({"correlation_id": "request-1", "max_attempts": 3} | values)
        )
        uow.commit()
    return job


def job_of(uow: UnitOfWork, job_id: UUID) -> ContourJob:
    """The job as it is in the database now."""
    with uow:
        return uow.contour_jobs.get(job_id)
