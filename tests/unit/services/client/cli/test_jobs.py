"""The commands of the main job, against the real API."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import Result

from services.core.queue import TaskName
from tests.factories.api import finish_job
from tests.factories.servers import Service

pytestmark = pytest.mark.enable_socket
Run = Callable[..., Result]


@pytest.fixture
def worker(service: Service) -> Iterator[None]:
    """Somebody who finishes the first job that is queued."""

    def work() -> None:
        while not service.queue.messages and not is_over.is_set():
            time.sleep(0.02)
        if service.queue.messages:
            finish_job(service)

    is_over = threading.Event()
    thread = threading.Thread(target=work)
    thread.start()
    yield
    is_over.set()
    thread.join()


def fail_job(service: Service) -> None:
    job_id = service.queue.resource_ids[-1]
    with service.unit_of_work() as uow:
        claim = uow.leases.claim(TaskName.CONTOUR_JOB_RUN, job_id, owner="worker", seconds=60)
        assert claim is not None
        uow.leases.fail(claim, code="gpu_out_of_memory", detail="too small", context={})
        uow.commit()


@pytest.mark.usefixtures("worker")
def test_submit_waits_and_writes_the_rtstruct(run: Run, ct_folder: Path, tmp_path: Path) -> None:
    result = run("submit", ct_folder, "--out", tmp_path / "rs.dcm")

    assert result.exit_code == 0, result.output
    assert (tmp_path / "rs.dcm").read_bytes() == b"RTSTRUCT"
    assert "succeeded, 3 slices" in result.stdout
    assert "left out: notes.txt" in result.stdout
    assert "Bladder    1.5" in result.stdout
    assert str(tmp_path / "rs.dcm") in result.stdout


@pytest.mark.usefixtures("worker")
def test_submit_prints_json_for_programs(run: Run, ct_folder: Path) -> None:
    result = run("submit", ct_folder, "--wait", "--json")

    answer = json.loads(result.stdout)
    assert (answer["job"]["state"], answer["series"]["slice_count"]) == ("succeeded", 3)


def test_submit_without_waiting_leaves_a_queued_job(
    run: Run, service: Service, ct_folder: Path
) -> None:
    result = run("submit", *sorted(ct_folder.iterdir()))

    job_id = service.queue.resource_ids[0]
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{job_id}  queued, 3 slices\n")


def test_a_refused_ct_ends_with_its_code(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no CT")

    result = run("submit", tmp_path / "notes.txt")

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: not_dicom: ")


def test_a_failed_job_ends_with_its_code(run: Run, service: Service, ct_folder: Path) -> None:
    run("submit", ct_folder)
    fail_job(service)

    result = run("watch", service.queue.resource_ids[0])

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: gpu_out_of_memory: ")
    assert "too small" in result.stderr


def test_watch_and_download_take_what_is_finished(
    run: Run, service: Service, ct_folder: Path, tmp_path: Path
) -> None:
    run("submit", ct_folder)
    finish_job(service)
    job_id = service.queue.resource_ids[0]

    watched = run("watch", job_id, "--out", tmp_path / "a.dcm")
    downloaded = run("download", job_id, "--out", tmp_path / "b.dcm")

    assert (watched.exit_code, downloaded.exit_code) == (0, 0)
    assert watched.stdout.startswith(f"{job_id}  succeeded\n")
    assert downloaded.stdout == f"{tmp_path / 'b.dcm'}\n"
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes() == b"RTSTRUCT"


def test_a_file_that_cannot_be_written_is_an_error(
    run: Run, service: Service, ct_folder: Path, tmp_path: Path
) -> None:
    run("submit", ct_folder)
    finish_job(service)

    result = run("download", service.queue.resource_ids[0], "--out", tmp_path / "no" / "rs.dcm")

    assert result.exit_code == 1
    assert result.stderr.startswith("error: file: ")


def test_jobs_are_listed_as_a_table_or_as_json(run: Run, service: Service, ct_folder: Path) -> None:
    for _ in range(2):
        run("submit", ct_folder)
    first, second = map(str, service.queue.resource_ids)
    run("cancel", first)

    table = run("jobs").stdout.splitlines()
    cancelled = run("jobs", "--state", "cancelled", "--json")
    one = run("jobs", "--limit", 1)

    assert [line.split()[:2] for line in table[1:]] == [[second, "queued"], [first, "cancelled"]]
    assert [job["id"] for job in json.loads(cancelled.stdout)] == [first]
    assert (second in one.stdout, first in one.stdout) == (True, False)


def test_cancelling_is_told(run: Run, service: Service, ct_folder: Path) -> None:
    run("submit", ct_folder)

    result = run("cancel", service.queue.resource_ids[0])

    assert result.stdout == f"{service.queue.resource_ids[0]}  cancelled\n"


@pytest.mark.parametrize("command", ["watch", "cancel"])
def test_an_unknown_job_is_refused(run: Run, command: str) -> None:
    result = run(command, uuid4())

    assert result.exit_code == 1
    assert result.stderr.startswith("error: contour_job_not_found: ")


def test_health_says_by_its_exit_code_that_there_is_no_worker(run: Run) -> None:
    result = run("health")

    assert result.exit_code == 1
    lines = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines()[2:]}
    assert lines["database"] == ["ok", "answers"]
    assert lines["inference_worker"][0] == "FAILED"
    assert json.loads(run("health", "--json").stdout)["status"] == "not_ready"


def test_an_id_is_an_id(run: Run) -> None:
    result = run("watch", "yesterday")

    assert result.exit_code == 2
