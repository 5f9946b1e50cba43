"""Finds the demonstration weights: `python -m ml.training.demo_weights all --folder var/demo`.

Stages: `cohort` generates and caches the synthetic patients, `train` trains (and resumes),
`ship` measures the best weights so far on unseen seeds and writes weights and card, `all` does
these in turn.
"""

import argparse
import logging
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path

import torch

from ml.checkpoint import Checkpoint, CheckpointCard, demo_weights_path, save_checkpoint
from ml.config import (
    NetworkConfig,
    OptimizerName,
    Precision,
    PreprocessingConfig,
    RunConfig,
    ScheduleName,
    TrainingConfig,
)
from ml.data.cases import Case
from ml.evaluation.evaluate import evaluate_phantoms
from ml.evaluation.statistics import summarize
from ml.phantom.cohort import GENERATOR_VERSION, PhantomSpec
from ml.structures import CERVIX
from ml.training.demo_cohort import DemoCohort, cache_phantoms, coarsen_phantoms
from ml.training.loop import TrainingData, train
from ml.training.reporter import FileReporter
from ml.training.state import TrainingState, load_state

INTENDED_USE = (
    "Demonstration on synthetic CT only. Trained without a single pixel of a real patient; "
    "not for clinical use, not a medical device."
)

PAPER_CROP = PreprocessingConfig()
"""256 x 256 pixels of 0.9766 mm."""

_logger = logging.getLogger(__name__)


class Stage(StrEnum):
    """What a call does."""

    COHORT = "cohort"
    TRAIN = "train"
    SHIP = "ship"
    ALL = "all"


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoPlan:
    """One call of the script."""

    folder: Path
    output: Path
    cohort: DemoCohort
    config: RunConfig
    processes: int
    command: str
    """The one call that repeats all stages."""


