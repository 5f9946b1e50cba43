import os
from pathlib import Path

import httpx
import psutil
import pytest

from services.embedded.children import ChildDiedError
from services.embedded.supervisor import EmbeddedStack, StackBusyError
from tests.integration.deployment import SHORT_TIMES, WORKER_APP
from tests.integration.slow_worker import GATE_VARIABLE


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


def children() -> list[psutil.Process]:
    return psutil.Process(os.getpid()).children(recursive=True)


def test_a_stack_is_ready_inside_and_gone_outside(tmp_path: Path) -> None:
    before = set(children())
    with make_stack(tmp_path) as stack:
        with httpx.Client(base_url=stack.base_url) as client:
            assert client.get("/health/ready").is_success
            assert client.get("/v1/contour-jobs").is_success
        with pytest.raises(StackBusyError), make_stack(tmp_path):
            pass
        started = set(children()) - before

    assert len(started) >= 5  # the API, two workers and a child of each
    assert not any(process.is_running() for process in started)
    assert (stack.log_dir / "api.log").stat().st_size > 0


def test_a_process_that_dies_at_start_is_named_and_nothing_stays(tmp_path: Path) -> None:
    before = set(children())

    with pytest.raises(ChildDiedError) as caught, make_stack(tmp_path, "no.such.worker"):
        pass

    assert caught.value.name.startswith("worker-")
    assert "ModuleNotFoundError" in str(caught.value)
    assert set(children()) <= before


def test_a_worker_without_weights_does_not_stay(tmp_path: Path) -> None:
    missing = str(tmp_path / "no.safetensors")

    with (
        pytest.raises(ChildDiedError) as caught,
        make_stack(tmp_path, "services.worker.app", CERVICONTOUR_WEIGHTS_PATH=missing),
    ):
        pass

    assert caught.value.name == "worker-inference"
    assert "weights or card are missing" in caught.value.log_path.read_text()
