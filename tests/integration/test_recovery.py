"""Workers and servers that die, freeze or stop in the middle of a job, on both pairs."""

from collections.abc import Iterator

import pytest

from services.core.lifecycle import JobErrorCode, JobState
from services.core.queue import TaskName
from services.core.storage import RTSTRUCT_NAME, StoredKind
from tests.integration.deployment import Deployment, Mode, wait_until
from tests.integration.processes import freeze, kill_family, thaw
from tests.integration.servers import Servers, start

JOB_SECONDS = 60
"""One job is held for as long, asleep; the next has the same limit, and must not come near it."""


@pytest.fixture(autouse=True)
def _no_worker_stays(deployment: Deployment) -> Iterator[None]:
    yield
    while deployment.workers:
        deployment.workers.pop().kill()


def test_a_job_whose_worker_was_killed_succeeds_once(deployment: Deployment) -> None:
    worker = deployment.start_worker("killed")
    job_id = deployment.post_job(hold=True)
    deployment.wait_for_start(job_id)

    kill_family(worker)
    deployment.gate.release(job_id)
    deployment.end_lease(TaskName.CONTOUR_JOB_RUN, job_id)
    deployment.start_worker("returned")

    job = deployment.wait_for(job_id, JobState.SUCCEEDED)
    assert job.attempt == 2
    assert len(deployment.gate.processes_of(job_id)) == 2
    assert deployment.storage.file(StoredKind.RESULTS, job_id, RTSTRUCT_NAME).is_file()


def test_a_worker_frozen_past_its_lease_changes_nothing(deployment: Deployment) -> None:
    frozen = deployment.start_worker("frozen")
    job_id = deployment.post_job(hold=True)
    deployment.wait_for_start(job_id)
    freeze(frozen.pid, deployment.engine)
    deployment.gate.release(job_id)
    deployment.start_worker("second")
    deployment.end_lease(TaskName.CONTOUR_JOB_RUN, job_id)
    job = deployment.wait_for(job_id, JobState.SUCCEEDED)
    result = deployment.storage.file(StoredKind.RESULTS, job_id, RTSTRUCT_NAME).read_bytes()

    thaw(frozen.pid)
    log = deployment.root / "worker-frozen.log"
    wait_until(lambda: "lease lost" in log.read_text())

    later = deployment.job(job_id)
    assert (later.attempt, later.finished_at) == (2, job.finished_at)
    assert deployment.storage.file(StoredKind.RESULTS, job_id, RTSTRUCT_NAME).read_bytes() == result


def test_a_worker_asked_to_stop_ends_its_job_and_signs_off(deployment: Deployment) -> None:
    worker = deployment.start_worker("polite")
    job_id = deployment.post_job(hold=True)
    deployment.wait_for_start(job_id)

    worker.ask_to_stop()
    deployment.gate.release(job_id)

    wait_until(lambda: not worker.is_running)
    assert deployment.job(job_id).state is JobState.SUCCEEDED
    assert "inference@polite" not in [w.name for w in deployment.heartbeats()]


def test_a_job_past_its_time_limit_fails(deployment: Deployment) -> None:
    deployment.start_worker("strict", CERVICONTOUR_JOB_TIME_LIMIT_SECONDS=str(JOB_SECONDS))
    job_id = deployment.post_job(hold=True)

    job = deployment.wait_for(job_id, JobState.FAILED)

    assert job.error_code == JobErrorCode.TIME_LIMIT
    deployment.wait_for(deployment.post_job(), JobState.SUCCEEDED)


def test_a_worker_that_renews_its_process_goes_on(deployment: Deployment) -> None:
    deployment.start_worker("renewed", CERVICONTOUR_JOBS_PER_PROCESS="1")
    jobs = [deployment.post_job() for _ in range(2)]
    for job_id in jobs:
        assert deployment.wait_for(job_id, JobState.SUCCEEDED).attempt == 1

    assert len({deployment.gate.processes_of(job_id)[0] for job_id in jobs}) == 2


@pytest.mark.parametrize("mode", [Mode.SERVERS], indirect=True, scope="session")
def test_a_redis_that_was_killed_loses_no_job(deployment: Deployment, servers: Servers) -> None:
    if servers.own_redis is None:
        pytest.skip("the Redis server is not ours to kill")
    deployment.start_worker("patient")
    first = deployment.post_job(hold=True)
    deployment.wait_for_start(first)

    servers.own_redis.child.kill()
    second = deployment.post_job()
    assert deployment.job(second).published_at is None
    start(servers.own_redis)
    deployment.gate.release(first)

    for job_id in (first, second):
        assert deployment.wait_for(job_id, JobState.SUCCEEDED).attempt == 1
