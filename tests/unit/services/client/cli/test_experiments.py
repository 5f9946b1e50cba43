"""The commands of experiments, against the real API."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest
from click.testing import Result

from services.client.client import CerviContourClient
from services.client.models import Epoch, Experiment
from services.client.models import Run as RunShown
from services.core.queue import TaskName
from services.core.storage import StoredKind
from tests.factories.experiments import add_dataset_version
from tests.factories.run_progress import fail, record_epochs, start, succeed
from tests.factories.servers import Service

pytestmark = pytest.mark.enable_socket
Run = Callable[..., Result]


@pytest.fixture
def version(service: Service) -> str:
    return str(add_dataset_version(service.unit_of_work()).id)


def started(run: Run, *arguments: str) -> str:
    result = run("experiment", "start", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["id"]


def conclude(service: Service) -> None:
    with service.unit_of_work() as uow:
        uow.experiments.conclude()
        uow.commit()


@contextmanager
def beside(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Work in a thread beside the block; the event tells it that the block is over."""
    is_over = threading.Event()
    thread = threading.Thread(target=work, args=(is_over,))
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def finish(service: Service, client: CerviContourClient, experiment_id: str) -> None:
    """Let every run succeed, the first one best."""
    for place, shown in enumerate(client.experiments.runs(experiment_id)):
        claim = start(service, str(shown.id))
        record_epochs(service, claim, 2)
        succeed(service, claim, 0.9 - place / 10)
    conclude(service)


class TestStarting:
    def test_a_grid_search_is_asked_for_as_it_is_said(
        self, run: Run, version: str, client: CerviContourClient
    ) -> None:
        experiment_id = started(
            run, "grid-search", version, "--name", "grid", "--epochs", "5", "--seeds", "0,1",
            "--max-seconds", "90.5", "--recipe", "paper", "--set", "training.batch_size=2",
            "--axis", "training.learning_rate=0.01,1e-3", "--axis", "loss.name=dice,ce",
        )  # fmt: skip

        experiment = client.experiments.get(experiment_id)
        assert (experiment.kind, experiment.name, experiment.runs) == (
            "grid_search",
            "grid",
            {"queued": 8},
        )
        asked = experiment.model_dump()["request"]
        assert asked["settings"] == {
            "training.batch_size": 2,
            "training.max_epochs": 5,
            "training.max_seconds": 90.5,
        }
        assert asked["seeds"] == [0, 1]
        assert asked["axes"] == {
            "training.learning_rate": [0.01, 0.001],
            "loss.name": ["dice", "ce"],
        }
        assert asked["recipe"] == "paper"

    @pytest.mark.parametrize(
        ("kind", "option", "values"),
        [
            ("loss-comparison", "losses", ["ce", "dice"]),
            ("network-comparison", "networks", ["unet", "resaunet"]),
        ],
    )
    def test_what_is_compared_is_named(
        self, run: Run, version: str, kind: str, option: str, values: list[str],
        client: CerviContourClient,
    ) -> None:  # fmt: skip
        experiment_id = started(run, kind, version, f"--{option}", ",".join(values))

        assert client.experiments.get(experiment_id).model_dump()["request"][option] == values

    def test_a_dry_run_tells_the_runs_and_stores_nothing(self, run: Run, version: str) -> None:
        arguments = ("experiment", "start", "training", version, "--dry-run", "--seeds", "3,4")

        result = run(*arguments)

        assert result.exit_code == 0
        lines = result.stdout.splitlines()
        assert [line.split()[-1] for line in lines[:-1]] == ["seed", "3", "4"]
        assert lines[-1].startswith("2 runs, ")
        assert len(json.loads(run(*arguments, "--json").stdout)["runs"]) == 2
        assert run("experiment", "list", "--json").stdout == "[]\n"

    def test_a_wrong_setting_is_refused_by_its_name(self, run: Run, version: str) -> None:
        result = run("experiment", "start", "training", version, "--set", "training.weather=1")

        assert result.exit_code == 1
        assert result.stderr.startswith("error: config_invalid: training.weather")

    @pytest.mark.parametrize(
        "options",
        [
            ["--seeds", "a,b"],
            ["--set", "training.batch_size"],
            ["--axis", "training.batch_size="],
            ["--losses", "ce,,dice"],
            ["--epochs", "0"],
        ],
    )
    def test_options_are_read_before_anything_is_asked(self, run: Run, options: list[str]) -> None:
        assert run("experiment", "start", "training", "x", *options).exit_code == 2


