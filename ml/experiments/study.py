"""The paper's two comparisons and our recipe, part by part, on the phantom cohort.

Everything lies in one folder and is taken up where it was left: phantoms, crops, runs, the
postprocessing chosen for every run, rows. Nothing is chosen on a test case.
"""

import dataclasses
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ml.config import LossName, NetworkName, PostprocessingConfig, RunConfig
from ml.data.dataset import Dataset, open_dataset
from ml.data.phantom_dataset import (
    case_id,
    held_out_specs,
    paper_cohort_specs,
    write_phantom_dataset,
)
from ml.data.pools import map_in_processes, share_of_cores
from ml.data.splits import Split, split_patients
from ml.evaluation.rows import CaseScore
from ml.experiments.assessment import Assessment, assess_all
from ml.experiments.baselines import score_baselines
from ml.experiments.execution import CHECKPOINT_FILE, RunData
from ml.experiments.postprocessing import choose_postprocessing
from ml.experiments.scheduling import run_plan
from ml.phantom.acquisition import PhantomTier
from ml.phantom.cohort import PhantomSpec, PhantomVariant
from ml.planning.plan import (
    PAPER_NETWORKS,
    PlannedRun,
    plan_loss_comparison,
    plan_network_comparison,
    plan_training,
    with_settings,
)
from ml.planning.recipes import (
    OUR_RECIPE,
    PAPER_RECIPE,
    PARTS_OF_OURS,
    STUDY_WIDTHS,
    sized,
    without,
)
from ml.whole_files import write_whole