def main() -> None:
    """Run the stage asked for on the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    arguments = _parser().parse_args()
    torch.set_num_threads(arguments.processes)
    plan = DemoPlan(
        folder=arguments.folder,
        output=arguments.output,
        cohort=DemoCohort(full=arguments.full_cases, small=arguments.small_cases),
        config=demo_config(epochs=arguments.epochs, slices_per_epoch=arguments.slices_per_epoch),
        processes=arguments.processes,
        command=_whole_command(arguments),
    )
    stage = Stage(arguments.stage)
    if stage is Stage.COHORT:
        _cohort_data(plan)
    if stage in (Stage.TRAIN, Stage.ALL):
        train(plan.config, _cohort_data(plan), plan.folder / "run", _reporter(plan))
    if stage in (Stage.SHIP, Stage.ALL):
        _ship(plan, load_state(plan.config, plan.folder / "run"))


def _whole_command(arguments: argparse.Namespace) -> str:
    options = ("full_cases", "small_cases", "epochs", "slices_per_epoch")
    values = (f"--{name.replace('_', '-')} {getattr(arguments, name)}" for name in options)
    return f"python -m ml.training.demo_weights all {' '.join(values)}"


def demo_config(*, epochs: int, slices_per_epoch: int) -> RunConfig:
    """Return the compact preset: a quarter of the channels, the paper's crop at half resolution.

    The crop spans the same 250 mm; with a quarter of the pixels two cores train it in an hour.
    """
    return RunConfig(
        preprocessing=PreprocessingConfig(
            crop_size_px=PAPER_CROP.crop_size_px // 2,
            pixel_spacing_mm=PAPER_CROP.pixel_spacing_mm * 2,
        ),
        network=NetworkConfig(width=0.25),
        training=TrainingConfig(
            optimizer=OptimizerName.ADAMW,
            learning_rate=3e-3,
            weight_decay=1e-2,
            schedule=ScheduleName.COSINE,
            warmup_steps=200,
            batch_size=16,
            max_epochs=epochs,
            slices_per_epoch=slices_per_epoch,
            empty_slice_weight=0.4,
            patience=epochs,
            ema_decay=0.995,
            precision=Precision.BFLOAT16,
        ),
    )


def _cohort_data(plan: DemoPlan) -> TrainingData:
    validation = _cached(plan, plan.cohort.validation_specs)
    training = _cached(plan, plan.cohort.training_specs)
    lost = sum(case.lost_label_voxels for case in [*training, *validation])
    _logger.info(
        "%d + %d phantoms, %d label voxels lost by the crop", len(training), len(validation), lost
    )
    return TrainingData(training=training, validation=validation, structures=CERVIX)


def _cached(plan: DemoPlan, specs: Sequence[PhantomSpec]) -> list[Case]:
    """Return crops at the preset's resolution; those at the paper's are kept beside them."""
    folder = plan.folder / "cases"
    folder.mkdir(parents=True, exist_ok=True)
    fine = cache_phantoms(specs, PAPER_CROP, folder, plan.processes)
    return coarsen_phantoms(fine, plan.folder / "coarse-cases")


def _ship(plan: DemoPlan, state: TrainingState) -> None:
    """Measure the best weights on unseen seeds and write them with their card."""
    weights = {name: _halved(value) for name, value in state.best_weights.items()}
    checkpoint = Checkpoint(
        run_config=plan.config,
        card=CheckpointCard(model_version="demo", intended_use=INTENDED_USE),
        weights=weights,
        sha256="",
    )
    scores = evaluate_phantoms(checkpoint, plan.cohort.test_specs, plan.processes)
    card = CheckpointCard(
        model_version=f"resaunet-demo-g{GENERATOR_VERSION}-e{state.epoch}",
        intended_use=INTENDED_USE,
        command=plan.command,
        data=_data_facts(plan.cohort),
        metrics={
            "test": summarize(scores),
            "epochs": state.epoch,
            "steps": state.step,
            "best_validation_loss": state.early_stopping.best_loss,
        },
        parameters=sum(p.numel() for p in state.network.parameters()),
        library_versions={
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numpy", "scipy", "safetensors")},
        },
    )
    shipped = Checkpoint(run_config=plan.config, card=card, weights=weights, sha256="")
    digest = save_checkpoint(shipped, plan.output)
    _logger.info("wrote %s, sha256 %s", plan.output, digest)


def _data_facts(cohort: DemoCohort) -> dict[str, object]:
    return {
        "source": "synthetic phantoms of ml.phantom; no real patient",
        "generator_version": GENERATOR_VERSION,
        "training": _seed_facts(cohort.training_specs),
        "validation": _seed_facts(cohort.validation_specs),
        "test": _seed_facts(cohort.test_specs),
    }


def _seed_facts(specs: Sequence[PhantomSpec]) -> dict[str, list[int]]:
    """Return the first and last seed of every tier."""
    by_tier: dict[str, list[int]] = {}
    for spec in specs:
        by_tier.setdefault(spec.tier.value, []).append(spec.seed)
    return {tier: [min(seeds), max(seeds)] for tier, seeds in by_tier.items()}


def _halved(value: torch.Tensor) -> torch.Tensor:
    """Store floats in half precision: it halves the file and changes no contour visibly."""
    return value.half() if value.is_floating_point() else value


def _reporter(plan: DemoPlan) -> FileReporter:
    return FileReporter(plan.folder / "epochs.jsonl")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=[stage.value for stage in Stage])
    parser.add_argument("--folder", type=Path, default=Path("var/demo-weights"))
    parser.add_argument("--output", type=Path, default=demo_weights_path())
    parser.add_argument("--full-cases", type=int, default=DemoCohort().full)
    parser.add_argument("--small-cases", type=int, default=DemoCohort().small)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--slices-per-epoch", type=int, default=4000)
    parser.add_argument("--processes", type=int, default=2)
    return parser


if __name__ == "__main__":
    main()
