"""What became of candidates, as rows of a dataset version."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from ml.data.dataset import CaseFacts
from ml.data.importing.run import CaseOutcome, Status
from ml.data.splits import PARTS, Split
from ml.data.version import CaseLabelFacts
from services.core.lifecycle import CasePart, CaseStatus
from services.core.tables.datasets import DatasetCase
from services.core.tables.leased import Json

MAX_NAME_LENGTH = 1024
"""Characters that the column holds; of a longer path the end counts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionContent:
    """What is known of the cases of a version and of the one before."""

    facts: Mapping[str, CaseFacts]
    """By case."""
    labels: Mapping[str, CaseLabelFacts]
    """By case."""
    split: Split
    previous: Mapping[str, str]
    """What the cases of the version before were read from, by case."""
    unmatched_names: Mapping[str, Sequence[str]]
    """By case, for those that were not read anew."""


def case_rows(
    version_id: UUID, outcomes: Sequence[CaseOutcome], content: VersionContent | None
) -> list[DatasetCase]:
    """Return a row for every outcome, in their order; content: None where nothing was imported."""
    return [
        _row(version_id, position, outcome, content) for position, outcome in enumerate(outcomes)
    ]


def source_of(facts: CaseFacts) -> str:
    """Return the hash of what a case was read from, and how."""
    return facts.source["source_sha256"]


def _row(
    version_id: UUID, position: int, outcome: CaseOutcome, content: VersionContent | None
) -> DatasetCase:
    row = DatasetCase(
        version_id=version_id,
        position=position,
        name=_safe_text(outcome.name)[-MAX_NAME_LENGTH:],
        status=CaseStatus(outcome.status.value),
        code=outcome.code,
        message=None if outcome.message is None else _safe_text(outcome.message),
        facts=_safe(outcome.facts),
        notes=[_safe(asdict(note)) for note in outcome.notes],
        unmatched_names=_safe(list(outcome.unmatched_names)),
    )
    is_case = outcome.status in (Status.IMPORTED, Status.ALREADY_IMPORTED)
    if is_case and outcome.case_id is not None and content is not None:
        _describe(row, outcome.case_id, content)
    return row


def _describe(row: DatasetCase, case_id: str, content: VersionContent) -> None:
    """Say what an imported case holds, and whether it is new to the dataset.

    A start that goes on where another was killed finds cases that are new all the same.
    """
    facts, labels = content.facts[case_id], content.labels[case_id]
    is_known = content.previous.get(case_id) == source_of(facts)
    row.status = CaseStatus.ALREADY_IMPORTED if is_known else CaseStatus.IMPORTED
    row.case_id, row.patient = case_id, facts.patient_id
    row.part = next(CasePart(p) for p in PARTS if facts.patient_id in getattr(content.split, p))
    row.facts = _label_facts(labels)
    if not row.unmatched_names:
        row.unmatched_names = list(content.unmatched_names.get(case_id, ()))


def _label_facts(labels: CaseLabelFacts) -> Json:
    return {
        "slices": labels.slices,
        "labelled_slices": labels.labelled_slices,
        "structures": {name: asdict(shown) for name, shown in labels.structures.items()},
    }


def _safe(value: Any) -> Any:  # noqa: ANN401 (nested json values)
    """Return json values that every database keeps: finite numbers, printable text."""
    if isinstance(value, str):
        return _safe_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {_safe_text(str(key)): _safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_safe(item) for item in value]
    return value


def _safe_text(text: str) -> str:
    readable = text.encode("utf-8", "replace").decode("utf-8")
    return readable.replace("\0", "\N{REPLACEMENT CHARACTER}")
