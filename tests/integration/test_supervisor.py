import os
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import httpx
import psutil
import pytest

from services.core.queue import TaskName
from services.embedded.children import ChildDiedError
from services.embedded.supervisor import EmbeddedStack, StackBusyError
from tests.factories.engines import create_engine_of_stack
from tests.factories.uploads import encode, make_slice, make_zip
from tests.integration.deployment import (
    ANSWER_SECONDS,
    PATIENCE_SECONDS,
    SHORT_TIMES,
    WORKER_APP,
    end_leases,
    wait_until,
)
from tests.integration.gates import GATE_VARIABLE, Gate
from tests.integration.processes import is_alive

ZIP = {"Content-Type": "application/zip"}


def make_stack(folder: Path, worker_app: str = WORKER_APP, **further: str) -> EmbeddedStack:
    variables = (
        SHORT_TIMES
        | further
        | {
            GATE_VARIABLE: str(folder / "gate"),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
    )
    return EmbeddedStack(folder, worker_app=worker_app, variables=variables)


def make_large_series() -> dict[str, bytes]:
    """Slices that the boxes of the test network fit into."""
    return {f"{number}.dcm": encode(make_slice(number, 32)) for number in range(1, 4)}


def client_of(stack: EmbeddedStack) -> httpx.Client:
    return httpx.Client(
        base_url=stack.base_url, headers=stack.headers, trust_env=False, timeout=ANSWER_SECONDS
    )


def processes_of(folder: Path) -> list[psutil.Process]:
    """Find what runs for a stack in the folder, whosever child it is by now."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.environ().get("CERVICONTOUR_DATA_DIR") == str(folder):
                found.append(process)
    return found


def children() -> list[psutil.Process]:
    return psutil.Process(os.getpid()).children(recursive=True)


def kill_all(*words: str) -> None:
    """Kill every child with one of the words in its command line, and return once they are dead."""
    killed: list[int] = []
    for process in children():
        with suppress(psutil.NoSuchProcess):  # its parent ended it meanwhile
            command = " ".join(process.cmdline())
            if any(word in command for word in words):
                process.kill()
                killed.append(process.pid)
    wait_until(lambda: not any(is_alive(pid) for pid in killed))


def open_to_others(folder: Path) -> list[Path]:
    """What somebody else on this machine could read or change."""
    return [path for path in (folder, *folder.rglob("*")) if path.stat().st_mode & 0o077]


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_stack_is_ready_inside_and_gone_outside(tmp_path: Path) -> None:
    mask = current_umask()
    data_dir = tmp_path / "data"
    with make_stack(data_dir) as stack:
        with client_of(stack) as client:
            wait_until(lambda: client.get("/health/ready").is_success)
            assert client.get("/v1/contour-jobs").is_success
            forged = {"X-Forwarded-For": "203.0.113.9"}
            client.post("/v1/api-keys", json={"name": "x", "role": "monitor"}, headers=forged)
            entry = client.get("/v1/audit-entries").json()["items"][0]
            assert (entry["action"], entry["address"]) == ("api_key_created", "127.0.0.1")
            posted = client.post("/v1/series", content=make_zip(make_large_series()), headers=ZIP)
            assert posted.status_code == 201
        with pytest.raises(StackBusyError), make_stack(data_dir):
            pass
        started = processes_of(data_dir)

    assert len(started) >= 5  # the API, two workers and a child of each
    psutil.wait_procs(started, timeout=PATIENCE_SECONDS)
    assert not processes_of(data_dir)
    assert (stack.log_dir / "api.log").stat().st_size > 0
    assert open_to_others(data_dir) == []
    assert current_umask() == mask


def test_processes_that_are_killed_come_back_and_their_jobs_end(tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    body = make_zip(make_large_series())
    with make_stack(tmp_path) as stack, client_of(stack) as client:
        answer = client.post("/v1/autocontour", content=body, headers=ZIP)
        assert answer.is_success, answer.text
        job_id = UUID(answer.json()["job"]["id"])
        wait_until(lambda: bool(gate.processes_of(job_id)))
        kill_all("inference@embedded", "uvicorn")
        engine = create_engine_of_stack(tmp_path)
        end_leases(engine, TaskName.CONTOUR_JOB_RUN)  # none where the job has ended meanwhile
        engine.dispose()

        def has_succeeded() -> bool:
            stack.keep_alive()
            try:
                found = client.get(f"/v1/contour-jobs/{job_id}")
            except httpx.TransportError:
                return False
            return found.is_success and found.json()["state"] == "succeeded"

        wait_until(has_succeeded)
        stack.check()


def test_a_process_that_dies_at_start_is_named_and_nothing_stays(tmp_path: Path) -> None:
    with pytest.raises(ChildDiedError) as caught, make_stack(tmp_path, "no.such.worker"):
        pass

    assert caught.value.name.startswith("worker-")
    assert "ModuleNotFoundError" in str(caught.value)
    wait_until(lambda: not processes_of(tmp_path))


def test_a_worker_without_weights_does_not_stay(tmp_path: Path) -> None:
    missing = str(tmp_path / "no.safetensors")

    with (
        pytest.raises(ChildDiedError) as caught,
        make_stack(tmp_path, "services.worker.app", CERVICONTOUR_WEIGHTS_PATH=missing),
    ):
        pass

    assert caught.value.name == "worker-inference"
    assert "weights or card are missing" in caught.value.log_path.read_text()
