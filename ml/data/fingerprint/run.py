"""Measuring a dataset case by case; what was measured before is not measured again."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ml.config import PreprocessingConfig
from ml.data.dataset import Dataset
from ml.data.fingerprint.case import CaseFingerprint, measure_case
from ml.data.pools import map_in_processes

VERSION = 1
"""Changes whenever the same case gives other numbers."""


def measure_dataset(
    dataset: Dataset, config: PreprocessingConfig, cache: Path, processes: int = 1
) -> Iterator[CaseFingerprint]:
    """Yield the cases of a dataset in order of their ids, one at a time in every worker.

    cache: lines of json, one a case; a stopped run goes on from there.
    """
    known = _read_cache(cache)
    facts = dataset.facts()
    keys = {f.case_id: _key(f.case_id, f.patient_id, f.sha256, config) for f in facts}
    jobs = [
        _Job(dataset=dataset, config=config, case_id=f.case_id)
        for f in facts
        if keys[f.case_id] not in known
    ]
    cache.parent.mkdir(parents=True, exist_ok=True)
    measured = _measured(jobs, processes)
    with cache.open("a", encoding="utf-8") as stream:
        for found in facts:
            key = keys[found.case_id]
            if key not in known:
                known[key] = next(measured)
                line = json.dumps({"key": key, "case": asdict(known[key])})
                stream.write(line + "\n")
                stream.flush()
            yield known[key]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    """One case for a worker process."""

    dataset: Dataset
    config: PreprocessingConfig
    case_id: str


def _measured(jobs: Sequence[_Job], processes: int) -> Iterator[CaseFingerprint]:
    return map_in_processes(_measure, jobs, processes)


def _measure(job: _Job) -> CaseFingerprint:
    return measure_case(job.dataset.read_case(job.case_id), job.dataset.structures, job.config)


def _key(case_id: str, patient_id: str, sha256: str, config: PreprocessingConfig) -> str:
    """Hash what a case's numbers depend on: of the configuration only the crop's size."""
    crop = (config.crop_size_px, config.pixel_spacing_mm)
    text = repr((VERSION, case_id, patient_id, sha256, crop))
    return hashlib.sha256(text.encode()).hexdigest()


def _read_cache(path: Path) -> dict[str, CaseFingerprint]:
    """Read what was measured before; a last line that was cut off is left out."""
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    whole, _, cut_off = text.rpartition("\n")
    if cut_off:
        path.write_text(whole + "\n" if whole else "", encoding="utf-8")
    lines = [json.loads(line) for line in whole.splitlines()]
    return {line["key"]: CaseFingerprint.from_dict(line["case"]) for line in lines}
