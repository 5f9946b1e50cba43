"""Where a dataset version is read from: mounted folders, uploads and edited RTSTRUCTs."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from uuid import UUID

from ml.data.importing.candidates import RefusedCandidate
from ml.data.importing.run import ImportPlan, merge_plans, plan_import_files
from ml.dicom.files import SourceFile, list_source_files
from services.core.errors import StoredFilesMissingError
from services.core.lifecycle import DatasetSourceKind, JobStage
from services.core.mounted_folders import find_mounted_folder
from services.core.repositories.leases import Claim
from services.core.storage import RTSTRUCT_NAME, UPLOAD_NAMES_FILE, Storage, StoredKind
from services.core.tables.leased import Json
from services.worker.context import WorkerContext
from services.worker.lease import Lease, LeaseLostError

WATCHED_FILES = 50
"""Heads read between two looks whether the work is still wanted."""

EDITED_NAME = "edited-rtstructs"
"""What the cases of edited RTSTRUCTs are found under."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One source, as a version's request names it."""

    id: UUID
    kind: DatasetSourceKind
    content: str

    @classmethod
    def from_json(cls, values: Json) -> Self:
        """Read an item of the request."""
        return cls(
            id=UUID(values["id"]),
            kind=DatasetSourceKind(values["kind"]),
            content=values["content"],
        )


def plan_sources(
    worker: WorkerContext, claim: Claim, lease: Lease, sources: Sequence[Source], share: float
) -> ImportPlan:
    """Find the cases of all sources, in their order, by names and DICOM heads alone.

    Args:
        worker: the process.
        claim: of this start.
        lease: hears where the work stands.
        sources: of the version.
        share: of the whole work that this is.

    Raises:
        NoMountedDatasetsError, FolderOutsideMountError, FolderNotFoundError: of a folder.
        StoredFilesMissingError: an upload is not in storage.
        JobCancelledError, LeaseLostError: the work is no longer wanted here.
    """
    plans: list[ImportPlan] = []
    for place, source in enumerate(sources):
        watch = _watcher(lease, share * place / len(sources), share / len(sources))
        plans.append(_plan(worker, claim, source, watch))
    return merge_plans(plans)


Watch = Callable[[Sequence[SourceFile]], Iterable[SourceFile]]


def _plan(worker: WorkerContext, claim: Claim, source: Source, watch: Watch) -> ImportPlan:
    if source.kind is DatasetSourceKind.FOLDER:
        return plan_import_files(_mounted_files(worker.datasets_dir, source.content), watch)
    if source.kind is DatasetSourceKind.EDITED_RTSTRUCT:
        try:
            _collect_edited(worker, claim, source)
        except StoredFilesMissingError as error:
            return _refusal(source, error)
    folder = worker.storage.folder(StoredKind.DATASET_UPLOADS, source.id)
    return plan_import_files(_uploaded_files(folder), watch)


def _mounted_files(mount: Path | None, content: str) -> list[SourceFile]:
    """List files under their path below the mounted folder, so that every one has its own name."""
    folder = find_mounted_folder(mount, content)
    prefix = "" if folder.name == "." else f"{folder.name}/"
    return [
        SourceFile(path=file.path, name=_as_text(prefix + file.name))
        for file in list_source_files(folder.path)
    ]


def _as_text(name: str) -> str:
    """Return a name that can be written anywhere; a file system may hold bytes that are no text."""
    return name.encode("utf-8", "replace").decode("utf-8")


def _uploaded_files(folder: Path) -> list[SourceFile]:
    names = json.loads((folder / UPLOAD_NAMES_FILE).read_text(encoding="utf-8"))
    return [SourceFile(path=folder / path, name=name) for path, name in names.items()]


def _collect_edited(worker: WorkerContext, claim: Claim, source: Source) -> None:
    """Keep an edited RTSTRUCT and its series with the dataset, by links, like an upload.

    From then on the case stays, whenever series and RTSTRUCT are removed for their age.
    """
    if _is_stored(worker.storage, source.id):
        return
    edited_id = UUID(source.content)
    with worker.unit_of_work() as uow:
        job_id = uow.edited_rtstructs.get(edited_id).job_id
        series_id = uow.contour_jobs.get(job_id).series_id
    series = worker.storage.folder(StoredKind.SERIES, series_id)
    rtstruct = worker.storage.file(StoredKind.EDITED_RTSTRUCTS, edited_id, RTSTRUCT_NAME)
    with worker.storage.staging() as folder:
        try:
            _link(series, rtstruct, folder, f"{EDITED_NAME}/{edited_id}")
        except FileNotFoundError as error:  # removed at this moment
            raise StoredFilesMissingError(StoredKind.SERIES, series_id) from error
        worker.storage.flush(folder)
        with worker.unit_of_work() as uow:
            if not uow.leases.hold(claim):
                raise LeaseLostError
            # locked: whoever deletes it after this commit finds what was collected
            if uow.edited_rtstructs.get_locked(edited_id).purged_at is not None:
                raise StoredFilesMissingError(StoredKind.EDITED_RTSTRUCTS, edited_id)
            worker.storage.publish_once(StoredKind.DATASET_UPLOADS, folder, source.id)
            uow.commit()


def _is_stored(storage: Storage, source_id: UUID) -> bool:
    try:
        storage.folder(StoredKind.DATASET_UPLOADS, source_id)
    except StoredFilesMissingError:
        return False
    return True


def _link(series: Path, rtstruct: Path, folder: Path, name: str) -> None:
    os.link(rtstruct, folder / RTSTRUCT_NAME)
    names = {RTSTRUCT_NAME: f"{name}/{RTSTRUCT_NAME}"}
    (folder / "ct").mkdir()
    for image in sorted(series.glob("*.dcm")):  # a sealed original stays behind and goes with it
        path = f"ct/{image.name}"
        os.link(image, folder / path)
        names[path] = f"{name}/{path}"
    (folder / UPLOAD_NAMES_FILE).write_text(json.dumps(names), encoding="utf-8")


def _refusal(source: Source, error: StoredFilesMissingError) -> ImportPlan:
    refused = RefusedCandidate(
        name=f"{EDITED_NAME}/{source.content}",
        code=error.code,
        message="the edited RTSTRUCT or its CT series was removed before it was read",
        facts={"kind": error.kind},
    )
    return ImportPlan(candidates=(refused,), unreadable_files=(), skipped_files={})


def _watcher(lease: Lease, begin: float, share: float) -> Watch:
    def watch(files: Sequence[SourceFile]) -> Iterator[SourceFile]:
        for number, file in enumerate(files):
            if number % WATCHED_FILES == 0:
                lease.report(JobStage.READING, begin + share * number / len(files))
            yield file

    return watch
