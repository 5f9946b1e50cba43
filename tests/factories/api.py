"""A running API and what stands behind it."""

from dataclasses import dataclass
from pathlib import Path

import httpx
from fastapi import FastAPI

from services.api.probes import ProbeTimes
from services.core.queue import TaskName
from services.core.repositories.leases import Claim
from services.core.storage import StoredKind
from services.core.unit_of_work import UnitOfWork
from tests.fakes import FakeJobQueue

MEBIBYTE = 1 << 20
STEADY_PROBES = ProbeTimes(fresh_seconds=0, timeout_seconds=120)
"""What is seen now, however slow the machine is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Api:
    """A running API and what stands behind it."""

    app: FastAPI
    client: httpx.AsyncClient
    queue: FakeJobQueue
    data_dir: Path

    def unit_of_work(self) -> UnitOfWork:
        return self.app.state.dependencies.new_unit_of_work()

    def stored_files(self) -> list[str]:
        """Every file below the data folder besides the database."""
        paths = (path for path in self.data_dir.rglob("*") if path.is_file())
        names = (path.relative_to(self.data_dir).as_posix() for path in paths)
        return sorted(name for name in names if not name.startswith("cervicontour.sqlite"))

    def is_empty(self) -> bool:
        """Tell whether no file, no folder of an upload and no row is there."""
        incoming = self.data_dir / "incoming"
        with self.unit_of_work() as uow:
            rows = [*uow.series.page(1), *uow.contour_jobs.page(1)]
        folders = list(incoming.iterdir()) if incoming.exists() else []
        return not rows and not folders and not self.stored_files()


def hold_rates_still(api: Api) -> None:
    """Let no time go by for those who count how often somebody comes, however slow a test is."""
    api.app.state.gate.requests._now = api.app.state.gate.failures._now = lambda: 1000.0


def finish_job(api: Api) -> Claim:
    """Do to the newest job what a worker does."""
    job_id = api.queue.resource_ids[-1]
    storage = api.app.state.dependencies.storage
    with api.unit_of_work() as uow:
        claim = uow.leases.claim(TaskName.CONTOUR_JOB_RUN, job_id, owner="worker", seconds=60)
        assert claim is not None
        with storage.staging() as folder:
            (folder / "result").mkdir()
            (folder / "result" / "rtstruct.dcm").write_bytes(b"RTSTRUCT")
            storage.publish(StoredKind.RESULTS, folder / "result", job_id)
        outcome = {"volumes_ml": {"Bladder": 1.5}, "warnings": [], "model_version": "demo"}
        assert uow.leases.succeed(claim, outcome)
        uow.commit()
    return claim