class TestWatching:
    def test_every_run_that_ends_is_a_line_and_the_leaderboard_comes_last(
        self, run: Run, version: str, service: Service, client: CerviContourClient
    ) -> None:
        experiment_id = started(
            run, "loss-comparison", version, "--losses", "dice,ce", "--seeds", "0"
        )
        finish(service, client, experiment_id)

        result = run("experiment", "watch", experiment_id)

        assert result.exit_code == 0, result.output
        assert "loss-dice seed 0: succeeded after 2 epochs, validation Dice 0.900" in result.stderr
        assert "loss-ce seed 0: succeeded after 2 epochs, validation Dice 0.800" in result.stderr
        places = [line.split()[:3] for line in result.stdout.splitlines()[2:]]
        assert places == [["1", "loss-dice", "0.900"], ["2", "loss-ce", "0.800"]]

    def test_an_experiment_without_a_success_is_a_failure(
        self, run: Run, version: str, service: Service, client: CerviContourClient
    ) -> None:
        experiment_id = started(run, "training", version)
        (shown,) = client.experiments.runs(experiment_id)
        fail(service, start(service, str(shown.id)))
        conclude(service)

        result = run("experiment", "watch", experiment_id)

        assert result.exit_code == 1
        assert "seed 0: failed: non_finite_loss: nan" in result.stderr
        assert "error: no_run_succeeded: " in result.stderr

    def test_a_run_is_followed_while_it_trains(
        self, run: Run, version: str, service: Service, client: CerviContourClient
    ) -> None:
        experiment_id = started(run, "training", version)
        (shown,) = client.experiments.runs(experiment_id)
        claim = start(service, str(shown.id))
        changes = client.experiments.events(experiment_id)
        told = []
        for change in changes:
            told.append(change)
            match change:
                case Experiment(state="running") if not any(isinstance(c, Epoch) for c in told):
                    record_epochs(service, claim, 1)
                case Epoch(epoch=1):
                    succeed(service, claim, 0.7)
                    conclude(service)

        runs = [c for c in told if isinstance(c, RunShown)]
        assert runs[0].state == "running"
        assert (runs[-1].state, runs[-1].mean_dice) == ("succeeded", 0.7)
        assert told[-1] == client.experiments.get(experiment_id)

    def test_start_may_watch_at_once(
        self, run: Run, version: str, service: Service, client: CerviContourClient
    ) -> None:
        def train(is_over: threading.Event) -> None:
            while not service.queue.messages:
                if is_over.wait(0.02):
                    return
            claim = start(service, str(service.queue.resource_ids[0]))
            record_epochs(service, claim, 1)
            succeed(service, claim, 0.6)
            conclude(service)

        with beside(train):
            result = run("experiment", "start", "training", version, "--watch", "--json")

        assert result.exit_code == 0, result.output
        shown = json.loads(result.stdout)
        assert (shown["state"], shown["leaderboard"]["places"][0]["succeeded"]) == ("finished", 1)


class TestResults:
    def test_experiments_are_listed_shown_and_cancelled(self, run: Run, version: str) -> None:
        first, second = started(run, "training", version), started(run, "training", version)

        cancelled = run("experiment", "cancel", first)
        listed = run("experiment", "list").stdout.splitlines()
        shown = run("experiment", "show", second)

        assert "1 cancelled" in cancelled.stdout
        assert [line.split()[0] for line in listed[1:]] == [second, first]
        assert "1 queued" in shown.stdout

    def test_a_cancelled_run_can_be_resumed(
        self, run: Run, version: str, client: CerviContourClient
    ) -> None:
        experiment_id = started(run, "training", version)
        client.experiments.cancel(experiment_id)
        (shown,) = client.experiments.runs(experiment_id)

        assert client.experiments.resume_run(shown.id).state == "queued"
        assert list(client.experiments.epochs(shown.id)) == []

    def test_scores_are_written_as_csv(self, run: Run, version: str, tmp_path: Path) -> None:
        experiment_id = started(run, "training", version)

        result = run("experiment", "scores", experiment_id, "--out", tmp_path / "scores.csv")

        assert result.stdout == f"{tmp_path / 'scores.csv'}\n"
        assert (tmp_path / "scores.csv").read_text().startswith("run,seed,")

    def test_a_report_is_asked_for_once_and_written_with_all_its_files(
        self, run: Run, version: str, service: Service, client: CerviContourClient, tmp_path: Path
    ) -> None:
        experiment_id = started(run, "training", version)
        finish(service, client, experiment_id)

        with beside(lambda is_over: write_report(service, is_over)):
            first = run("experiment", "report", experiment_id, "--out", tmp_path / "first")
        second = run("experiment", "report", experiment_id, "--out", tmp_path / "second", "--json")

        assert first.exit_code == 0, first.output
        for folder in ("first", "second"):
            files = {p.name: p.read_text() for p in (tmp_path / folder).iterdir()}
            assert files == {"report.html": "<html></html>", "table2.csv": "a,b"}
        tasks = [message.task for message in service.queue.messages]
        assert tasks.count(TaskName.REPORT_WRITE) == 1
        assert json.loads(second.stdout)["state"] == "succeeded"

    def test_without_a_success_there_is_nothing_to_report(
        self, run: Run, version: str, tmp_path: Path
    ) -> None:
        result = run("experiment", "report", started(run, "training", version), "--out", tmp_path)

        assert result.exit_code == 1
        assert result.stderr.startswith("error: nothing_to_report: ")


def write_report(service: Service, is_over: threading.Event) -> None:
    """Do to the first report what a worker does, unless none is asked for."""
    while service.queue.messages[-1].task != TaskName.REPORT_WRITE:
        if is_over.wait(0.02):
            return
    report_id: UUID = service.queue.messages[-1].resource_id
    storage = service.app.state.dependencies.storage
    files = {"report.html": "<html></html>", "table2.csv": "a,b"}
    with service.unit_of_work() as uow:
        claim = uow.leases.claim(TaskName.REPORT_WRITE, report_id, owner="worker", seconds=60)
        assert claim is not None
        with storage.staging() as folder:
            for name, text in files.items():
                (folder / name).write_text(text)
            storage.publish(StoredKind.REPORTS, folder, report_id)
        uow.leases.succeed(claim, {"summary": {}, "file_names": list(files)})
        uow.commit()
