"""The study as a folder of tables and figures, with all that is needed to repeat it."""

import dataclasses
import json
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from ml.checkpoint import load_checkpoint
from ml.config import PostprocessingConfig, RunConfig
from ml.evaluation.report.plan import Comparison, ComparisonKind, ReportedRun, ReportPlan
from ml.evaluation.report.tables import Table
from ml.evaluation.report.write import write_report
from ml.evaluation.rows import CaseScore
from ml.experiments.baselines import BASELINE_LABELS
from ml.experiments.execution import CHECKPOINT_FILE, read_outcome
from ml.experiments.study import OURS, PAPER, RANDOMISED, StudyPreset, StudyRuns, plan_study
from ml.networks import build_network
from ml.phantom.cohort import GENERATOR_VERSION
from ml.planning.recipes import PARTS_OF_OURS
from ml.training.run_card import library_versions

COMMAND = "make study"
LOSS_TITLES = {
    "loss-ce": "CE",
    "loss-sce": "SCE",
    "loss-dice": "Dice",
    "loss-lovasz": "Lovász",
}
NETWORK_TITLES = {
    "network-unet": "U-Net",
    "network-attention_unet": "Attention U-Net",
    "network-unet_plus_plus": "U-Net++",
    PAPER: "ResAU-Net",
}
RECIPE_TITLES = {
    PAPER: "the paper's recipe",
    OURS: "our recipe",
    **{f"{OURS}-without-{part}": f"without {part.replace('-', ' ')}" for part in PARTS_OF_OURS},
    f"{OURS}-without-postprocessing": "without postprocessing",
    f"{OURS}-with-flip": "with the mirrored image",
    f"{OURS}-ensemble": "three seeds together",
    RANDOMISED: "with random-contrast training cases",
}
TEST = "test"
SCOPE = """\
All cases are synthetic phantoms. The study can say which loss, network or part of a recipe did
better here, under one protocol, and by how much more than the seed alone explains. It cannot say
that the paper's numbers hold or do not hold: the paper's patients are private, its resolution
and width are larger, its learning rate and batch size are not given, and on a phantom the truth
follows rules that the image shows. No figure here is a claim about patients.
"""


def write_study(preset: StudyPreset, rows: Sequence[CaseScore], folder: Path, out: Path) -> Path:
    """Write the report and its front page; return the page."""
    held_out = [part for part in dict.fromkeys(row.part for row in rows) if part != TEST]
    write_report(out, rows, study_plan([TEST, *held_out]))
    runs = plan_study(preset)
    page = [
        "# The study: the paper's comparisons and our recipe, on phantoms",
        SCOPE,
        _facts(preset),
        "Tables and figures: [report.md](report.md). Every score: [rows.csv](rows.csv).\n",
        _outcome_table(rows, [TEST, *held_out]).to_markdown(),
        _runs_table(runs, folder).to_markdown(),
        _postprocessing_table(runs, folder).to_markdown(),
    ]
    path = out / "README.md"
    path.write_text("\n".join(page), encoding="utf-8")
    return path


def study_plan(parts: Sequence[str]) -> ReportPlan:
    """Return what the study lays side by side."""
    return ReportPlan(
        title="The study's tables and figures",
        comparisons=(
            _comparison("losses", "Four losses", ComparisonKind.LOSSES, LOSS_TITLES, PAPER),
            _comparison(
                "networks", "Four networks", ComparisonKind.NETWORKS, NETWORK_TITLES, PAPER
            ),
            _comparison(
                "baselines",
                "Against baselines that need no network",
                ComparisonKind.NETWORKS,
                BASELINE_LABELS | {PAPER: "the paper's recipe", OURS: "our recipe"},
                OURS,
            ),
            dataclasses.replace(
                _comparison(
                    "recipes", "Recipes, part by part", ComparisonKind.ABLATION, RECIPE_TITLES, OURS
                ),
                parts=tuple(parts),
            ),
        ),
    )


def _comparison(
    name: str, title: str, kind: ComparisonKind, titles: dict[str, str], reference: str
) -> Comparison:
    runs = tuple(ReportedRun(label=label, title=text) for label, text in titles.items())
    return Comparison(name=name, title=title, kind=kind, runs=runs, reference=reference)


