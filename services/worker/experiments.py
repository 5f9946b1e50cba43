"""The end of an experiment: its runs are over, so its report is asked for."""

from uuid import UUID

from services.core.logging import get_logger
from services.core.queue import TaskName
from services.core.tables.experiments import Report
from services.core.unit_of_work import UnitOfWork
from services.worker.context import WorkerContext

log = get_logger(__name__)


def conclude_experiments(worker: WorkerContext) -> None:
    """Finish every experiment whose runs are all over, and queue the report of each."""
    with worker.unit_of_work() as uow:
        for experiment_id in uow.experiments.conclude():
            _queue_report(uow, experiment_id, worker.max_attempts)
        uow.commit()


def _queue_report(uow: UnitOfWork, experiment_id: UUID, max_attempts: int) -> None:
    experiment = uow.experiments.get(experiment_id)
    report = Report(
        title=experiment.name,
        is_automatic=True,
        correlation_id=experiment.correlation_id,
        max_attempts=max_attempts,
    )
    uow.reports.add(report, [experiment_id])
    uow.enqueue(TaskName.REPORT_WRITE, report.id)
    log.info("experiment finished", experiment_id=str(experiment_id), report_id=str(report.id))
