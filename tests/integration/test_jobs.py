"""What one worker does with jobs, on both pairs."""

import pydicom
import pytest

from services.core.errors import StoredFilesMissingError
from services.core.lifecycle import JobErrorCode, JobState
from services.core.queue import QueueName, TaskName
from services.core.storage import RTSTRUCT_NAME, StoredKind
from tests.factories.uploads import PATIENT_ID, PATIENT_NAME
from tests.integration.deployment import SLICES, Deployment, wait_until
from tests.integration.processes import is_alive


@pytest.fixture(scope="module", autouse=True)
def _worker(deployment: Deployment):
    worker = deployment.start_worker()
    yield
    worker.stop(grace_seconds=5)


def test_a_job_ends_in_an_rtstruct_and_its_facts(deployment: Deployment) -> None:
    job_id = deployment.post_job()

    job = deployment.wait_for(job_id, JobState.SUCCEEDED)

    assert (job.attempt, job.progress) == (1, 1.0)
    assert job.volumes_ml == {"Bladder": 1.0}
    assert [warning["code"] for warning in job.warnings] == ["no_pelvis"]
    assert job.model_version == "test-network"
    assert job.weights_sha256 == "0" * 64
    assert job.seconds is not None
    assert {"reading", "contouring", "contouring_network", "writing", "total"} <= job.seconds.keys()
    rtstruct = pydicom.dcmread(deployment.storage.file(StoredKind.RESULTS, job_id, RTSTRUCT_NAME))
    assert rtstruct.Modality == "RTSTRUCT"
    assert {len(roi.ContourSequence) for roi in rtstruct.ROIContourSequence} == {SLICES}


def test_the_log_tells_the_request_and_no_patient(deployment: Deployment) -> None:
    job_id = deployment.post_job()
    job = deployment.wait_for(job_id, JobState.SUCCEEDED)

    path = deployment.root / "worker-first.log"

    def told() -> list[str]:
        lines = path.read_text().splitlines()
        return [line for line in lines if str(job_id) in line and "job succeeded" in line]

    wait_until(told)  # after the state that the job is waited for by
    log, lines = path.read_text(), told()
    assert len(lines) == 1
    assert job.correlation_id in lines[0]
    assert TaskName.CONTOUR_JOB_RUN in lines[0]
    assert PATIENT_NAME.split("^")[0] not in log
    assert PATIENT_ID not in log


def test_the_network_stays_loaded_between_jobs(deployment: Deployment) -> None:
    jobs = [deployment.post_job() for _ in range(3)]
    for job_id in jobs:
        deployment.wait_for(job_id, JobState.SUCCEEDED)

    assert len({deployment.gate.processes_of(job_id)[0] for job_id in jobs}) == 1


def test_the_worker_tells_the_truth_about_itself(deployment: Deployment) -> None:
    (worker,) = [w for w in deployment.heartbeats() if w.name == "inference@first"]

    assert worker.queue is QueueName.INFERENCE
    assert worker.weights_loaded
    assert worker.model_version == "test-network"


def test_many_messages_start_a_job_once(deployment: Deployment) -> None:
    job_id = deployment.post_job(hold=True)
    deployment.wait_for_start(job_id)
    deployment.ring(TaskName.CONTOUR_JOB_RUN, job_id, times=5)
    deployment.gate.release(job_id)
    deployment.wait_for(job_id, JobState.SUCCEEDED)
    deployment.ring(TaskName.CONTOUR_JOB_RUN, job_id, times=2)
    deployment.wait_for(deployment.post_job(), JobState.SUCCEEDED)  # behind all of them

    assert deployment.job(job_id).attempt == 1
    assert len(deployment.gate.processes_of(job_id)) == 1


def test_a_running_job_can_be_cancelled(deployment: Deployment) -> None:
    job_id = deployment.post_job(hold=True)
    deployment.wait_for_start(job_id)

    with deployment.unit_of_work() as uow:
        uow.contour_jobs.request_cancel(job_id)
        uow.commit()

    deployment.wait_for(job_id, JobState.CANCELLED)
    with pytest.raises(StoredFilesMissingError):
        deployment.storage.file(StoredKind.RESULTS, job_id, RTSTRUCT_NAME)


def test_a_queued_job_that_was_cancelled_never_starts(deployment: Deployment) -> None:
    first = deployment.post_job(hold=True)
    deployment.wait_for_start(first)
    second = deployment.post_job()
    with deployment.unit_of_work() as uow:
        uow.contour_jobs.request_cancel(second)
        uow.commit()
    deployment.gate.release(first)
    deployment.wait_for(deployment.post_job(), JobState.SUCCEEDED)

    assert deployment.job(second).state is JobState.CANCELLED
    assert deployment.gate.processes_of(second) == []


def test_a_row_whose_message_was_never_sent_runs(deployment: Deployment) -> None:
    job_id = deployment.post_job(send=False)  # the API died between commit and send

    assert deployment.wait_for(job_id, JobState.SUCCEEDED).attempt == 1


def test_queued_jobs_outlive_the_loss_of_all_messages(deployment: Deployment) -> None:
    first = deployment.post_job(hold=True)
    deployment.wait_for_start(first)
    waiting = [deployment.post_job() for _ in range(3)]

    deployment.lose_all_messages()
    deployment.gate.release(first)

    for job_id in [first, *waiting]:
        assert deployment.wait_for(job_id, JobState.SUCCEEDED).attempt == 1
        assert len(deployment.gate.processes_of(job_id)) == 1


def test_a_series_that_cannot_be_read_fails_with_its_code(deployment: Deployment) -> None:
    first = deployment.post_job(hold=True)
    deployment.wait_for_start(first)
    broken, missing = deployment.post_job(), deployment.post_job()
    folder = deployment.storage.folder(StoredKind.SERIES, deployment.job(broken).series_id)
    (folder / "00002.dcm").unlink()
    (folder / "00003.dcm").unlink()
    deployment.storage.delete(StoredKind.SERIES, deployment.job(missing).series_id)
    deployment.gate.release(first)

    failed = deployment.wait_for(broken, JobState.FAILED)
    assert failed.error_code == "single_slice"
    failed = deployment.wait_for(missing, JobState.FAILED)
    assert failed.error_code == JobErrorCode.STORED_FILES_MISSING


def test_a_job_that_kills_its_process_fails_and_the_worker_goes_on(
    deployment: Deployment,
) -> None:
    poisoned = deployment.post_job(poison=True, max_attempts=2)

    for starts in (1, 2):
        deployment.wait_for_start(poisoned, starts)
        process = deployment.gate.processes_of(poisoned)[-1]
        wait_until(lambda process=process: not is_alive(process))
        deployment.end_lease(TaskName.CONTOUR_JOB_RUN, poisoned)

    failed = deployment.wait_for(poisoned, JobState.FAILED)
    assert failed.error_code == JobErrorCode.WORKER_LOST
    assert failed.attempt == 2
    deployment.wait_for(deployment.post_job(), JobState.SUCCEEDED)