SPLIT_SEED = 0
RANDOMISED_SEEDS_FROM = 400_000
PAPER = f"loss-{LossName.LOVASZ}"
"""Label of the paper's recipe: it is one run of the loss comparison."""
OURS = "ours"
RANDOMISED = "ours-with-random-contrast"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyPreset:
    """How large a study is."""

    tier: PhantomTier = PhantomTier.SMALL
    cohort: int | None = None
    """Phantoms to be split 111 : 30 : 15; None: all 156."""
    held_out: int = 6
    """Phantoms of every out-of-distribution set."""
    randomised: int = 28
    """Training phantoms of random contrast, a fifth of the training cases that then are."""
    pixels: int = 64
    epochs: int = 9
    slices_per_epoch: int = 2000
    seeds: tuple[int, ...] = (0, 1, 2)
    ablation_seeds: tuple[int, ...] = (0,)
    """Of the runs that take one part of our recipe away."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyRuns:
    """What is trained, by the question it answers."""

    losses: list[PlannedRun]
    networks: list[PlannedRun]
    """Without ResAU-Net, whose run is the Lovász one of the losses."""
    ours: list[PlannedRun]
    ablations: list[PlannedRun]
    randomised: list[PlannedRun]

    @property
    def on_cohort(self) -> list[PlannedRun]:
        """All runs that train on the cohort alone, the most asked for first."""
        return [*self.ours, *self.losses, *self.networks, *self.ablations]


def plan_study(preset: StudyPreset) -> StudyRuns:
    """List the runs of a study."""
    paper = _sized(PAPER_RECIPE, preset)
    ours = _sized(OUR_RECIPE, preset)
    ours = with_settings(ours, {"training.patience": preset.epochs})
    others = [name for name in PAPER_NETWORKS if name is not NetworkName.RESAUNET]
    ablations = [
        run
        for part in PARTS_OF_OURS
        for run in plan_training(
            without(ours, part), preset.ablation_seeds, f"{OURS}-without-{part}"
        )
    ]
    return StudyRuns(
        losses=plan_loss_comparison(paper, preset.seeds),
        networks=plan_network_comparison(paper, preset.seeds, others, STUDY_WIDTHS),
        ours=plan_training(ours, preset.seeds, OURS),
        ablations=ablations,
        randomised=plan_training(ours, preset.ablation_seeds, RANDOMISED),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyCases:
    """The phantoms of a study."""

    dataset: Dataset
    split: Split
    randomised: tuple[str, ...]
    held_out: dict[str, tuple[str, ...]]
    """By the name of the out-of-distribution set."""

    def part(self, name: str) -> tuple[str, ...]:
        """Return the cases of a part of the split."""
        return tuple(self.dataset.case_ids(getattr(self.split, name)))


def make_cases(preset: StudyPreset, folder: Path, processes: int) -> StudyCases:
    """Make the phantoms that are missing, and deal the cohort to its parts."""
    cohort = paper_cohort_specs(preset.tier)[: preset.cohort]
    randomised = [
        PhantomSpec(seed=seed, tier=preset.tier, variant=PhantomVariant.RANDOM_CONTRAST)
        for seed in range(RANDOMISED_SEEDS_FROM, RANDOMISED_SEEDS_FROM + preset.randomised)
    ]
    held_out = held_out_specs(preset.tier, preset.held_out)
    write_phantom_dataset(folder, "phantoms", [*cohort, *randomised, *held_out], processes)
    split = split_patients([case_id(spec) for spec in cohort], seed=SPLIT_SEED)
    variants = dict.fromkeys(spec.variant for spec in held_out)
    return StudyCases(
        dataset=open_dataset(folder).with_split(split),
        split=split,
        randomised=tuple(case_id(spec) for spec in randomised),
        held_out={
            str(variant): tuple(case_id(s) for s in held_out if s.variant is variant)
            for variant in variants
        },
    )


def run_study(preset: StudyPreset, folder: Path, processes: int) -> list[CaseScore]:
    """Train and score everything; hours, and resumable.

    Raises:
        ExperimentError: the folder holds a study of another preset.
    """
    cases = make_cases(preset, folder / "phantoms", processes)
    runs = plan_study(preset)
    data = RunData(
        dataset=cases.dataset,
        training=cases.part("training"),
        validation=cases.part("validation"),
        crops=folder / "crops",
    )
    more = dataclasses.replace(data, training=(*data.training, *cases.randomised))
    for plan, plan_data in ((runs.on_cohort, data), (runs.randomised, more)):
        for run, outcome in run_plan(plan, plan_data, folder / "runs", processes):
            _logger.info("%s: validation Dice %.3f", run.name, outcome.mean_dice)
    chosen = _choose([*runs.ours, *runs.ablations, *runs.randomised], data, folder, processes)
    assessments = plan_assessments(runs, cases, folder, chosen)
    rows = assess_all(assessments, cases.dataset, folder / "rows", processes)
    config = runs.ours[0].config.preprocessing
    guessed = score_baselines(
        cases.dataset, data.training, cases.part("test"), config, folder / "rows/baselines.csv"
    )
    return [*rows, *guessed]


def plan_assessments(
    runs: StudyRuns, cases: StudyCases, folder: Path, chosen: dict[str, PostprocessingConfig]
) -> list[Assessment]:
    """List what is scored: comparisons on the test cases, recipes on every set."""
    test = {"test": cases.part("test")}
    everywhere = test | cases.held_out

    def scored(
        run: PlannedRun, label: str, postprocessing: PostprocessingConfig | None = None
    ) -> Assessment:
        return Assessment(
            label=label,
            seed=run.seed,
            checkpoints=(folder / "runs" / run.name / CHECKPOINT_FILE,),
            parts=everywhere if label == PAPER or label.startswith(OURS) else test,
            postprocessing=postprocessing,
        )

    assessments = [scored(run, run.label) for run in [*runs.losses, *runs.networks]]
    assessments += [
        scored(run, run.label, chosen[run.name])
        for run in [*runs.ours, *runs.ablations, *runs.randomised]
    ]
    for run in runs.ours:
        plain = PostprocessingConfig(drop_parts=False)
        assessments.append(scored(run, f"{OURS}-without-postprocessing", plain))
        flipped = dataclasses.replace(chosen[run.name], flip=True)
        assessments.append(scored(run, f"{OURS}-with-flip", flipped))
    first = scored(runs.ours[0], f"{OURS}-ensemble", chosen[runs.ours[0].name])
    all_seeds = tuple(folder / "runs" / run.name / CHECKPOINT_FILE for run in runs.ours)
    return [*assessments, dataclasses.replace(first, checkpoints=all_seeds)]


def _choose(
    runs: Sequence[PlannedRun], data: RunData, folder: Path, processes: int
) -> dict[str, PostprocessingConfig]:
    """Choose the postprocessing of every run on the validation cases, once."""
    folders = [folder / "runs" / run.name for run in runs]
    choose = partial(_chosen, data=data)
    found = map_in_processes(choose, folders, processes, threads=share_of_cores(processes))
    return dict(zip((run.name for run in runs), found, strict=True))


def _chosen(folder: Path, data: RunData) -> PostprocessingConfig:
    path = folder / "postprocessing.json"
    if not path.exists():
        chosen = choose_postprocessing(folder / CHECKPOINT_FILE, data.dataset, data.validation)
        write_whole(path, json.dumps(dataclasses.asdict(chosen), indent=1) + "\n")
    return PostprocessingConfig.from_dict(json.loads(path.read_text()))


def _sized(recipe: RunConfig, preset: StudyPreset) -> RunConfig:
    return sized(
        recipe,
        pixels=preset.pixels,
        width=STUDY_WIDTHS[NetworkName.RESAUNET],
        epochs=preset.epochs,
        slices_per_epoch=preset.slices_per_epoch,
    )
