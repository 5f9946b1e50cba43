"""Importing a folder case by case: what is refused does not stop the rest."""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from ml.data.dataset import (
    CaseFacts,
    Dataset,
    LabelledCase,
    discard_unfinished_cases,
    remove_case,
    write_case,
)
from ml.data.importing.candidates import (
    Candidate,
    DicomCandidate,
    ReadableCandidate,
    RefusedCandidate,
    hash_files,
    refused,
)
from ml.data.importing.content import CaseContent
from ml.data.importing.dicom_case import read_dicom_case
from ml.data.importing.dicom_pairs import pair_structure_sets
from ml.data.importing.faults import raise_if_passing
from ml.data.importing.nifti_case import read_nifti_case
from ml.data.importing.nifti_pairs import is_nifti, pair_niftis
from ml.data.importing.refusals import CaseRefusedError, Facts, ImportRefusal, Note, NoteCode
from ml.data.importing.settings import ImportSettings
from ml.data.pools import map_in_processes
from ml.dicom.catalogue import catalogue
from ml.dicom.encoding import PARSE_ERRORS
from ml.dicom.errors import DicomError
from ml.dicom.files import SourceFile, list_source_files

_log = logging.getLogger(__name__)


class Status(StrEnum):
    """What became of a case."""

    IMPORTED = "imported"
    ALREADY_IMPORTED = "already_imported"
    REPLACED = "replaced"
    """A later case of the same CT series was taken in its place."""
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseOutcome:
    """One case of the report."""

    name: str
    """Where it was found: path of a structure set, image or folder."""
    status: Status
    case_id: str | None = None
    sha256: str | None = None
    code: str | None = None
    message: str | None = None
    facts: Facts = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    unmatched_names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportPlan:
    """What a folder, or several sources in order, offers."""

    candidates: tuple[Candidate, ...]
    unreadable_files: tuple[str, ...]
    skipped_files: dict[str, int]
    """Counts of files that play no part, by reason."""


def plan_import(
    folder: Path, watch: Callable[[Sequence[SourceFile]], Iterable[SourceFile]] = iter
) -> ImportPlan:
    """Find the cases of a folder by file names and DICOM heads alone.

    watch: goes through the files and may show progress.
    """
    return plan_import_files(list_source_files(folder), watch)


def plan_import_files(
    files: Sequence[SourceFile],
    watch: Callable[[Sequence[SourceFile]], Iterable[SourceFile]] = iter,
) -> ImportPlan:
    """Find the cases among files by their names and DICOM heads alone.

    Where the files lie plays no part for NIfTI, only their names do. Damaged files are counted to
    the CT series in the folder they lie in.

    watch: goes through the files and may show progress.
    """
    niftis = [file for file in files if is_nifti(file)]
    found = catalogue(watch([file for file in files if not is_nifti(file)]))
    pairs = (*pair_structure_sets(found), *pair_niftis(niftis))
    others = sum(not (found.is_ct or found.is_structure_set) for found in found.objects)
    return ImportPlan(
        candidates=tuple(sorted(pairs, key=lambda candidate: candidate.name)),
        unreadable_files=tuple(file.name for file in found.unreadable),
        skipped_files={"other_dicom_objects": others, "not_dicom": found.not_dicom},
    )


def merge_plans(plans: Sequence[ImportPlan]) -> ImportPlan:
    """Put the plans of several sources into one, in their order.

    Of several cases of one CT series, or NIfTI cases of one name, the last that can be imported
    is; so an edited structure set takes the place of the earlier one. NIfTI cases of different
    sources must therefore have names of their own.
    """
    skipped: Counter[str] = Counter()
    for plan in plans:
        skipped.update(plan.skipped_files)
    return ImportPlan(
        candidates=tuple(candidate for plan in plans for candidate in plan.candidates),
        unreadable_files=tuple(name for plan in plans for name in plan.unreadable_files),
        skipped_files=dict(skipped),
    )


def planned_case_ids(plan: ImportPlan, settings: ImportSettings) -> set[str]:
    """Return the ids under which the cases of a plan are, or would be, in a dataset.

    What a dataset has beside them can be forgotten before the import. Otherwise a case that equals
    one of another name would be refused in its favour.
    """
    return {
        _case_id(candidate, settings)
        for candidate in plan.candidates
        if not isinstance(candidate, RefusedCandidate)
    }


def import_cases(
    plan: ImportPlan, dataset: Dataset, settings: ImportSettings, processes: int = 1
) -> Iterator[CaseOutcome]:
    """Import the cases of a plan and yield what became of them in its order.

    A case is in the dataset as a whole or not at all, so that a stopped import is continued by
    running it again: what has the same files and settings is not read twice. Of several cases of
    one CT series the last that can be imported is; those before it are not even read.

    Raises:
        OSError: the dataset cannot be written, or a source not be read now.
    """
    discard_unfinished_cases(dataset)
    facts = dataset.facts()
    known = {f.source["source_sha256"]: f for f in facts if "source_sha256" in f.source}
    owners = {f.sha256: f.case_id for f in facts}
    groups = _group_by_identity(plan.candidates)
    tasks = [
        _Task(
            candidates=tuple(plan.candidates[place] for place in group),
            dataset=dataset,
            settings=settings,
            known=known,
        )
        for group in groups
    ]
    seen: set[str] = set()
    waiting: dict[int, CaseOutcome] = {}
    due = 0
    for group, outcomes in zip(groups, _outcomes(tasks, processes), strict=True):
        for place, outcome in zip(group, outcomes, strict=True):
            waiting[place] = _without_twin(outcome, dataset, owners, seen)
        while due in waiting:
            yield waiting.pop(due)
            due += 1


