"""Which rows have files in storage, so that a backup can tell what it lacks."""

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, Session

from services.core.lifecycle import ACTIVE_STATES, DatasetSourceKind, JobState
from services.core.storage import StoredKind
from services.core.tables.contouring import ContourJob, Series
from services.core.tables.datasets import DatasetSource, DatasetVersion
from services.core.tables.experiments import Report, Run
from services.core.tables.model_versions import ModelVersion, ShadowContour
from services.core.tables.reviews import EditedRtstruct

_Rows = tuple[InstrumentedAttribute[UUID], tuple[sa.ColumnElement[bool], ...]]

_ROWS: dict[StoredKind, _Rows] = {
    StoredKind.SERIES: (Series.id, (Series.purged_at.is_(None),)),
    StoredKind.RESULTS: (
        ContourJob.id,
        (ContourJob.state == JobState.SUCCEEDED, ContourJob.purged_at.is_(None)),
    ),
    StoredKind.SHADOW_RESULTS: (
        ShadowContour.id,
        (ShadowContour.state == JobState.SUCCEEDED, ShadowContour.purged_at.is_(None)),
    ),
    StoredKind.EDITED_RTSTRUCTS: (EditedRtstruct.id, (EditedRtstruct.purged_at.is_(None),)),
    StoredKind.DATASET_UPLOADS: (
        DatasetSource.id,
        (DatasetSource.kind == DatasetSourceKind.UPLOAD,),
    ),
    StoredKind.DATASETS: (
        DatasetVersion.id,
        (DatasetVersion.state == JobState.SUCCEEDED, DatasetVersion.purged_at.is_(None)),
    ),
    StoredKind.RUNS: (Run.id, (Run.state == JobState.SUCCEEDED,)),
    StoredKind.REPORTS: (
        Report.id,
        (Report.state == JobState.SUCCEEDED, Report.purged_at.is_(None)),
    ),
    StoredKind.MODEL_VERSIONS: (
        ModelVersion.id,
        (ModelVersion.state == JobState.SUCCEEDED, ModelVersion.purged_at.is_(None)),
    ),
    StoredKind.MODEL_UPLOADS: (
        ModelVersion.id,
        (ModelVersion.state.in_(ACTIVE_STATES), ModelVersion.run_id.is_(None)),
    ),
}
KEPT_KINDS = tuple(_ROWS)
"""What cannot be made again. Crops can; a training that lost its workspace begins anew."""

_POSSIBLE_ROWS: dict[StoredKind, _Rows] = {
    # from when a version first read it; then the only copy, once the edit is past its retention
    StoredKind.DATASET_UPLOADS: (
        DatasetSource.id,
        (DatasetSource.kind == DatasetSourceKind.EDITED_RTSTRUCT,),
    ),
}


class StoredFilesRepository:
    """Rows as owners of files."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def owners(self, kind: StoredKind) -> set[UUID]:
        """Return the ids of all rows whose files of a kept kind are in storage."""
        return self._ids(_ROWS[kind])

    def possible_owners(self, kind: StoredKind) -> set[UUID]:
        """Return the ids of all other rows that may have such files; no row says whether."""
        return self._ids(_POSSIBLE_ROWS[kind]) if kind in _POSSIBLE_ROWS else set()

    def _ids(self, rows: _Rows) -> set[UUID]:
        column, conditions = rows
        return set(self._session.scalars(sa.select(column).where(*conditions)))
