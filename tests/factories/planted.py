"""One of everything that can be deleted, with marks in every text, file and UID of it.

A mark stands for whatever names a patient: where it is found after a deletion, something is left.
"""

import datetime as dt
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from services.core.audit import ResourceKind
from services.core.lifecycle import (
    CaseStatus,
    DatasetSourceKind,
    ExperimentKind,
    JobState,
    ModelVersionOrigin,
)
from services.core.storage import UPLOAD_NAMES_FILE, FilesystemStorage, StoredKind
from services.core.tables.contouring import ContourJob
from services.core.tables.datasets import Dataset, DatasetCase, DatasetSource, DatasetVersion
from services.core.tables.experiments import Experiment, Report, ReportExperiment
from services.core.tables.leased import Json
from services.core.tables.model_versions import ModelVersion, ShadowContour
from services.core.tables.operations import IdempotencyRecord
from services.core.tables.reviews import EditedRtstruct, Review
from services.core.unit_of_work import UnitOfWork
from tests.factories.rows import make_series

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)

FOLDERS: dict[ResourceKind, list[StoredKind]] = {
    ResourceKind.SERIES: [StoredKind.SERIES],
    ResourceKind.CONTOUR_JOB: [StoredKind.RESULTS, StoredKind.SHADOW_RESULTS],
    ResourceKind.EDITED_RTSTRUCT: [StoredKind.EDITED_RTSTRUCTS, StoredKind.DATASET_UPLOADS],
    ResourceKind.DATASET_SOURCE: [StoredKind.DATASET_UPLOADS],
    ResourceKind.DATASET_VERSION: [
        StoredKind.DATASETS, StoredKind.CROPS, StoredKind.WORKSPACES,
    ],
    ResourceKind.MODEL_VERSION: [StoredKind.MODEL_VERSIONS],
    ResourceKind.REPORT: [StoredKind.REPORTS],
}  # fmt: skip
"""What has files of its own; two in each folder."""

