"""Finished runs against cases with known truth: rows for every table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ml.checkpoint import load_checkpoint
from ml.config import PostprocessingConfig
from ml.data.dataset import Dataset
from ml.data.pools import map_in_processes, share_of_cores
from ml.evaluation.evaluate import evaluate_dataset, predict_labels
from ml.evaluation.rows import CaseScore, RunLabel, read_rows, write_rows
from ml.inference.predictor import Predictor


@dataclass(frozen=True, kw_only=True, slots=True)
class Assessment:
    """One set of weights, or several as an ensemble, on several parts of a dataset."""

    label: str
    seed: int
    checkpoints: tuple[Path, ...]
    parts: Mapping[str, tuple[str, ...]]
    """Ids of the cases by the name of the part."""
    postprocessing: PostprocessingConfig | None = None
    """Instead of the checkpoints' own."""

    @property
    def file_name(self) -> str:
        """Where its rows go."""
        return f"{self.label}-s{self.seed}.csv"


def assess(assessment: Assessment, dataset: Dataset, folder: Path) -> list[CaseScore]:
    """Contour and score all cases, or read the rows if they are there already."""
    path = folder / assessment.file_name
    if path.exists():
        return read_rows(path)
    checkpoints = [load_checkpoint(path) for path in assessment.checkpoints]
    predict = predict_labels(Predictor(checkpoints, postprocessing=assessment.postprocessing))
    rows: list[CaseScore] = []
    for part, case_ids in assessment.parts.items():
        label = RunLabel(run=assessment.label, seed=assessment.seed, part=part)
        rows += evaluate_dataset(predict, dataset, case_ids, label)
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(path, rows)
    return rows


def assess_all(
    assessments: Sequence[Assessment], dataset: Dataset, folder: Path, processes: int
) -> list[CaseScore]:
    """Assess in several processes; rows come back in the order of the assessments."""
    score = partial(assess, dataset=dataset, folder=folder)
    threads = share_of_cores(processes)
    found = map_in_processes(score, assessments, processes, threads=threads)
    return [row for rows in found for row in rows]
