"""A dataset's fingerprint, for programs and for people."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ml.config import PreprocessingConfig
from ml.data.dataset import Dataset
from ml.data.fingerprint.case import CaseFingerprint
from ml.data.fingerprint.summary import OUTLIER_Z, Flag, find_flags, summarize
from ml.whole_files import write_whole

FORMAT = 1
JSON_NAME = "fingerprint.json"
TEXT_NAME = "fingerprint.md"


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetFingerprint:
    """A dataset's cases, their spread, and what asks for a look."""

    name: str
    crop_size_px: int
    pixel_spacing_mm: float
    summary: dict[str, Any]  # Any: json
    flags: tuple[Flag, ...]
    cases: tuple[CaseFingerprint, ...]


def describe_dataset(
    dataset: Dataset, cases: Sequence[CaseFingerprint], config: PreprocessingConfig
) -> DatasetFingerprint:
    """Put the cases together."""
    return DatasetFingerprint(
        name=dataset.name,
        crop_size_px=config.crop_size_px,
        pixel_spacing_mm=config.pixel_spacing_mm,
        summary=summarize(cases, dataset.structures),
        flags=tuple(find_flags(cases, dataset.structures)),
        cases=tuple(cases),
    )


def write_fingerprint(found: DatasetFingerprint, folder: Path) -> None:
    """Write fingerprint.json and fingerprint.md."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"format": FORMAT, **asdict(found)}, indent=1) + "\n"
    for name, content in ((JSON_NAME, text), (TEXT_NAME, _markdown(found))):
        write_whole(folder / name, content)


def _markdown(found: DatasetFingerprint) -> str:
    summary = found.summary
    span_mm = found.crop_size_px * found.pixel_spacing_mm
    lines = [f"# {found.name}", ""]
    lines += [f"{summary['cases']} cases of {summary['patients']} patients.", ""]
    lines += ["| structure | cases | voxels outside the crop |", "| --- | ---: | ---: |"]
    lines += [
        f"| {name} | {count} | {summary['voxels_outside_crop'][name]} |"
        for name, count in summary["cases_with"].items()
    ]
    lines += ["", f"The crop is a square of {span_mm:.0f} mm around the body's centre.", ""]
    lines += _table(
        "Body HU", [(f"{p['percentile']} %", p) for p in summary["body_hu_percentiles"]]
    )
    lines += _table("Spread over the cases", list(summary["quantities"].items()))
    return "\n".join([*lines, *_flag_lines(found.flags)])


def _table(title: str, rows: Sequence[tuple[str, dict[str, float | int]]]) -> list[str]:
    columns = ("min", "p25", "median", "p75", "max")
    lines = [f"## {title}", "", f"| | {' | '.join(columns)} |", "| --- |" + " ---: |" * 5]
    for name, spread in rows:
        numbers = [f"{spread[column]:g}" if column in spread else "" for column in columns]
        lines.append(f"| {name} | {' | '.join(numbers)} |")
    return [*lines, ""]


def _flag_lines(flags: Sequence[Flag]) -> list[str]:
    lines = ["## To be looked at", ""]
    if not flags:
        return [*lines, "Nothing.", ""]
    counts = Counter(flag.finding.value for flag in flags)
    lines += [", ".join(f"{count} {name}" for name, count in counts.most_common()) + "."]
    lines += [f"Outliers lie more than {OUTLIER_Z} robust standard deviations from the median.", ""]
    lines += ["| finding | cases | facts |", "| --- | --- | --- |"]
    for flag in flags:
        facts = ", ".join(f"{key} {value}" for key, value in flag.facts.items())
        lines.append(f"| {flag.finding} | {', '.join(flag.case_ids)} | {facts} |")
    return [*lines, ""]
