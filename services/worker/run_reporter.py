"""Tells the database how a training goes, and the training whether it is still wanted."""

from ml.evaluation.measures import mean_of_finite
from ml.training.reporter import EpochReport
from services.core.database import wait_for_database
from services.core.lifecycle import JobStage
from services.core.logging import get_logger
from services.core.repositories.leases import Claim
from services.core.tables.experiments import RunEpoch
from services.worker.context import WorkerContext
from services.worker.lease import Lease
from services.worker.numbers import finite_or_none

TRAINING_SHARE = (0.02, 0.95)
"""Of a run's progress: before it crops are made, after it cases are scored."""

log = get_logger(__name__)


class RunReporter:
    """A Reporter of ml.training that writes rows under the lease of a run."""

    def __init__(self, worker: WorkerContext, claim: Claim, lease: Lease, max_epochs: int) -> None:
        self._worker = worker
        self._claim = claim
        self._lease = lease
        self._max_epochs = max_epochs
        with worker.unit_of_work() as uow:
            self._finished = uow.runs.get(claim.resource_id).epochs

    def batch_finished(self, done: int, total: int, loss: float) -> None:  # noqa: ARG002 (the protocol's)
        """Note the progress; the heartbeat writes it."""
        epochs = min(self._finished + done / total, self._max_epochs)
        begin, end = TRAINING_SHARE
        self._lease.note(JobStage.TRAINING, begin + (end - begin) * epochs / self._max_epochs)

    def epoch_finished(self, report: EpochReport) -> None:
        """Write the epoch's row; one that is reported again replaces its earlier self.

        Raises:
            DatabaseUnavailableError: the database stayed away for as long as the lease lasts.
        """
        epoch = RunEpoch(
            run_id=self._claim.resource_id,
            epoch=report.epoch,
            training_loss=report.training_loss,
            validation_loss=finite_or_none(report.validation_loss),
            validation_dice={k: finite_or_none(v) for k, v in report.validation_dice.items()},
            mean_dice=finite_or_none(mean_of_finite(list(report.validation_dice.values()))),
            learning_rate=report.learning_rate,
            seconds=report.seconds,
            is_best=report.is_best,
            is_best_dice=report.is_best_dice,
        )
        wait_for_database(self._worker.engine, self._worker.times.lease_seconds)
        with self._worker.unit_of_work() as uow:
            if not uow.leases.hold(self._claim):
                return  # should_stop tells it to the training
            uow.runs.record_epoch(self._claim, epoch, self._worker.max_attempts)
            uow.commit()
        self._finished = report.epoch
        log.info("epoch finished", epoch=report.epoch, seconds=round(report.seconds, 3))

    def should_stop(self) -> bool:
        """Tell whether the run was cancelled, or taken over by another worker."""
        return not self._lease.is_wanted