def _facts(preset: StudyPreset) -> str:
    values = dataclasses.asdict(preset)
    settings = ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)
    libraries = ", ".join(f"{name} {number}" for name, number in library_versions().items())
    return (
        f"Command: `{COMMAND}`. Phantom generator {GENERATOR_VERSION}. Preset: {settings}.\n"
        f"{libraries}; {platform.machine()}, CPU only.\n\n"
        "The phantoms are split 111 : 30 : 15 by patient; early stopping, the epoch and the\n"
        "postprocessing are chosen on the validation phantoms, and the test phantoms and the sets\n"
        "named after what they show were looked at once. ResAU-Net has a quarter of its channels,\n"
        "the three U-Nets an eighth of theirs, so that their arithmetic is nearer to each other:\n"
        "see the column MFLOP.\n"
    )


def _outcome_table(rows: Sequence[CaseScore], parts: Sequence[str]) -> Table:
    """Lay the two recipes side by side on every part: mean DSC and presence errors."""
    lines: list[tuple[str, ...]] = []
    for part in parts:
        ours = [row for row in rows if row.run == OURS and row.part == part]
        paper = [row for row in rows if row.run == PAPER and row.part == part]
        lines.append(
            (
                part,
                f"{_dice(paper):.3f}",
                f"{_dice(ours):.3f}",
                f"{_presence(paper):.2f}",
                f"{_presence(ours):.2f}",
                f"{_presence(ours) / _presence(paper):.2f}",
            )
        )
    return Table(
        name="recipes_outcome",
        title="The two recipes",
        note=(
            "Mean DSC over structures and cases, and slices a case and structure in which the "
            "structure appears or is missing wrongly; the last column is ours / the paper's."
        ),
        header=("cases", "DSC paper", "DSC ours", "presence paper", "presence ours", "ratio"),
        rows=tuple(lines),
    )


def _dice(rows: Sequence[CaseScore]) -> float:
    return statistics.fmean(row.dice for row in rows if not row.is_absent)


def _presence(rows: Sequence[CaseScore]) -> float:
    return statistics.fmean(row.presence_error_slices for row in rows)


def _runs_table(runs: StudyRuns, folder: Path) -> Table:
    lines: list[tuple[str, ...]] = []
    for run in [*runs.on_cohort, *runs.randomised]:
        place = folder / "runs" / run.name
        outcome = read_outcome(place)
        if outcome is None or outcome.failure is not None:
            reason = "not finished" if outcome is None else str(outcome.failure)
            lines.append((run.label, str(run.seed), "", "", "", "", reason))
            continue
        card = load_checkpoint(place / CHECKPOINT_FILE).card
        lines.append(
            (
                run.label,
                str(run.seed),
                f"{card.parameters:,}",
                f"{megaflops(run.config):.0f}",
                str(outcome.epochs),
                f"{outcome.mean_dice:.3f}",
                "",
            )
        )
    return Table(
        name="runs",
        title="The runs",
        note=(
            "Validation Dice is the mean over structures of the kept weights, on their grid; MFLOP "
            "are millions of floating-point operations of one slice."
        ),
        header=("run", "seed", "parameters", "MFLOP", "epochs", "validation Dice", "remark"),
        rows=tuple(lines),
    )


def megaflops(config: RunConfig) -> float:
    """Count the operations, in millions, that a slice costs a network."""
    channels, size = config.preprocessing.channel_count, config.preprocessing.crop_size_px
    network = build_network(config.network, channels).eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, channels, size, size))
    return counter.get_total_flops() / 1e6


def _postprocessing_table(runs: StudyRuns, folder: Path) -> Table:
    names = [field.name for field in dataclasses.fields(PostprocessingConfig)]
    lines: list[tuple[str, ...]] = []
    for run in [*runs.ours, *runs.ablations, *runs.randomised]:
        path = folder / "runs" / run.name / "postprocessing.json"
        values = json.loads(path.read_text())
        lines.append((run.name, *(str(values[name]) for name in names)))
    return Table(
        name="postprocessing",
        title="The postprocessing that was chosen on the validation cases",
        header=("run", *names),
        rows=tuple(lines),
    )
