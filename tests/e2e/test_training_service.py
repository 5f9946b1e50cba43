"""Training as a service: cases in, a grid and a comparison on two workers, a promotion.

Everything goes over HTTP to real processes; jobs are contoured meanwhile.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from services.core.queue import TaskName
from services.embedded.supervisor import EmbeddedStack
from tests import waiting
from tests.factories.engines import create_engine_of_stack
from tests.factories.service_client import (
    PATIENCE_SECONDS,
    TINY,
    ask,
    contour,
    index_cohort,
    runs_of,
    start_experiment,
    wait_for,
    write_clinic,
    zip_of_a_ct,
)
from tests.integration.deployment import LEASE_SECONDS, PARSE_SECONDS, SILENT_SECONDS, end_leases
from tests.integration.gates import GATE_VARIABLE, TRAININGS, Gate

pytestmark = [pytest.mark.integration, pytest.mark.enable_socket, pytest.mark.timeout(1500)]

VARIABLES = {
    "CERVICONTOUR_THREAD_COUNT": "1",
    "CERVICONTOUR_SWEEP_SECONDS": "0.5",
    "CERVICONTOUR_HEARTBEAT_SECONDS": "0.3",
    "CERVICONTOUR_LEASE_SECONDS": str(LEASE_SECONDS),
    "CERVICONTOUR_WORKER_SILENT_SECONDS": str(SILENT_SECONDS),
    "CERVICONTOUR_PARSE_TIME_LIMIT_SECONDS": str(PARSE_SECONDS),
    "OMP_NUM_THREADS": "1",
}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clinic(tmp_path_factory.mktemp("clinic"))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    return Gate(tmp_path_factory.mktemp("gate"))


@pytest.fixture(scope="module")
def start(data_dir: Path, gate: Gate, cases: Path) -> Callable[[], EmbeddedStack]:
    variables = {
        **VARIABLES,
        "CERVICONTOUR_DATASETS_DIR": str(cases),
        GATE_VARIABLE: str(gate.folder),
    }
    return lambda: EmbeddedStack(
        data_dir,
        worker_app="tests.e2e.gated_worker",
        training_workers=2,
        variables=variables,
    )


@pytest.fixture(scope="module")
def ct_zip(cases: Path) -> bytes:
    return zip_of_a_ct(cases)


@pytest.fixture
def service(start: Callable[[], EmbeddedStack]) -> Iterator[httpx.Client]:
    with start() as stack, client_of(stack) as client:
        yield client


def client_of(stack: EmbeddedStack) -> httpx.Client:
    return httpx.Client(base_url=stack.base_url, headers=stack.headers, trust_env=False, timeout=60)


def has_trainers(client: httpx.Client, count: int) -> bool:
    answer = client.get("/health/ready")
    workers = answer.json()["workers"]
    trainers = [worker for worker in workers if worker["queue"] == "training"]
    return answer.is_success and len(trainers) == count


def wait_until(is_done: Callable[[], object]) -> None:
    waiting.wait_until(is_done, PATIENCE_SECONDS)


def test_a_winner_of_a_grid_contours_the_next_job_and_goes_again(
    service: httpx.Client, gate: Gate, ct_zip: bytes
) -> None:
    version = index_cohort(service, "grid cohort")
    assert version["facts"]["parts"]["training"]["cases"] == 4
    gate.hold(TRAININGS)
    grid = start_experiment(
        service,
        version,
        kind="grid_search",
        axes={"training.learning_rate": [0.01, 0.001], "training.batch_size": [8, 16]},
        settings=TINY,
        budget={"max_epochs": 2},
    )
    losses = start_experiment(
        service, version, kind="loss_comparison", settings=TINY, budget={"max_epochs": 2}
    )
    runs = [run for experiment in (grid, losses) for run in runs_of(service, experiment)]
    wait_until(lambda: sum(bool(gate.processes_of(UUID(run["id"]))) for run in runs) == 2)
    packaged = contour(service, ct_zip)
    assert packaged["model_version_id"] is None
    states = Counter(
        run["state"] for experiment in (grid, losses) for run in runs_of(service, experiment)
    )
    assert states == {"running": 2, "queued": 6}  # undisturbed
    gate.release(TRAININGS)

    for experiment in (grid, losses):
        done = wait_for(service, experiment["links"]["self"], "finished")
        assert done["runs"] == {"succeeded": 4}
        assert [run["attempt"] for run in runs_of(service, experiment)] == [1] * 4
        board = ask(service, "GET", experiment["links"]["leaderboard"])["places"]
        assert [place["place"] for place in board] == [1, 2, 3, 4]
        report = ask(service, "GET", experiment["links"]["reports"])["items"][0]
        written = wait_for(service, report["links"]["self"], "succeeded")
        page = service.get(written["links"]["page"])
        assert page.text.startswith("<!doctype html>")
        assert written["summary"]

    board = ask(service, "GET", grid["links"]["leaderboard"])["places"]
    promotion = {"run_id": board[0]["best_run_id"], "name": "grid-winner", "margin": 1.0}
    promoted = ask(service, "POST", "/v1/model-versions", json=promotion)
    model = wait_for(service, f"/v1/model-versions/{promoted['id']}", "succeeded")
    alias = {"model_version_id": model["id"], "replaces": None, "reason": "won the grid"}
    ask(service, "PUT", "/v1/model-aliases/production", json=alias)
    by_winner = contour(service, ct_zip)
    assert by_winner["model_version_id"] == model["id"]
    assert by_winner["model_version"] == "grid-winner"
    assert by_winner["weights_sha256"] == model["weights_sha256"]

    ask(service, "POST", "/v1/model-aliases/production/rollback", json={"reason": "a test"})
    again = contour(service, ct_zip)
    assert again["model_version_id"] is None
    assert again["weights_sha256"] == packaged["weights_sha256"]
    wait_until(lambda: has_trainers(service, 2))


def test_nothing_is_lost_when_the_whole_service_restarts(
    start: Callable[[], EmbeddedStack], data_dir: Path
) -> None:
    with start() as stack, client_of(stack) as client:
        version = index_cohort(client, "restarted cohort")
        experiment = start_experiment(
            client,
            version,
            kind="training",
            seeds=[0, 1],
            settings=TINY | {"training.slices_per_epoch": 300},
            budget={"max_epochs": 3},
        )
        wait_until(lambda: ask(client, "GET", experiment["links"]["self"])["epochs"])
    engine = create_engine_of_stack(data_dir)
    end_leases(engine, TaskName.RUN_TRAIN)  # of those that were killed in the midst of a run
    engine.dispose()

    with start() as stack, client_of(stack) as client:
        done = wait_for(client, experiment["links"]["self"], "finished")
        runs = runs_of(client, experiment)

    assert done["runs"] == {"succeeded": 2}
    assert [run["epochs"] for run in runs] == [3, 3]