@dataclass(frozen=True, kw_only=True, slots=True)
class _Task:
    """The candidates of one case for a worker process, in the order of the plan."""

    candidates: tuple[Candidate, ...]
    dataset: Dataset
    settings: ImportSettings
    known: dict[str, CaseFacts]
    """The dataset's cases by the hash of what they were read from."""


def _group_by_identity(candidates: Sequence[Candidate]) -> list[list[int]]:
    """Return the places of the candidates of each case, in the order of their first."""
    groups: dict[str | int, list[int]] = {}
    for place, candidate in enumerate(candidates):
        is_refused = isinstance(candidate, RefusedCandidate)
        groups.setdefault(place if is_refused else candidate.identity, []).append(place)
    return list(groups.values())


def _outcomes(tasks: Sequence[_Task], processes: int) -> Iterator[list[CaseOutcome]]:
    return map_in_processes(_import_last, tasks, processes)


def _import_last(task: _Task) -> list[CaseOutcome]:
    """Import the last candidate that can be; those before it are replaced, later ones refused."""
    outcomes: list[CaseOutcome] = []
    successor: CaseOutcome | None = None
    for candidate in reversed(task.candidates):
        if successor is not None:
            outcomes.append(_replaced(candidate, successor))
            continue
        outcome = _import_case(candidate, task)
        outcomes.append(outcome)
        if outcome.status is not Status.REFUSED:
            successor = outcome
    return outcomes[::-1]


def _import_case(candidate: Candidate, task: _Task) -> CaseOutcome:
    if isinstance(candidate, RefusedCandidate):
        return _refused(candidate)
    try:
        source_sha256 = _source_sha256(candidate, task.settings)
        if source_sha256 in task.known:
            return _already_imported(candidate.name, task.known[source_sha256])
        content = _read(candidate, task.settings)
    except (CaseRefusedError, DicomError) as error:
        return _refused(refused(candidate.name, error))
    except (OSError, *PARSE_ERRORS) as error:
        raise_if_passing(error)
        # its name and the error's text may name a patient: they stand in the outcome
        _log.warning("a case is unreadable: %s", type(error).__name__)
        message = f"the case cannot be read: {type(error).__name__}: {error}"
        refusal = CaseRefusedError(ImportRefusal.UNREADABLE, message)
        return _refused(refused(candidate.name, refusal))
    return _write(candidate, content, source_sha256, task)


def _replaced(candidate: Candidate, successor: CaseOutcome) -> CaseOutcome:
    return CaseOutcome(
        name=candidate.name,
        status=Status.REPLACED,
        message=f"{successor.name} was taken in its place",
        facts={"successor": successor.name},
    )


def _already_imported(name: str, facts: CaseFacts) -> CaseOutcome:
    notes = (Note(**{**note, "code": NoteCode(note["code"])}) for note in facts.source["notes"])
    return CaseOutcome(
        name=name, status=Status.ALREADY_IMPORTED, case_id=facts.case_id, notes=tuple(notes)
    )


def _read(candidate: ReadableCandidate, settings: ImportSettings) -> CaseContent:
    if isinstance(candidate, DicomCandidate):
        return read_dicom_case(candidate, settings)
    return read_nifti_case(candidate, settings)


def _write(
    candidate: ReadableCandidate, content: CaseContent, source_sha256: str, task: _Task
) -> CaseOutcome:
    names, pseudonyms = task.settings.names, task.settings.pseudonyms
    patient_id = names.find_patient(candidate.name) or candidate.patient_id
    notes = [asdict(note) for note in content.notes]
    case = LabelledCase(
        case_id=_case_id(candidate, task.settings),
        patient_id=pseudonyms.patient(patient_id),
        volume=content.volume,
        labels=content.labels,
        source={**content.source, "notes": notes, "source_sha256": source_sha256},
    )
    facts = write_case(task.dataset, case)
    return CaseOutcome(
        name=candidate.name,
        status=Status.IMPORTED,
        case_id=case.case_id,
        sha256=facts.sha256,
        notes=content.notes,
        unmatched_names=content.unmatched_names,
    )


def _case_id(candidate: ReadableCandidate, settings: ImportSettings) -> str:
    return settings.pseudonyms.case(candidate.identity, candidate.own_name)


def _without_twin(
    outcome: CaseOutcome, dataset: Dataset, owners: dict[str, str], seen: set[str]
) -> CaseOutcome:
    """Take a case out again that equals another one in the dataset; the first stays."""
    case_id, twin = outcome.case_id, None
    if outcome.status is Status.ALREADY_IMPORTED and case_id in seen:
        twin = case_id
    elif outcome.sha256 is not None and case_id is not None:
        for sha256 in [sha256 for sha256, owner in owners.items() if owner == case_id]:
            del owners[sha256]
        twin = owners.setdefault(outcome.sha256, case_id)
        if twin == case_id:
            return outcome
        remove_case(dataset, case_id)
    if twin is None:
        return outcome
    message = f"image and labels are those of {twin}"
    error = CaseRefusedError(ImportRefusal.DUPLICATE_CASE, message, {"case_id": twin})
    return _refused(refused(outcome.name, error))


def _source_sha256(candidate: ReadableCandidate, settings: ImportSettings) -> str:
    text = f"{hash_files(candidate.files)}/{settings.fingerprint()}"
    return hashlib.sha256(text.encode()).hexdigest()


def _refused(candidate: RefusedCandidate) -> CaseOutcome:
    return CaseOutcome(
        name=candidate.name,
        status=Status.REFUSED,
        code=candidate.code,
        message=candidate.message,
        facts=candidate.facts,
    )
