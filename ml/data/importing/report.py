"""What an import did, for programs and for people.

The report names the files that were read, and so perhaps patients: it stays with the researcher
and is never written into the dataset.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ml.data.importing.run import CaseOutcome, ImportPlan, Status
from ml.whole_files import write_whole

FORMAT = 1
JSON_NAME = "import-report.json"
TEXT_NAME = "import-report.md"
_IN_DATASET = (Status.IMPORTED, Status.ALREADY_IMPORTED)
SHOWN_NAMES = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportReport:
    """All outcomes of one import, and what else lay in the folder."""

    plan: ImportPlan
    outcomes: tuple[CaseOutcome, ...]
    other_cases: tuple[str, ...]
    """Cases of the dataset that this import neither wrote nor found again."""

    def count(self, status: Status) -> int:
        """Count the cases of a status."""
        return sum(outcome.status is status for outcome in self.outcomes)

    @property
    def unmatched_names(self) -> Counter[str]:
        """Names of regions that mean no structure, by the number of cases."""
        return Counter(name for o in self.outcomes for name in set(o.unmatched_names))

    def to_dict(self) -> dict[str, Any]:  # Any: json
        """Return plain json types."""
        return {
            "format": FORMAT,
            "counts": {status.value: self.count(status) for status in Status},
            "cases": [asdict(outcome) for outcome in self.outcomes],
            "unmatched_names": dict(self.unmatched_names.most_common()),
            "unreadable_files": list(self.plan.unreadable_files),
            "skipped_files": self.plan.skipped_files,
            "other_cases_of_the_dataset": list(self.other_cases),
        }


def write_report(report: ImportReport, folder: Path) -> None:
    """Write import-report.json and import-report.md."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        (JSON_NAME, json.dumps(report.to_dict(), indent=1, ensure_ascii=False) + "\n"),
        (TEXT_NAME, _markdown(report)),
    ):
        write_whole(folder / name, text)


def _markdown(report: ImportReport) -> str:
    counts = ", ".join(f"{report.count(s)} {s.value.replace('_', ' ')}" for s in Status)
    lines = ["# Import", "", f"{counts}.", ""]
    lines += _refusals([o for o in report.outcomes if o.status is Status.REFUSED])
    lines += _notes([o for o in report.outcomes if o.notes])
    lines += _imported([o for o in report.outcomes if o.status in _IN_DATASET])
    lines += _replaced([o for o in report.outcomes if o.status is Status.REPLACED])
    lines += _names(report.unmatched_names)
    if report.plan.unreadable_files:
        lines += ["## Files that cannot be read as DICOM", ""]
        lines += [f"- {_cell(name)}" for name in report.plan.unreadable_files] + [""]
    if report.other_cases:
        lines += ["## Further cases of the dataset", ""]
        lines += ["This import neither wrote them nor found them again.", ""]
        lines += [f"- {case_id}" for case_id in report.other_cases] + [""]
    return "\n".join(lines)


def _refusals(outcomes: Sequence[CaseOutcome]) -> list[str]:
    if not outcomes:
        return []
    codes = Counter(outcome.code for outcome in outcomes)
    lines = ["## Refused", "", "| reason | cases |", "| --- | ---: |"]
    lines += [f"| {code} | {count} |" for code, count in codes.most_common()]
    lines += ["", "| found at | reason | what it means |", "| --- | --- | --- |"]
    lines += [f"| {_cell(o.name)} | {o.code} | {_cell(o.message or '')} |" for o in outcomes]
    return [*lines, ""]


def _notes(outcomes: Sequence[CaseOutcome]) -> list[str]:
    if not outcomes:
        return []
    lines = ["## To be looked at", "", "| case | what | facts |", "| --- | --- | --- |"]
    lines += [
        f"| {o.case_id} | {_cell(note.message)} | {_cell(json.dumps(note.facts))} |"
        for o in outcomes
        for note in o.notes
    ]
    return [*lines, ""]


def _imported(outcomes: Sequence[CaseOutcome]) -> list[str]:
    if not outcomes:
        return []
    lines = ["## In the dataset", "", "| case | found at | |", "| --- | --- | --- |"]
    lines += [
        f"| {o.case_id} | {_cell(o.name)} | {o.status.value.replace('_', ' ')} |" for o in outcomes
    ]
    return [*lines, ""]


def _replaced(outcomes: Sequence[CaseOutcome]) -> list[str]:
    if not outcomes:
        return []
    lines = ["## Replaced by a later case of the same CT", ""]
    lines += ["| found at | replaced by |", "| --- | --- |"]
    lines += [f"| {_cell(o.name)} | {_cell(o.facts['successor'])} |" for o in outcomes]
    return [*lines, ""]


def _names(names: Counter[str]) -> list[str]:
    if not names:
        return []
    lines = ["## Names that mean no structure", "", "| name | cases |", "| --- | ---: |"]
    lines += [f"| {_cell(name)} | {count} |" for name, count in names.most_common(SHOWN_NAMES)]
    if len(names) > SHOWN_NAMES:
        lines.append(f"| and {len(names) - SHOWN_NAMES} more | |")
    return [*lines, ""]


def _cell(text: str) -> str:
    """Keep foreign text from breaking a table."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
