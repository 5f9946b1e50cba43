"""Reviews and edited contours for tests."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np

from ml.dicom.rtstruct import write_rtstruct
from ml.dicom.series import SeriesIndex, index_series, list_source_files
from ml.structures import CERVIX, Structure
from services.api.reviews.service import SliceGrade
from services.core.queue import TaskName
from services.core.repositories.edited_rtstructs import NewEdit
from services.core.repositories.reviews import NewReview
from services.core.tables.contouring import ContourJob
from services.core.tables.leased import Json
from services.core.tables.reviews import EditedRtstruct, Review
from services.core.unit_of_work import UnitOfWork
from tests.factories.rows import add_job
from tests.factories.structures import PROVENANCE, make_structure


def add_finished_job(uow: UnitOfWork, **outcome: object) -> ContourJob:
    """A committed job that succeeded, on a series of its own."""
    job = add_job(uow)
    with uow:
        claim = uow.leases.claim(TaskName.CONTOUR_JOB_RUN, job.id, owner="worker", seconds=60)
        assert claim is not None
        values = {"volumes_ml": {"Bladder": 1.0}, "warnings": [], "model_version": "v1"} | outcome
        assert uow.leases.succeed(claim, values)
        uow.commit()
    with uow:
        return uow.contour_jobs.get(job.id)


def grades_of(text: Mapping[str, str], first: int = 1) -> list[SliceGrade]:
    """Grades by structure, a letter a slice: a, m(inor), M(ajor), u."""
    names = {"a": "acceptable", "m": "minor_revision", "M": "major_revision", "u": "unacceptable"}
    return [
        SliceGrade(structure=structure, slice_number=number, grade=names[letter], tags=())
        for structure, letters in text.items()
        for number, letter in enumerate(letters, start=first)
    ]


def add_review(
    uow: UnitOfWork,
    job_id: UUID,
    grades: Mapping[str, str] | Sequence[SliceGrade],
    *,
    reviewer: str = "anna",
    minutes: float | None = None,
) -> Review:
    """A committed review."""
    given = grades_of(grades) if isinstance(grades, Mapping) else grades
    with uow:
        uow.contour_jobs.get_locked(job_id)
        new = NewReview(job_id=job_id, reviewer=reviewer, minutes=minutes, comment=None)
        review = uow.reviews.add(new, given)
        uow.commit()
    return review


def add_edit(uow: UnitOfWork, job_id: UUID, scores: Json | None = None) -> EditedRtstruct:
    """A committed edited RTSTRUCT: compared if there are scores, queued if there are none."""
    new = NewEdit(
        job_id=job_id,
        review_id=None,
        reviewer="anna",
        content_sha256=uuid4().hex * 2,
        byte_count=1000,
    )
    with uow:
        added = uow.edited_rtstructs.add(new, correlation_id="request-1", max_attempts=3)
        uow.commit()
    if scores is not None:
        with uow:
            task = TaskName.EDITED_RTSTRUCT_COMPARE
            claim = uow.leases.claim(task, added.row.id, owner="worker", seconds=60)
            assert claim is not None
            outcome = {"scores": {"structures": scores, "warnings": []}}
            assert uow.leases.succeed(claim, outcome)
            uow.commit()
    with uow:
        return uow.edited_rtstructs.get(added.row.id)


def write_edit(path: Path, ct: Path | SeriesIndex, masks: Mapping[str, np.ndarray]) -> None:
    """Write an RTSTRUCT with one region a mask, numbered in their order."""
    series = ct if isinstance(ct, SeriesIndex) else index_series(list_source_files(ct))
    regions = [
        (_structure(number, name), mask) for number, (name, mask) in enumerate(masks.items(), 1)
    ]
    write_rtstruct(series, regions, PROVENANCE, path)


def _structure(number: int, name: str) -> Structure:
    if name in CERVIX.names and CERVIX.get(name).number == number:
        return CERVIX.get(name)
    return make_structure(number, name)
