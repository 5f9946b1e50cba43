"""The report on one or several experiments: tables, figures and statistics over their runs."""

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from ml.evaluation.report.curves import CurvePoint, LearningCurve
from ml.evaluation.report.plan import Comparison, ComparisonKind, ReportedRun, ReportPlan
from ml.evaluation.report.write import write_report
from ml.evaluation.rows import CaseScore
from services.core.errors import ServiceError
from services.core.lifecycle import ExperimentKind, JobStage
from services.core.repositories.leases import Claim
from services.core.storage import StoredKind
from services.core.tables.experiments import Experiment, RunEpoch
from services.core.unit_of_work import UnitOfWork
from services.worker.context import WorkerContext
from services.worker.lease import Lease
from services.worker.leased_work import finish

SUMMARY_FILE = "summary.json"
FIGURE_OF = {
    ExperimentKind.NETWORK_COMPARISON: ComparisonKind.NETWORKS,
    ExperimentKind.LOSS_COMPARISON: ComparisonKind.LOSSES,
    ExperimentKind.GRID_SEARCH: ComparisonKind.LOSSES,
    ExperimentKind.TRAINING: ComparisonKind.NETWORKS,
}
"""A single experiment is drawn as the paper draws its kind; several side by side as networks."""


class NothingToReportError(ServiceError):
    """No run of the experiments has scores."""

    code = "nothing_to_report"

    def __init__(self) -> None:
        super().__init__("no run of the experiments has scores")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Material:
    """What a report is made of."""

    title: str
    experiments: Sequence[Experiment]
    scores: Sequence[CaseScore]
    curves: Sequence[LearningCurve]


def write_experiment_report(worker: WorkerContext, claim: Claim, lease: Lease) -> None:
    """Write and publish a report.

    Raises:
        NothingToReportError: no run has scores.
    """
    lease.report(JobStage.READING, 0.0)
    with worker.unit_of_work() as uow:
        material = _read(uow, claim.resource_id)
    if not material.scores:
        raise NothingToReportError
    lease.report(JobStage.WRITING, 0.2)
    with worker.storage.staging() as folder:
        write_report(folder, material.scores, _plan(material), curves=material.curves)
        lease.check()
        outcome = {
            "summary": json.loads((folder / SUMMARY_FILE).read_text()),
            "file_names": sorted(path.name for path in folder.iterdir()),
        }
        finish(worker, claim, outcome, lambda _: _publish(worker, claim, folder))


def _publish(worker: WorkerContext, claim: Claim, folder: Path) -> None:
    worker.storage.publish(StoredKind.REPORTS, folder, claim.resource_id)


def _read(uow: UnitOfWork, report_id: UUID) -> _Material:
    report = uow.reports.get(report_id)
    ids = uow.reports.experiments_of([report_id])[report_id]
    experiments = [uow.experiments.get(experiment_id) for experiment_id in ids]
    names = _prefixes(experiments)
    # the experiments in the order asked for, their runs in the order of the plan
    runs = sorted(uow.runs.of_experiments(ids), key=lambda run: ids.index(run.experiment_id))
    labels = {run.id: names[run.experiment_id] + run.label for run in runs}
    scores: dict[UUID, list[CaseScore]] = {run.id: [] for run in runs}
    for row in uow.runs.stream_scores(ids):
        scores[row.run_id].append(_score(row, labels[row.run_id]))
    epochs: dict[UUID, list[RunEpoch]] = {run.id: [] for run in runs}
    for epoch in uow.runs.epochs(list(epochs)):
        epochs[epoch.run_id].append(epoch)
    return _Material(
        title=report.title,
        experiments=experiments,
        scores=[score for run in runs for score in scores[run.id]],
        curves=[
            LearningCurve(
                run=labels[run.id], seed=run.seed, points=tuple(map(_point, epochs[run.id]))
            )
            for run in runs
            if epochs[run.id] and scores[run.id]
        ],
    )


def _prefixes(experiments: Sequence[Experiment]) -> dict[UUID, str]:
    """Return what tells the runs of several experiments apart; nothing for one alone."""
    if len(experiments) == 1:
        return {experiments[0].id: ""}
    return {e.id: f"{number}. {e.name}: " for number, e in enumerate(experiments, start=1)}


def _score(row: sa.Row[Any], label: str) -> CaseScore:  # Any: columns of several types
    names = {field.name for field in dataclasses.fields(CaseScore)} - {"run"}
    values: dict[str, Any] = {name: getattr(row, name) for name in names}  # Any: columns
    for name, value in values.items():
        if value is None:
            values[name] = math.nan
    return CaseScore(run=label, **values)


def _point(epoch: RunEpoch) -> CurvePoint:
    dice = {k: math.nan if v is None else v for k, v in epoch.validation_dice.items()}
    return CurvePoint(
        epoch=epoch.epoch,
        training_loss=epoch.training_loss,
        validation_loss=math.nan if epoch.validation_loss is None else epoch.validation_loss,
        validation_dice=dice,
    )


def _plan(material: _Material) -> ReportPlan:
    labels = list(dict.fromkeys(row.run for row in material.scores))
    kind = ComparisonKind.NETWORKS
    if len(material.experiments) == 1:
        kind = FIGURE_OF[material.experiments[0].kind]
    return ReportPlan(
        title=material.title,
        comparisons=(
            Comparison(
                name="runs",
                title=material.title,
                kind=kind,
                runs=tuple(ReportedRun(label=label, title=label) for label in labels),
                reference=labels[0],
                parts=(
                    material.scores[0].part,
                ),  # the same for all: they are on one dataset version
            ),
        ),
    )
