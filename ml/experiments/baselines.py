"""What guessing reaches: three baselines without a network, scored like the networks."""

from pathlib import Path

from ml.config import PreprocessingConfig
from ml.data.dataset import Dataset
from ml.evaluation.baselines import INTENSITY, NEAREST, POSITION, fit_baselines
from ml.evaluation.evaluate import evaluate_dataset
from ml.evaluation.rows import CaseScore, RunLabel, read_rows, write_rows

BASELINE_LABELS = {
    "baseline-position": POSITION,
    "baseline-intensity": INTENSITY,
    "baseline-nearest": NEAREST,
}


def score_baselines(
    dataset: Dataset,
    training: tuple[str, ...],
    test: tuple[str, ...],
    config: PreprocessingConfig,
    path: Path,
) -> list[CaseScore]:
    """Fit the baselines on training cases and score them on test cases, or read the rows."""
    if path.exists():
        return read_rows(path)
    fitted = fit_baselines(dataset.read_cases(training), config, dataset.structures)
    rows: list[CaseScore] = []
    for label, name in BASELINE_LABELS.items():
        run = RunLabel(run=label, part="test")
        rows += evaluate_dataset(fitted[name], dataset, test, run)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_rows(path, rows)
    return rows
