"""Cached patients of a few small slices."""

import numpy as np

from ml.config import (
    LossConfig,
    LossName,
    NetworkConfig,
    OptimizerName,
    Precision,
    PreprocessingConfig,
    RunConfig,
    ScheduleName,
    TrainingConfig,
)
from ml.data.cases import Case


def make_case(seed: int = 0, slices: int = 4, size: int = 64) -> Case:
    """Make a patient with four bright squares; the first slice shows no structure."""
    rng = np.random.default_rng(seed)
    hu = rng.integers(-30, -10, (slices, size, size)).astype(np.int16)
    labels = np.zeros((slices, size, size), np.uint8)
    for number in range(1, 5):
        row = size // 8 + (size // 2) * (number // 3)
        column = size // 8 + (size // 2) * (number % 2)
        part = np.s_[1:, row : row + size // 4, column : column + size // 4]
        labels[part] = number
        hu[part] = 95 * number - 200
    return Case(
        case_id=f"case-{seed}",
        patient_id=f"patient-{seed}",
        source_sha256=f"{seed:064x}",
        hu=hu,
        labels=labels,
        spacing_mm=(5.0, 2.0, 2.0),
        lost_label_voxels=0,
    )


def tiny_run(**training) -> RunConfig:
    """Make a configuration that trains in seconds."""
    values = {
        "optimizer": OptimizerName.ADAMW,
        "learning_rate": 3e-3,
        "schedule": ScheduleName.COSINE,
        "batch_size": 2,
        "max_epochs": 4,
        "patience": 10,
        "precision": Precision.FLOAT32,
    }
    return RunConfig(
        preprocessing=PreprocessingConfig(crop_size_px=64, pixel_spacing_mm=2.0),
        network=NetworkConfig(width=0.125),
        loss=LossConfig(name=LossName.CE_DICE),
        training=TrainingConfig(**(values | training)),
    )
