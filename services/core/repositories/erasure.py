"""Every statement that takes personal content out of rows.

Rows stay as a record of what was done: states, times, numbers, grades, hashes of weights. What
may name a patient or a file, the UIDs, and the fingerprints of files are emptied, or replaced by
text that says nothing but the row's own id. Lock what is erased before.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.core.database import Now
from services.core.lifecycle import ACTIVE_STATES, DatasetSourceKind, JobStage, JobState
from services.core.storage import StoredKind
from services.core.tables.contouring import ContourJob, Series
from services.core.tables.datasets import Dataset, DatasetCase, DatasetSource, DatasetVersion
from services.core.tables.experiments import Report
from services.core.tables.leased import Json, Leased
from services.core.tables.model_versions import ModelVersion, ShadowContour
from services.core.tables.operations import IdempotencyRecord
from services.core.tables.reviews import EditedRtstruct, Review

Folder = tuple[StoredKind, UUID]


def no_trace(row_id: UUID) -> str:
    """Return what stands where a fingerprint was: unique, and of nothing."""
    return f"purged-{row_id}"


@dataclass(kw_only=True, slots=True)
class Erased:
    """What a transaction took out of rows, and which folders are still to be removed."""

    folders: list[Folder] = field(default_factory=list[Folder])
    rows: dict[str, int] = field(default_factory=dict[str, int])
    """By kind."""
    remaining: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """What was made of it before and stays, by kind: ids."""

    def count(self, kind: str, rows: int) -> None:
        """Note rows of a kind."""
        if rows:
            self.rows[kind] = self.rows.get(kind, 0) + rows

    def include(self, other: "Erased") -> None:
        """Add what another erasure came to."""
        self.folders += other.folders
        for kind, rows in other.rows.items():
            self.count(kind, rows)
        for kind, ids in other.remaining.items():
            self._name(kind, ids)

    def remain(self, kind: str, rows: Sequence[DatasetSource | DatasetVersion]) -> None:
        """Note what stays, if anything does."""
        self._name(kind, [str(row.id) for row in rows])

    def _name(self, kind: str, ids: Sequence[str]) -> None:
        known = self.remaining.get(kind, [])
        known = [*known, *(one for one in ids if one not in known)]
        if known:
            self.remaining[kind] = known


class ErasureRepository:
    """Takes personal content out of rows, resource by resource."""

    def __init__(self, session: Session, now: Now) -> None:
        self._session = session
        self._now = now

    def series(self, series_id: UUID, *, with_sources: bool) -> Erased:
        """Erase a series, its jobs, and what belongs to them.

        with_sources: also what datasets collected of edited RTSTRUCTs, for their next versions.
        """
        series = self._session.get_one(Series, series_id)
        jobs = self._ids(ContourJob, ContourJob.series_id == series_id)
        erased = self.jobs(jobs, with_sources=with_sources)
        series.purged_at = series.purged_at or self._now()
        series.series_instance_uid = series.study_instance_uid = ""
        series.frame_of_reference_uid = ""
        series.content_sha256 = no_trace(series_id)
        erased.folders.append((StoredKind.SERIES, series_id))
        erased.count("series", 1)
        self._forget_keys([series_id])
        self._session.flush()
        return erased

    def jobs(self, job_ids: Sequence[UUID], *, with_sources: bool) -> Erased:
        """Erase ended jobs, their shadows and edits, and the comments of their reviews."""
        erased = Erased()
        erased.include(self.shadows(self._ids(ShadowContour, ShadowContour.job_id.in_(job_ids))))
        edits = self._ids(EditedRtstruct, EditedRtstruct.job_id.in_(job_ids))
        erased.include(self.edits(edits, with_sources=with_sources))
        for job in self._all(ContourJob, job_ids):
            _take_out_texts(job)
            job.purged_at = job.purged_at or self._now()
            job.warnings = _bare(job.warnings)
            erased.folders.append((StoredKind.RESULTS, job.id))
        erased.count("contour_job", len(job_ids))
        commented = sa.update(Review).where(Review.job_id.in_(job_ids), Review.comment.is_not(None))
        erased.count("review_comment", self._execute(commented.values(comment=None)))
        reviews = self._ids(Review, Review.job_id.in_(job_ids))
        self._forget_keys([*job_ids, *reviews])
        return erased

    def edits(self, edited_ids: Sequence[UUID], *, with_sources: bool) -> Erased:
        """Erase compared edited RTSTRUCTs; their scores stay.

        with_sources: also what datasets collected of them; else it is named.
        """
        erased = Erased()
        for edited in self._all(EditedRtstruct, edited_ids):
            _take_out_texts(edited)
            edited.purged_at = edited.purged_at or self._now()
            edited.content_sha256 = no_trace(edited.id)
            if edited.scores is not None:
                warnings = _bare(edited.scores.get("warnings", []))
                edited.scores = {**edited.scores, "warnings": warnings}
            erased.folders.append((StoredKind.EDITED_RTSTRUCTS, edited.id))
        erased.count("edited_rtstruct", len(edited_ids))
        self._forget_keys(edited_ids)
        sources = self._sources_of_edits(edited_ids)
        if with_sources and sources:
            erased.include(self.sources(sources))
        elif sources:
            erased.remain("dataset_source", sources)
            erased.remain("dataset_version", self.stored_readers(sources))
        return erased

    def shadows(self, shadow_ids: Sequence[UUID]) -> Erased:
        """Erase shadows; one that is worked on ends, as if its lease had run out."""
        erased = Erased()
        for shadow in self._all(ShadowContour, shadow_ids):
            if shadow.state in ACTIVE_STATES:
                _end(shadow, self._now)
            _take_out_texts(shadow)
            shadow.purged_at = shadow.purged_at or self._now()
            shadow.warnings = _bare(shadow.warnings)
            erased.folders.append((StoredKind.SHADOW_RESULTS, shadow.id))
        erased.count("shadow_contour", len(shadow_ids))
        return erased

    def sources(self, sources: Sequence[DatasetSource]) -> Erased:
        """Remove sources of datasets; versions that were read from them are named.

        Versions that tried to read them and have no files are erased: their cases, and what a
        failed start left in its workspace, are of nothing but sources.
        """
        failed = self._readers(sources, JobState.FAILED, JobState.CANCELLED)
        erased = self.versions(failed) if failed else Erased()
        ids = [source.id for source in sources]
        erased.folders += [(StoredKind.DATASET_UPLOADS, source_id) for source_id in ids]
        erased.remain("dataset_version", self.stored_readers(sources))
        self._execute(sa.delete(DatasetSource).where(DatasetSource.id.in_(ids)))
        erased.count("dataset_source", len(ids))
        self._forget_keys(ids)
        return erased

    def versions(self, versions: Sequence[DatasetVersion]) -> Erased:
        """Erase ended dataset versions; of their cases, part, pseudonym and outcome stay."""
        erased = Erased()
        for version in versions:
            _take_out_texts(version)
            version.purged_at = version.purged_at or self._now()
            for kind in (StoredKind.DATASETS, StoredKind.CROPS, StoredKind.WORKSPACES):
                erased.folders.append((kind, version.id))
        ids = [version.id for version in versions]
        cases = sa.update(DatasetCase).where(DatasetCase.version_id.in_(ids))
        emptied = cases.values(name="", message=None, facts={}, notes=[], unmatched_names=[])
        erased.count("dataset_case", self._execute(emptied))
        erased.count("dataset_version", len(ids))
        return erased

    def dataset(self, dataset: Dataset) -> Erased:
        """Erase a dataset with its sources, and all of its versions with their cases."""
        versions = self._where(DatasetVersion, DatasetVersion.dataset_id == dataset.id)
        sources = self._where(DatasetSource, DatasetSource.dataset_id == dataset.id)
        erased = self.versions(versions)
        erased.include(self.sources(sources))
        erased.remaining.clear()  # the versions go, too
        for version in versions:
            version.request = version.request | {"sources": [], "mapping": {}}
        ids = [version.id for version in versions]
        self._execute(sa.delete(DatasetCase).where(DatasetCase.version_id.in_(ids)))
        dataset.name, dataset.mapping = no_trace(dataset.id), {}
        dataset.purged_at = dataset.purged_at or self._now()
        erased.count("dataset", 1)
        self._forget_keys([dataset.id, *ids])
        self._session.flush()
        return erased

    def model_version(self, version: ModelVersion) -> Erased:
        """Erase a retired model version and what it contoured as a shadow."""
        erased = self.shadows(
            self._ids(ShadowContour, ShadowContour.model_version_id == version.id)
        )
        version.purged_at = version.purged_at or self._now()
        version.card = None
        version.request = version.request | {"notes": None}
        for kind in (StoredKind.MODEL_VERSIONS, StoredKind.MODEL_UPLOADS):
            erased.folders.append((kind, version.id))
        erased.count("model_version", 1)
        self._forget_keys([version.id])
        self._session.flush()
        return erased

    def report(self, report: Report) -> Erased:
        """Erase an ended report; which experiments it showed stays."""
        _take_out_texts(report)
        report.purged_at = report.purged_at or self._now()
        report.title, report.summary, report.file_names = no_trace(report.id), None, None
        self._forget_keys([report.id])
        self._session.flush()
        return Erased(folders=[(StoredKind.REPORTS, report.id)], rows={"report": 1})

    def stored_readers(self, sources: Sequence[DatasetSource]) -> list[DatasetVersion]:
        """List the versions with files that were read from any of these sources."""
        return self._readers(sources, JobState.SUCCEEDED)

    def _readers(self, sources: Sequence[DatasetSource], *states: JobState) -> list[DatasetVersion]:
        ids = {str(source.id) for source in sources}
        kept = self._where(
            DatasetVersion,
            DatasetVersion.dataset_id.in_({source.dataset_id for source in sources}),
            DatasetVersion.state.in_(states),
            DatasetVersion.purged_at.is_(None),
        )
        return [v for v in kept if ids & {source["id"] for source in v.request["sources"]}]

    def _sources_of_edits(self, edited_ids: Sequence[UUID]) -> list[DatasetSource]:
        return self._where(
            DatasetSource,
            DatasetSource.kind == DatasetSourceKind.EDITED_RTSTRUCT,
            DatasetSource.content.in_([str(edited_id) for edited_id in edited_ids]),
        )

    def _forget_keys(self, resource_ids: Iterable[UUID]) -> None:
        # Their fingerprints are of the request; a replay would show what is gone.
        forgotten = IdempotencyRecord.resource_id.in_(list(resource_ids))
        self._execute(sa.delete(IdempotencyRecord).where(forgotten))

    def _execute(self, statement: sa.Update | sa.Delete) -> int:
        self._session.flush()
        done = self._session.execute(statement.execution_options(synchronize_session=False))
        return done.rowcount  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType] (a CursorResult)

    def _ids(self, table: Any, condition: sa.ColumnElement[bool]) -> list[UUID]:  # noqa: ANN401 (any table with an id)
        return list(self._session.scalars(sa.select(table.id).where(condition).order_by(table.id)))

    def _all(self, table: Any, ids: Sequence[UUID]) -> list[Any]:  # noqa: ANN401 (likewise)
        query = sa.select(table).where(table.id.in_(ids)).order_by(table.id)
        locked = query.with_for_update().execution_options(populate_existing=True)
        return list(self._session.scalars(locked))

    def _where(self, table: Any, *conditions: sa.ColumnElement[bool]) -> list[Any]:  # noqa: ANN401 (likewise)
        query = sa.select(table).where(*conditions).order_by(table.created_at, table.id)
        return list(self._session.scalars(query))


def _take_out_texts(row: Leased) -> None:
    """Keep the code of a failure; its sentence and facts may quote UIDs and file names."""
    row.error_detail = row.error_context = None


def _bare(warnings: Sequence[Mapping[str, Any]]) -> list[Json]:
    """Keep what warnings are about; their facts may name regions as a planning system did."""
    return [{**warning, "message": "", "facts": {}} for warning in warnings]


def _end(row: Leased, now: Now) -> None:
    row.state, row.stage, row.finished_at = JobState.CANCELLED, JobStage.DONE, now()
    row.fencing_token += 1  # what its worker writes from now on is of a start that is over
    row.lease_owner = row.lease_until = None
