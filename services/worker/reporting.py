"""The report on one or several experiments: tables, figures and statistics over their runs."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from ml.evaluation.report.plan import Comparison, ComparisonKind, ReportedRun, ReportPlan
from ml.evaluation.report.write import write_report
from ml.evaluation.rows import CaseScore
from services.core.errors import ServiceError
from services.core.lifecycle import ExperimentKind, JobStage
from services.core.repositories.leases import Claim
from services.core.storage import StoredKind
from services.core.tables.experiments import Experiment, Run, RunEpoch, RunScore
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
    curves: Mapping[str, Mapping[int, Sequence[RunEpoch]]]
    """By label and seed."""


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
        write_report(folder, material.scores, _plan(material), curves=_curves(material))
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
    by_run = {run.id: run for run in uow.runs.of_experiments(ids)}
    scores = [
        _score(score, names[run.experiment_id] + run.label, run.seed)
        for run, score in uow.runs.stream_scores(ids)
    ]
    curves: dict[str, dict[int, list[RunEpoch]]] = {}
    for epoch in uow.runs.epochs(list(by_run)):
        run: Run = by_run[epoch.run_id]
        seeds = curves.setdefault(names[run.experiment_id] + run.label, {})
        seeds.setdefault(run.seed, []).append(epoch)
    order = {name: position for position, name in enumerate(names[i] for i in ids)}
    scores.sort(key=lambda row: _place(row.run, order))
    return _Material(title=report.title, experiments=experiments, scores=scores, curves=curves)


def _prefixes(experiments: Sequence[Experiment]) -> dict[UUID, str]:
    """Return what tells the runs of several experiments apart; nothing for one alone."""
    if len(experiments) == 1:
        return {experiments[0].id: ""}
    return {e.id: f"{number}. {e.name}: " for number, e in enumerate(experiments, start=1)}


def _place(label: str, order: Mapping[str, int]) -> int:
    return next((place for name, place in order.items() if label.startswith(name)), 0)


def _score(row: RunScore, label: str, seed: int) -> CaseScore:
    names = {field.name for field in dataclasses.fields(CaseScore)} - {"run", "seed"}
    values: dict[str, Any] = {name: getattr(row, name) for name in names}  # Any: columns
    numbers = {name: math.nan if value is None else value for name, value in values.items()}
    return CaseScore(run=label, seed=seed, **numbers)


def _plan(material: _Material) -> ReportPlan:
    labels = list(dict.fromkeys(row.run for row in material.scores))
    kind = ComparisonKind.NETWORKS
    if len(material.experiments) == 1:
        kind = FIGURE_OF[material.experiments[0].kind]
    # runs are scored on one part; experiments on several versions may differ in which
    part = material.scores[0].part
    return ReportPlan(
        title=material.title,
        comparisons=(
            Comparison(
                name="runs",
                title=material.title,
                kind=kind,
                runs=tuple(ReportedRun(label=label, title=label) for label in labels),
                reference=labels[0],
                parts=(part,),
            ),
        ),
    )
