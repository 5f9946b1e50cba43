"""One dataset version: its sources read into a folder of cases, dealt, described and frozen."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from uuid import UUID

from ml.data.dataset import Dataset, create_dataset, forget_cases, open_dataset
from ml.data.importing.run import (
    CaseOutcome,
    ImportPlan,
    Status,
    import_cases,
    planned_case_ids,
)
from ml.data.importing.settings import ImportSettings
from ml.data.splits import PARTS, Split, extend_split, split_patients
from ml.data.version import DatasetVersionFacts, describe_version
from ml.name_map import parse_mapping
from ml.pseudonyms import KeyChangedError, KeyFile, KeyFileError, KeyMissingError, Pseudonyms
from ml.structures import structure_set
from ml.whole_files import write_whole
from services.core.disk import storage_error
from services.core.errors import (
    PrivateKeyChangedError,
    PrivateKeyMissingError,
    ServiceError,
    StoredFilesMissingError,
)
from services.core.lifecycle import CasePart, JobStage
from services.core.repositories.leases import Claim
from services.core.storage import Storage, StoredKind
from services.core.tables.datasets import DatasetCase
from services.core.tables.leased import Json
from services.core.unit_of_work import UnitOfWork
from services.worker.case_rows import VersionContent, case_rows, source_of
from services.worker.context import WorkerContext
from services.worker.dataset_sources import Source, plan_sources
from services.worker.lease import Lease, LeaseLostError
from services.worker.leased_work import finish

READING_SHARE = 0.1
IMPORTING_SHARE = 0.8
"""Rough shares of the work: heads of all files, cases; describing and publishing is the rest."""

DATASET_FOLDER = "dataset"
NAMES_FOLDER = "unmatched-names"
"""In the workspace; of cases read by this start or an earlier one, which datasets do not hold."""


class NoCaseImportedError(ServiceError):
    """Every candidate was refused, or there was none; the rows of the cases tell why."""

    code = "no_case_imported"

    def __init__(self, refused_count: int) -> None:
        super().__init__(
            f"none of {refused_count} candidates could be imported", refused_count=refused_count
        )
        self.refused_count = refused_count


class PseudonymKeyInvalidError(ServiceError):
    """The file that should hold the key of the pseudonyms does not."""

    code = "pseudonym_key_invalid"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Order:
    """What is to be read, and how."""

    version_id: UUID
    name: str
    structure_set: str
    request: Json
    previous_id: UUID | None
    """Version whose files are in storage and which this one begins with."""
    last_parts: Mapping[str, CasePart]
    """By patient, over the versions before."""
    unmatched_names: Mapping[str, Sequence[str]]
    """By case of the previous version."""

    @classmethod
    def read(cls, worker: WorkerContext, claim: Claim) -> Self:
        """Gather it from the rows."""
        with worker.unit_of_work() as uow:
            version = uow.dataset_versions.get(claim.resource_id)
            dataset = uow.datasets.get(version.dataset_id)
            previous = uow.dataset_versions.find_last_stored(version.dataset_id)
            keeps = version.request["split"]["keep_previous"]
            return cls(
                version_id=version.id,
                name=f"{dataset.name} {version.number}",
                structure_set=version.structure_set,
                request=version.request,
                previous_id=None if previous is None else previous.id,
                last_parts=uow.dataset_cases.last_parts(version.dataset_id) if keeps else {},
                unmatched_names=(
                    {} if previous is None else uow.dataset_cases.unmatched_names(previous.id)
                ),
            )


def index_dataset_version(worker: WorkerContext, claim: Claim, lease: Lease) -> None:
    """Read the sources of a version and freeze what could be imported.

    Raises:
        NoCaseImportedError: nothing could; the rows of the cases are kept.
        ServiceError: a source is gone, or the storage cannot be written.
        JobCancelledError, LeaseLostError: the version is no longer wanted here.
    """
    try:
        _index(worker, claim, lease, _Order.read(worker, claim))
    except OSError as error:
        raise storage_error(error) from error


def _index(worker: WorkerContext, claim: Claim, lease: Lease, order: _Order) -> None:
    storage = worker.storage
    settings = _settings(worker, order)
    sources = [Source.from_json(values) for values in order.request["sources"]]
    plan = plan_sources(worker, claim, lease, sources, READING_SHARE)
    workspace = storage.workspace(order.version_id, claim.fencing_token)
    previous = _stored_folder(storage, order.previous_id)
    dataset = _open(workspace / DATASET_FOLDER, previous, order)
    outcomes = _import(plan, dataset, settings, lease, workspace / NAMES_FOLDER)
    lease.report(JobStage.WRITING, READING_SHARE + IMPORTING_SHARE)
    refused_count = sum(outcome.status is Status.REFUSED for outcome in outcomes)
    if not dataset.facts():
        _keep_rows(worker, claim, refused_count, case_rows(order.version_id, outcomes, None))
        storage.delete(StoredKind.WORKSPACES, order.version_id)
        raise NoCaseImportedError(refused_count)
    split = _deal(dataset, order)
    described = describe_version(dataset.with_split(split))
    content = VersionContent(
        facts={facts.case_id: facts for facts in dataset.facts()},
        labels={labels.case_id: labels for labels in described.cases},
        split=split,
        previous=_sources_of_cases(previous),
        unmatched_names={**order.unmatched_names, **_noted_names(workspace / NAMES_FOLDER)},
    )
    rows = case_rows(order.version_id, outcomes, content)
    lease.check()
    with storage.staging() as staging:
        # links, so that a start after this one still finds the workspace if the commit fails
        frozen = shutil.copytree(dataset.folder, staging / "frozen", copy_function=os.link)
        storage.flush(frozen)
        finish(
            worker,
            claim,
            _outcome(described, refused_count),
            lambda uow: _publish(storage, uow, order.version_id, frozen, rows),
        )
    storage.delete(StoredKind.WORKSPACES, order.version_id)


def _settings(worker: WorkerContext, order: _Order) -> ImportSettings:
    request = order.request
    path = worker.storage.pseudonym_key_path()
    try:
        key = KeyFile(path=path, note=worker.storage.key_note_path(path)).ensure(
            lambda: _has_pseudonyms(worker)
        )
    except KeyMissingError as error:
        raise PrivateKeyMissingError(path.name) from error
    except KeyChangedError as error:
        raise PrivateKeyChangedError(path.name) from error
    except KeyFileError as error:
        raise PseudonymKeyInvalidError("the key of the pseudonyms cannot be read") from error
    return ImportSettings(
        pseudonyms=Pseudonyms(key=key),
        names=parse_mapping(request["mapping"], structure_set(order.structure_set)),
        overlap_limit=None if request["allow_overlap"] else request["overlap_limit"],
        allows_missing=request["allow_missing"],
        allows_orphans=request["allow_orphans"],
    )


def _has_pseudonyms(worker: WorkerContext) -> bool:
    with worker.unit_of_work() as uow:
        return uow.series.has_deidentified() or uow.dataset_cases.has_patients()


def _stored_folder(storage: Storage, version_id: UUID | None) -> Path | None:
    if version_id is None:
        return None
    try:
        return storage.folder(StoredKind.DATASETS, version_id)
    except StoredFilesMissingError:
        return None  # its cases are read again, then


def _open(folder: Path, previous: Path | None, order: _Order) -> Dataset:
    """Return the dataset that is worked on; it begins as links to the files of the one before."""
    if previous is not None and not folder.exists():
        unfinished = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(previous, unfinished, copy_function=os.link)
        unfinished.rename(folder)
    return create_dataset(folder, order.name, order.structure_set)


def _import(
    plan: ImportPlan, dataset: Dataset, settings: ImportSettings, lease: Lease, names_folder: Path
) -> list[CaseOutcome]:
    """Import what is new or changed, and take out what no source names any more."""
    forget_cases(dataset, planned_case_ids(plan, settings))
    lease.report(JobStage.IMPORTING, READING_SHARE)
    outcomes: list[CaseOutcome] = []
    for outcome in import_cases(plan, dataset, settings):
        if outcome.status is Status.IMPORTED:
            _note_names(names_folder, outcome)
        outcomes.append(outcome)
        done = len(outcomes) / len(plan.candidates)
        lease.report(JobStage.IMPORTING, READING_SHARE + IMPORTING_SHARE * done)
    imported = {o.case_id for o in outcomes if o.case_id is not None}
    forget_cases(dataset, imported)
    return outcomes


def _note_names(folder: Path, outcome: CaseOutcome) -> None:
    folder.mkdir(exist_ok=True)
    write_whole(folder / f"{outcome.case_id}.json", json.dumps(outcome.unmatched_names))


def _noted_names(folder: Path) -> dict[str, list[str]]:
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


def _deal(dataset: Dataset, order: _Order) -> Split:
    asked = order.request["split"]
    first, second, third = asked["proportions"]
    patients = sorted({facts.patient_id for facts in dataset.facts()})
    dealing = {"seed": asked["seed"], "proportions": (first, second, third)}
    if not order.last_parts:
        return split_patients(patients, **dealing)
    parts = {
        part: tuple(p for p, last in order.last_parts.items() if last.value == part)
        for part in PARTS
    }
    return extend_split(Split(**parts, seed=asked["seed"]), patients, **dealing)


def _sources_of_cases(folder: Path | None) -> dict[str, str]:
    """Return, by case, the hash of what the cases of a version were read from."""
    cases = [] if folder is None else open_dataset(folder).facts()
    return {facts.case_id: source_of(facts) for facts in cases}


def _outcome(described: DatasetVersionFacts, refused_count: int) -> Json:
    facts = json.loads(json.dumps(described.to_dict()))
    del facts["cases"]  # they have rows of their own
    return {
        "content_sha256": facts.pop("content_sha256"),
        "facts": facts,
        "case_count": len(described.cases),
        "refused_count": refused_count,
    }


def _keep_rows(
    worker: WorkerContext, claim: Claim, refused_count: int, rows: list[DatasetCase]
) -> None:
    with worker.unit_of_work() as uow:
        if not uow.leases.hold(claim):
            raise LeaseLostError
        version = uow.dataset_versions.get(claim.resource_id)
        version.case_count, version.refused_count = 0, refused_count
        uow.dataset_cases.replace(claim.resource_id, rows)
        uow.commit()


def _publish(
    storage: Storage, uow: UnitOfWork, version_id: UUID, folder: Path, rows: list[DatasetCase]
) -> None:
    uow.dataset_cases.replace(version_id, rows)
    storage.publish(StoredKind.DATASETS, folder, version_id)