GOES_WITH: dict[ResourceKind, set[ResourceKind]] = {
    ResourceKind.SERIES: {ResourceKind.CONTOUR_JOB, ResourceKind.EDITED_RTSTRUCT},
    ResourceKind.CONTOUR_JOB: {ResourceKind.EDITED_RTSTRUCT},
    ResourceKind.DATASET: {ResourceKind.DATASET_SOURCE, ResourceKind.DATASET_VERSION},
    ResourceKind.DATASET_SOURCE: {ResourceKind.DATASET_VERSION},
}
"""What a deletion takes along."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Planted:
    """Ids of what was planted, and the mark in it."""

    ids: dict[ResourceKind, UUID] = field(default_factory=dict)
    marks: dict[ResourceKind, str] = field(default_factory=dict)

    def marks_of(self, kind: ResourceKind) -> set[str]:
        """Marks that must be gone once one of a kind is deleted."""
        return {self.marks[one] for one in GOES_WITH.get(kind, set()) | {kind}}

    def files_of(self, kind: ResourceKind) -> int:
        """Files that must be gone then."""
        kinds = GOES_WITH.get(kind, set()) | {kind}
        return sum(2 * len(FOLDERS.get(one, [])) for one in kinds)


def plant(uow: UnitOfWork, storage: FilesystemStorage) -> Planted:
    """Put one of everything into a migrated database and a storage."""
    planted = Planted()
    kinds = {*FOLDERS, ResourceKind.DATASET}
    for kind in kinds:
        planted.ids[kind] = uuid4()
        planted.marks[kind] = f"MARK-{kind}-{uuid4().hex[:12]}"
    _plant_series(uow, storage, planted)
    _plant_dataset(uow, storage, planted)
    _plant_model_and_report(uow, storage, planted)
    return planted


def _plant_series(uow: UnitOfWork, storage: FilesystemStorage, planted: Planted) -> None:
    ids, marks = planted.ids, planted.marks
    series_id, job_id = ids[ResourceKind.SERIES], ids[ResourceKind.CONTOUR_JOB]
    edit_id, shadow_id, failed_id = ids[ResourceKind.EDITED_RTSTRUCT], uuid4(), uuid4()
    mark, job_mark = marks[ResourceKind.SERIES], marks[ResourceKind.CONTOUR_JOB]
    edit_mark = marks[ResourceKind.EDITED_RTSTRUCT]
    model_id = uuid4()
    _add(
        uow,
        make_series(
            id=series_id,
            content_sha256=mark,
            series_instance_uid=mark,
            study_instance_uid=mark,
            frame_of_reference_uid=mark,
            created_at=NOW,
        ),
        _model(model_id),
    )
    _add(
        uow,
        ContourJob(id=job_id, series_id=series_id, warnings=[_warning(job_mark)], **_work()),
        ContourJob(id=failed_id, series_id=series_id, **_work(JobState.FAILED, mark)),
        _key(job_id, job_mark),
        _key(series_id, mark),
    )
    _add(
        uow,
        Review(job_id=job_id, reviewer="anna", comment=job_mark, created_at=NOW),
        ShadowContour(
            id=shadow_id,
            job_id=job_id,
            model_version_id=model_id,
            warnings=[_warning(job_mark)],
            **_work(JobState.FAILED, job_mark),
        ),
        EditedRtstruct(
            id=edit_id,
            job_id=job_id,
            reviewer="anna",
            content_sha256=edit_mark,
            byte_count=1,
            scores={"structures": {}, "warnings": [_warning(edit_mark)]},
            **_work(JobState.SUCCEEDED, edit_mark),
        ),
        _key(edit_id, edit_mark),
    )
    _publish(storage, StoredKind.SERIES, series_id, mark)
    _publish(storage, StoredKind.RESULTS, job_id, job_mark)
    _publish(storage, StoredKind.SHADOW_RESULTS, shadow_id, job_mark)
    _publish(storage, StoredKind.EDITED_RTSTRUCTS, edit_id, edit_mark)
    # collected by a dataset of somebody else
    other, source_id = uuid4(), uuid4()
    _add(uow, Dataset(id=other, name=other.hex, mapping={}, created_at=NOW))
    kind = DatasetSourceKind.EDITED_RTSTRUCT
    _add(uow, _source(source_id, other, kind, str(edit_id)))
    _publish(storage, StoredKind.DATASET_UPLOADS, source_id, edit_mark)


def _plant_dataset(uow: UnitOfWork, storage: FilesystemStorage, planted: Planted) -> None:
    ids, marks = planted.ids, planted.marks
    dataset_id, source_id = ids[ResourceKind.DATASET], ids[ResourceKind.DATASET_SOURCE]
    version_id = ids[ResourceKind.DATASET_VERSION]
    mark, source_mark = marks[ResourceKind.DATASET], marks[ResourceKind.DATASET_SOURCE]
    version_mark = marks[ResourceKind.DATASET_VERSION]
    request = {"sources": [{"id": str(source_id), "content": mark}], "mapping": {mark: mark}}
    _add(uow, Dataset(id=dataset_id, name=mark, mapping={mark: mark}, created_at=NOW))
    _add(
        uow,
        _source(source_id, dataset_id, DatasetSourceKind.UPLOAD, source_mark),
        _key(source_id, source_mark),
        DatasetVersion(
            id=version_id,
            dataset_id=dataset_id,
            number=1,
            request=request,
            structure_set="cervix",
            **_work(JobState.SUCCEEDED, version_mark),
        ),
    )
    _add(
        uow,
        DatasetCase(
            version_id=version_id,
            position=0,
            name=version_mark,
            status=CaseStatus.REFUSED,
            message=version_mark,
            facts={"files": [version_mark]},
            notes=[{"message": version_mark}],
            unmatched_names=[version_mark],
        ),
    )
    _publish(storage, StoredKind.DATASET_UPLOADS, source_id, source_mark)
    for kind in FOLDERS[ResourceKind.DATASET_VERSION]:
        _publish(storage, kind, version_id, version_mark)


def _plant_model_and_report(uow: UnitOfWork, storage: FilesystemStorage, planted: Planted) -> None:
    ids, marks = planted.ids, planted.marks
    version_id, report_id = ids[ResourceKind.MODEL_VERSION], ids[ResourceKind.REPORT]
    mark, report_mark = marks[ResourceKind.MODEL_VERSION], marks[ResourceKind.REPORT]
    version = _model(version_id)
    version.request, version.card, version.retired_at = {"notes": mark}, {"data": mark}, NOW
    experiment = Experiment(
        id=uuid4(),
        kind=ExperimentKind.TRAINING,
        name="training",
        dataset_version_id=ids[ResourceKind.DATASET_VERSION],
        request={},
        correlation_id="request-1",
        created_at=NOW,
    )
    report = Report(
        id=report_id,
        title=report_mark,
        is_automatic=False,
        summary={"cases": [report_mark]},
        file_names=[report_mark],
        **_work(JobState.SUCCEEDED, report_mark),
    )
    _add(uow, version, experiment, report)
    _add(uow, ReportExperiment(report_id=report_id, experiment_id=experiment.id, position=0))
    _publish(storage, StoredKind.MODEL_VERSIONS, version_id, mark)
    _publish(storage, StoredKind.REPORTS, report_id, report_mark)


def _add(uow: UnitOfWork, *rows: object) -> None:
    with uow:
        uow._session.add_all(rows)
        uow.commit()


def _work(state: JobState = JobState.SUCCEEDED, mark: str | None = None) -> Json:
    return {
        "state": state,
        "correlation_id": "request-1",
        "max_attempts": 3,
        "created_at": NOW,
        "finished_at": NOW,
        "error_code": None if mark is None else "dicom_error",
        "error_detail": mark,
        "error_context": None if mark is None else {"sop_instance_uids": [mark]},
    }


def _model(version_id: UUID) -> ModelVersion:
    return ModelVersion(
        id=version_id,
        name=version_id.hex,
        origin=ModelVersionOrigin.IMPORT,
        request={"notes": None},
        weights_sha256=version_id.hex * 2,
        structure_set="cervix",
        **_work(),
    )


def _source(
    source_id: UUID, dataset_id: UUID, kind: DatasetSourceKind, content: str
) -> DatasetSource:
    return DatasetSource(
        id=source_id, dataset_id=dataset_id, kind=kind, content=content, created_at=NOW
    )


def _warning(mark: str) -> Json:
    return {"code": "region_ignored", "structure": None, "message": mark, "facts": {"region": mark}}


def _key(resource_id: UUID, mark: str) -> IdempotencyRecord:
    return IdempotencyRecord(
        route="route",
        key=resource_id.hex,
        request_sha256=mark,
        resource_id=resource_id,
        created_at=NOW,
    )


def _publish(storage: FilesystemStorage, kind: StoredKind, resource_id: UUID, mark: str) -> None:
    with storage.staging() as staged:
        (staged / "folder" / "below").mkdir(parents=True)
        (staged / "folder" / "below" / "00001.dcm").write_text(f"bytes of {mark}")
        (staged / "folder" / UPLOAD_NAMES_FILE).write_text(f'{{"00001.dcm": "{mark}"}}')
        storage.publish(kind, staged / "folder", resource_id)
