"""The packaged demonstration weights: the recipe that won, measured on unseen phantoms."""

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path

import torch

from ml.checkpoint import load_checkpoint, save_checkpoint
from ml.config import RunConfig
from ml.data.dataset import Dataset, open_dataset
from ml.data.phantom_dataset import case_id, write_phantom_dataset
from ml.evaluation.rows import CaseScore
from ml.evaluation.statistics import summarize
from ml.experiments.assessment import Assessment, assess
from ml.experiments.execution import CHECKPOINT_FILE, RunData, cache_crops, execute_run
from ml.experiments.postprocessing import choose_postprocessing
from ml.experiments.study import StudyPreset, make_cases
from ml.phantom.acquisition import PhantomTier
from ml.phantom.cohort import GENERATOR_VERSION, PhantomSpec
from ml.planning.plan import PlannedRun, with_settings
from ml.planning.recipes import LEAN_RECIPE, sized

TRAINING_SEEDS_FROM = 10_000
VALIDATION_SEEDS_FROM = 20_000
TEST_SEEDS_FROM = 30_000
"""Seeds of the parts lie far apart, so no phantom is in two."""

INTENDED_USE = (
    "Demonstration on synthetic CT only. Trained without a single pixel of a real patient; "
    "not for clinical use, not a medical device."
)

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoPreset:
    """How the weights are found; the study's training phantoms take part."""

    study: StudyPreset = dataclasses.field(default_factory=StudyPreset)
    training: int = 50
    """Further training phantoms, of 512 x 512 pixels as scanners send them."""
    validation: int = 10
    test: int = 15
    pixels: int = 128
    width: float = 0.25
    epochs: int = 20
    slices_per_epoch: int = 4000

    @property
    def test_specs(self) -> list[PhantomSpec]:
        """Phantoms that play no part in finding the weights."""
        return _specs(TEST_SEEDS_FROM, self.test)

    @property
    def config(self) -> RunConfig:
        """The lean recipe, without early stopping: the learning rate ends at 0."""
        recipe = sized(
            LEAN_RECIPE,
            pixels=self.pixels,
            width=self.width,
            epochs=self.epochs,
            slices_per_epoch=self.slices_per_epoch,
        )
        return with_settings(recipe, {"training.patience": self.epochs})


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoCases:
    """Ids of the phantoms of every part."""

    dataset: Dataset
    training: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


def make_demo_weights(
    preset: DemoPreset, folder: Path, output: Path, *, processes: int, command: str
) -> None:
    """Make the phantoms, train, choose the postprocessing, measure, and write weights and card.

    Everything but the output lies in the folder and is taken up where it was left.
    """
    cases = make_demo_cases(preset, folder / "phantoms", processes)
    run = PlannedRun(label="demo", config=preset.config)
    data = RunData(
        dataset=cases.dataset,
        training=cases.training,
        validation=cases.validation,
        crops=folder / "crops",
    )
    cache_crops([run.config], data, processes)
    torch.set_num_threads(processes)
    place = folder / "runs" / run.name
    execute_run(run, data, place)
    checkpoint = load_checkpoint(place / CHECKPOINT_FILE)
    chosen = choose_postprocessing(place / CHECKPOINT_FILE, cases.dataset, cases.validation)
    config = dataclasses.replace(checkpoint.run_config, postprocessing=chosen)
    weights = {name: _halved(value) for name, value in checkpoint.weights.items()}
    unmeasured = dataclasses.replace(checkpoint, run_config=config, weights=weights)
    shipped = folder / "demo" / output.name
    save_checkpoint(unmeasured, shipped)
    rows = measure(shipped, cases, folder / "demo")
    card = dataclasses.replace(
        checkpoint.card,
        model_version=f"resaunet-demo-g{GENERATOR_VERSION}",
        intended_use=INTENDED_USE,
        command=command,
        data=_data_facts(preset),
        metrics=checkpoint.card.metrics | {"test": summarize(rows)},
    )
    digest = save_checkpoint(dataclasses.replace(unmeasured, card=card), output)
    _logger.info("wrote %s, sha256 %s", output, digest)


def make_demo_cases(preset: DemoPreset, folder: Path, processes: int) -> DemoCases:
    """Make the phantoms that are missing."""
    study = make_cases(preset.study, folder, processes)
    training = _specs(TRAINING_SEEDS_FROM, preset.training)
    validation = _specs(VALIDATION_SEEDS_FROM, preset.validation)
    test = preset.test_specs
    write_phantom_dataset(folder, "phantoms", [*training, *validation, *test], processes)
    return DemoCases(
        dataset=open_dataset(folder),
        training=(*study.part("training"), *map(case_id, training)),
        validation=tuple(map(case_id, validation)),
        test=tuple(map(case_id, test)),
    )


def measure(weights: Path, cases: DemoCases, folder: Path) -> list[CaseScore]:
    """Score weights on the test phantoms."""
    assessment = Assessment(
        label=weights.stem, seed=0, checkpoints=(weights,), parts={"test": cases.test}
    )
    (folder / assessment.file_name).unlink(missing_ok=True)
    return assess(assessment, cases.dataset, folder)


def _specs(first: int, count: int) -> list[PhantomSpec]:
    return [PhantomSpec(seed=seed, tier=PhantomTier.FULL) for seed in range(first, first + count)]


def _data_facts(preset: DemoPreset) -> dict[str, object]:
    return {
        "source": "synthetic phantoms of ml.phantom; no real patient",
        "generator_version": GENERATOR_VERSION,
        "preset": dataclasses.asdict(preset),
        "training_seeds_from": TRAINING_SEEDS_FROM,
        "validation_seeds_from": VALIDATION_SEEDS_FROM,
        "test_seeds_from": TEST_SEEDS_FROM,
    }


def _halved(value: torch.Tensor) -> torch.Tensor:
    """Store floats in half precision: it halves the file and changes no contour visibly."""
    return value.half() if value.is_floating_point() else value
