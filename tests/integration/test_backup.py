import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import UUID

import pytest

from services.admin.backup.layout import backups_in
from services.core.database import create_database_engine
from services.core.lifecycle import JobState
from services.core.migrations import upgrade_database
from services.core.queue import TaskName
from services.core.storage import RTSTRUCT_NAME, WEIGHTS_NAME, StoredKind
from tests.factories.model_versions import add_dataset_version, add_run, add_version
from tests.integration.deployment import Deployment, Mode, Pair
from tests.integration.own_servers import packaged_postgres
from tests.integration.processes import kill_family
from tests.integration.servers import Servers
from tests.waiting import wait_until

PAUSE_SECONDS = 0.2
NewDeployment = Callable[[str], Deployment]


@pytest.fixture
def new_deployment(
    mode: Mode, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[NewDeployment]:
    """Makes deployments with an empty database of their own, not migrated yet."""
    with ExitStack() as cleanup:

        def make(name: str) -> Deployment:
            root = tmp_path / name
            root.mkdir()
            if mode is Mode.EMBEDDED:
                pair = Pair(
                    database_url=f"sqlite+pysqlite:///{root / 'test.sqlite'}",
                    broker_url="filesystem://",
                )
            else:
                servers: Servers = request.getfixturevalue("servers")
                url = cleanup.enter_context(servers.new_database())
                pair = Pair(database_url=url, broker_url=servers.redis_url)
            deployment = Deployment(root=root, pair=pair)
            cleanup.callback(deployment.close)
            return deployment

        yield make


def test_a_backup_under_load_becomes_a_service_that_goes_on(
    new_deployment: NewDeployment, tmp_path: Path
) -> None:
    source = _started(new_deployment("source"))
    ended = [source.post_job() for _ in range(3)]
    for job_id in ended:
        source.wait_for(job_id, JobState.SUCCEEDED)
    rtstructs = {job_id: _rtstruct(source, job_id) for job_id in ended}
    version_id = add_dataset_version(source.unit_of_work(), source.storage)
    run_id = add_run(source.unit_of_work(), source.storage, version_id)
    model_id = add_version(source.unit_of_work(), source.storage)
    pending = [source.post_job(hold=True), source.post_job()]
    source.wait_for_start(pending[0])

    with _load(source):
        _admin(source, "create", tmp_path / "backups")
    (backup,) = backups_in(tmp_path / "backups")
    kill_family(source.workers[0])

    target = new_deployment("target")
    _admin(target, "restore", backup)
    target.end_lease(TaskName.CONTOUR_JOB_RUN, pending[0])
    target.start_worker("restored")

    for job_id in ended:
        assert target.job(job_id).state is JobState.SUCCEEDED
        assert _rtstruct(target, job_id) == rtstructs[job_id]
    for job_id in pending:
        target.wait_for(job_id, JobState.SUCCEEDED)
    for kind, resource_id, name in (
        (StoredKind.MODEL_VERSIONS, model_id, WEIGHTS_NAME),
        (StoredKind.RUNS, run_id, WEIGHTS_NAME),
        (StoredKind.DATASETS, version_id, "dataset.json"),
    ):
        kept = source.storage.file(kind, resource_id, name)
        assert target.storage.file(kind, resource_id, name).read_bytes() == kept.read_bytes()
    for job in _jobs(target):
        target.wait_for(job, JobState.SUCCEEDED)
    trail = _command(target, "audit", "verify")
    assert trail.returncode == 0, trail.stdout + trail.stderr

    refused = _run(target, "restore", backup)
    assert refused.returncode == 1
    assert "not empty" in refused.stderr


def _started(deployment: Deployment) -> Deployment:
    engine = create_database_engine(deployment.pair.database_url)
    upgrade_database(engine)
    engine.dispose()
    deployment.start_worker("source")
    return deployment


@contextmanager
def _load(deployment: Deployment) -> Iterator[None]:
    """Post jobs while the block runs; every one of them is contoured afterwards."""
    done, has_begun = threading.Event(), threading.Event()

    def post() -> int:
        count = 0
        while not done.wait(PAUSE_SECONDS):
            deployment.post_job()
            count += 1
            has_begun.set()
        return count

    with ThreadPoolExecutor(max_workers=1) as executor:
        posting = executor.submit(post)
        try:
            wait_until(lambda: has_begun.is_set() or posting.done())
            yield
        finally:
            done.set()
    assert posting.result() > 0


def _admin(deployment: Deployment, *arguments: str | Path) -> None:
    done = _run(deployment, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def _run(deployment: Deployment, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    tools = packaged_postgres()  # of the tests' own server, or newer than PATH's: reads older ones
    options = [] if tools is None else ["--postgres-bin", str(tools)]
    return _command(deployment, "backup", *map(str, arguments), *options)


def _command(deployment: Deployment, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services.admin.main", *words]
    return subprocess.run(
        command, env=deployment.environment, capture_output=True, text=True, check=False
    )


def _rtstruct(deployment: Deployment, job_id: UUID) -> bytes:
    return deployment.storage.file(StoredKind.RESULTS, job_id, RTSTRUCT_NAME).read_bytes()


def _jobs(deployment: Deployment) -> list[UUID]:
    with deployment.unit_of_work() as uow:
        return [job.id for job in uow.contour_jobs.page(1000)]
