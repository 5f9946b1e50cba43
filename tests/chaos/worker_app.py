"""A worker with faults inside, whose network passes boxes through after a moment."""

import os
import time
from collections.abc import Callable

from celery.worker import WorkController

from ml.geometry import Volume
from services.core.lifecycle import JobStage
from services.core.logging import get_logger
from services.core.settings import load_settings
from services.core.storage import StoredKind
from services.worker import leased_work
from services.worker.assembly import create_worker
from services.worker.lease import Lease
from tests.chaos.controls import FOLDER_VARIABLE, TAKES_NO_MORE, Controls, Point, Switch
from tests.chaos.hooks import hold_after_publishing, install
from tests.fakes import BoxPrediction, loaded, predict_boxes

NETWORK_SECONDS = 0.1
"""Long enough for a fault to come in the midst of it now and then."""
STEPS = 5

log = get_logger(__name__)


class PassThrough:
    """Puts a box for every structure."""

    def predict(self, volume: Volume, on_progress: Callable[[float], None]) -> BoxPrediction:
        for step in range(STEPS):
            on_progress(step / STEPS)
            time.sleep(NETWORK_SECONDS / STEPS)
        return predict_boxes(volume)


def _hold_in_stages(controls: Controls) -> None:
    report = Lease.report

    def pausing(self: Lease, stage: JobStage, progress: float) -> None:
        report(self, stage, progress)
        controls.pass_by(Point(stage.value))

    Lease.report = pausing


def _hold_after_the_end(controls: Controls) -> None:
    finish = leased_work.finish

    def pausing(*arguments: object) -> None:
        finish(*arguments)  # type: ignore[arg-type]  # as they came
        controls.pass_by(Point.ENDING)

    # Before contouring, which is imported late, takes it by name.
    leased_work.finish = pausing


def _tell_of_the_end() -> None:
    stop = WorkController.stop

    def telling(self: WorkController, *arguments: object, **options: object) -> None:
        log.info(TAKES_NO_MORE)
        stop(self, *arguments, **options)  # type: ignore[arg-type]  # as they came

    WorkController.stop = telling


if FOLDER_VARIABLE in os.environ:  # tests may import this without being a worker
    _controls = install(Switch.WORKER_FULL, Switch.WORKER_UNREADABLE)
    hold_after_publishing(_controls, StoredKind.RESULTS, Point.RELEASING)
    _hold_in_stages(_controls)
    _hold_after_the_end(_controls)
    _tell_of_the_end()
    app = create_worker(load_settings(), lambda _: loaded(PassThrough()))
