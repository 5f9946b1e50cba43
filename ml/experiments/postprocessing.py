"""The postprocessing of finished weights, chosen on validation cases."""

from collections.abc import Sequence
from pathlib import Path

from ml.checkpoint import load_checkpoint
from ml.config import PostprocessingConfig
from ml.data.dataset import Dataset
from ml.evaluation.selection import select_postprocessing, validation_case
from ml.inference.predictor import Predictor


def choose_postprocessing(
    checkpoint: Path, dataset: Dataset, case_ids: Sequence[str]
) -> PostprocessingConfig:
    """Contour the cases once and choose what makes of the answers the best contours."""
    predictor = Predictor(load_checkpoint(checkpoint))
    cases = [validation_case(predictor, case) for case in dataset.read_cases(case_ids)]
    return select_postprocessing(cases, dataset.structures)
