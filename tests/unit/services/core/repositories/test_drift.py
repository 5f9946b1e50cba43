"""Edits, warnings and the shadow's view are averaged by the database, group by group."""

import datetime as dt
from uuid import UUID, uuid4

from services.core.lifecycle import JobState, ModelVersionOrigin
from services.core.repositories.drift import DriftBy, JobTotals, StructureMeans
from services.core.tables.leased import Json
from services.core.tables.model_versions import ModelVersion, ShadowContour
from services.core.unit_of_work import UnitOfWork
from tests.factories.reviews import add_edit, add_finished_job
from tests.factories.rows import add_job
from tests.fakes import Clock

STRUCTURES = ("Bladder", "CTV-N")
MEASURES = ("dice", "added_path_length_mm")
WARNING = {"code": "no_pelvis", "structure": None, "message": "a test", "facts": {}}


def means(group: str, structure: str, compared: int, *values: float | None) -> StructureMeans:
    return StructureMeans(group=group, structure=structure, compared=compared, means=values)


class TestJobs:
    def test_warnings_are_counted_by_group(self, uow: UnitOfWork, clock: Clock) -> None:
        add_finished_job(uow, warnings=[WARNING, WARNING])
        add_finished_job(uow)
        add_job(uow)  # queued: counts nowhere
        clock.advance(days=31)
        add_finished_job(uow, warnings=[WARNING], model_version="v2")

        with uow:
            by_month = uow.drift.jobs(DriftBy.MONTH)
            by_version = uow.drift.jobs(DriftBy.MODEL_VERSION)

        first = JobTotals(jobs=2, warnings=2, jobs_with_warnings=1)
        second = JobTotals(jobs=1, warnings=1, jobs_with_warnings=1)
        assert by_month == {"2026-01": first, "2026-02": second}
        assert by_version == {"v1": first, "v2": second}


class TestEdits:
    def test_means_are_over_what_was_compared(self, uow: UnitOfWork, clock: Clock) -> None:
        job = add_finished_job(uow)
        add_edit(uow, job.id, {"Bladder": {"dice": 0.8, "added_path_length_mm": 10}})
        add_edit(
            uow,
            job.id,
            {
                "Bladder": {"dice": 1.0, "added_path_length_mm": 0.0},
                "CTV-N": {"dice": 0.5, "added_path_length_mm": None},
            },
        )
        add_edit(uow, job.id)  # not compared yet
        clock.advance(days=31)
        later = add_finished_job(uow, model_version="v2")
        add_edit(uow, later.id, {"Bladder": {"dice": 0.25, "added_path_length_mm": 4.0}})

        with uow:
            found = uow.drift.edits(DriftBy.MONTH, STRUCTURES, MEASURES)
            by_version = uow.drift.edits(DriftBy.MODEL_VERSION, STRUCTURES, MEASURES)

        assert found == [
            means("2026-01", "Bladder", 2, 0.9, 5.0),
            means("2026-01", "CTV-N", 1, 0.5, None),
            means("2026-02", "Bladder", 1, 0.25, 4.0),
        ]
        assert [row.group for row in by_version] == ["v1", "v1", "v2"]


class TestShadows:
    def test_agreement_is_of_the_jobs_own_group(self, uow: UnitOfWork, clock: Clock) -> None:
        job = add_finished_job(uow)
        version_id = add_model_version(uow, clock())
        add_shadow(uow, job.id, version_id, {"Bladder": {"dice": 0.75}}, clock())

        with uow:
            found = uow.drift.shadows(DriftBy.MODEL_VERSION, STRUCTURES, ["dice"])

        assert found == [means("v1", "Bladder", 1, 0.75)]


def add_model_version(uow: UnitOfWork, now: dt.datetime) -> UUID:
    version_id = uuid4()
    with uow:
        uow._session.add(
            ModelVersion(
                id=version_id,
                name="v2",
                origin=ModelVersionOrigin.IMPORT,
                request={},
                weights_sha256=uuid4().hex * 2,
                structure_set="cervix",
                state=JobState.SUCCEEDED,
                correlation_id="request-1",
                max_attempts=3,
                created_at=now,
            )
        )
        uow.commit()
    return version_id


def add_shadow(
    uow: UnitOfWork, job_id: UUID, version_id: UUID, scores: Json, now: dt.datetime
) -> None:
    with uow:
        uow._session.add(
            ShadowContour(
                job_id=job_id,
                model_version_id=version_id,
                scores=scores,
                state=JobState.SUCCEEDED,
                correlation_id="request-1",
                max_attempts=3,
                created_at=now,
            )
        )
        uow.commit()
