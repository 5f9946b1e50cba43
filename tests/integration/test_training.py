"""Trainings on real workers that die, share, stop and hear twice, on both pairs."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from ml.config import RunConfig
from services.core.lifecycle import ExperimentState, JobState
from services.core.queue import Message, QueueName, TaskName
from services.core.storage import StoredKind
from services.core.tables.experiments import Run
from tests.factories.experiments import (
    add_dataset_version,
    add_run,
    tiny_config,
    write_tiny_dataset,
)
from tests.integration.deployment import Deployment, Mode, wait_until

EPOCHS = 3
SLOW = {"epochs": EPOCHS, "slices_per_epoch": 500}
"""Epochs of seconds, so that there is a middle to be hit in."""
ONE_THREAD = {"CERVICONTOUR_THREAD_COUNT": "1"}


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("dataset") / "tiny"
    return folder, write_tiny_dataset(folder)


@pytest.fixture
def version_id(deployment: Deployment, tiny_dataset: tuple[Path, dict[str, Any]]) -> UUID:
    folder, facts = tiny_dataset
    version = add_dataset_version(deployment.unit_of_work(), facts=facts)
    with deployment.storage.staging() as staged:
        shutil.copytree(folder, staged, dirs_exist_ok=True)
        deployment.storage.publish(StoredKind.DATASETS, staged, version.id)
    return version.id


@pytest.fixture(autouse=True)
def _no_worker_stays(deployment: Deployment) -> Iterator[None]:
    yield
    while deployment.workers:
        deployment.workers.pop().kill()


def start_trainer(deployment: Deployment, **variables: str):
    name = f"trainer-{uuid4().hex[:6]}"
    return deployment.start_worker(name, QueueName.TRAINING, **ONE_THREAD, **variables)


def queue_run(deployment: Deployment, version_id: UUID, config: RunConfig, **values: Any) -> UUID:
    """A committed run; its message is sent by housekeeping, as after a crash of the API."""
    return add_run(deployment.unit_of_work(), version_id, config, **values).id


def run_of(deployment: Deployment, run_id: UUID) -> Run:
    with deployment.unit_of_work() as uow:
        return uow.runs.get(run_id)


def numbers_of(deployment: Deployment, run_id: UUID) -> list[tuple[Any, ...]]:
    """Every number of every epoch but the seconds."""
    with deployment.unit_of_work() as uow:
        epochs = uow.runs.epochs([run_id])
    return [
        (e.epoch, e.training_loss, e.validation_loss, e.validation_dice, e.learning_rate)
        for e in epochs
    ]


def wait_for(deployment: Deployment, run_id: UUID, state: JobState) -> Run:
    def is_there() -> bool:
        run = run_of(deployment, run_id)
        assert run.state is state or not run.state.is_terminal, (run.state, run.error_detail)
        return run.state is state

    wait_until(is_there)
    return run_of(deployment, run_id)


def wait_for_the_middle_of_epoch_2(deployment: Deployment, run_id: UUID) -> None:
    def is_there() -> bool:
        run = run_of(deployment, run_id)
        return run.epochs == 1 and run.progress > 1.1 / EPOCHS

    wait_until(is_there)


def test_a_run_whose_worker_was_killed_ends_like_an_undisturbed_one(
    deployment: Deployment, version_id: UUID
) -> None:
    worker = start_trainer(deployment)
    calm = queue_run(deployment, version_id, tiny_config(**SLOW))
    expected = wait_for(deployment, calm, JobState.SUCCEEDED)
    hit = queue_run(deployment, version_id, tiny_config(**SLOW))
    wait_for_the_middle_of_epoch_2(deployment, hit)

    worker.kill()
    start_trainer(deployment)

    found = wait_for(deployment, hit, JobState.SUCCEEDED)
    assert (found.attempt, found.epochs) == (2, EPOCHS)
    assert numbers_of(deployment, hit) == numbers_of(deployment, calm)
    assert found.weights_sha256 == expected.weights_sha256
    assert found.validation_dice == expected.validation_dice
    assert found.test_dice == expected.test_dice
    with deployment.unit_of_work() as uow:
        scores = uow.runs.score_page(hit, 100)
    assert len(scores) == len({(score.case, score.structure) for score in scores}) == 4


def test_a_cancel_in_the_middle_of_an_epoch_ends_it_and_a_resume_goes_on(
    deployment: Deployment, version_id: UUID
) -> None:
    start_trainer(deployment)
    run_id = queue_run(deployment, version_id, tiny_config(**SLOW))
    wait_for_the_middle_of_epoch_2(deployment, run_id)

    with deployment.unit_of_work() as uow:
        uow.leases.request_cancel(TaskName.RUN_TRAIN, run_id)
        uow.commit()
    cancelled = wait_for(deployment, run_id, JobState.CANCELLED)
    assert cancelled.epochs == 1
    with deployment.unit_of_work() as uow:
        assert uow.runs.requeue(run_id, from_the_start=False, max_attempts=3)
        uow.enqueue(TaskName.RUN_TRAIN, run_id)
        uow.commit()

    assert wait_for(deployment, run_id, JobState.SUCCEEDED).epochs == EPOCHS


def test_two_workers_share_an_experiment_while_jobs_are_contoured(
    deployment: Deployment, version_id: UUID
) -> None:
    deployment.start_worker("contouring")
    for _ in range(2):
        start_trainer(deployment)
    first = queue_run(deployment, version_id, tiny_config(**SLOW))
    experiment_id = run_of(deployment, first).experiment_id
    others = [
        queue_run(
            deployment,
            version_id,
            tiny_config(**SLOW),
            experiment_id=experiment_id,
            position=position,
            seed=position,
        )
        for position in range(1, 4)
    ]
    owners: set[str] = set()

    def are_both_at_work() -> bool:
        owners.update(run_of(deployment, i).lease_owner or "" for i in (first, *others))
        return len({owner.split(":")[0] for owner in owners if owner}) == 2

    wait_until(are_both_at_work)
    job_id = deployment.post_job()
    deployment.wait_for(job_id, JobState.SUCCEEDED)
    assert JobState.RUNNING in {run_of(deployment, i).state for i in (first, *others)}
    runs = [wait_for(deployment, run_id, JobState.SUCCEEDED) for run_id in (first, *others)]

    assert [run.attempt for run in runs] == [1] * 4
    assert deployment.job(job_id).attempt == 1

    def is_concluded() -> bool:
        with deployment.unit_of_work() as uow:
            return uow.experiments.get(experiment_id).state is ExperimentState.FINISHED

    wait_until(is_concluded)
    with deployment.unit_of_work() as uow:
        assert len(uow.reports.page(9, experiment_id=experiment_id)) == 1


def test_nothing_is_lost_when_every_process_and_message_goes(
    deployment: Deployment, version_id: UUID
) -> None:
    worker = start_trainer(deployment)
    runs = [queue_run(deployment, version_id, tiny_config(**SLOW), seed=i) for i in range(2)]
    wait_until(lambda: any(run_of(deployment, i).epochs == 1 for i in runs))
    worker.kill()
    deployment.lose_all_messages()

    start_trainer(deployment)

    for run_id in runs:
        assert wait_for(deployment, run_id, JobState.SUCCEEDED).epochs == EPOCHS
        assert [epoch[0] for epoch in numbers_of(deployment, run_id)] == [1, 2, 3]


@pytest.mark.parametrize("mode", [Mode.SERVERS], indirect=True, scope="session")
def test_a_run_longer_than_the_visibility_timeout_runs_once(
    deployment: Deployment, version_id: UUID
) -> None:
    short = {"CERVICONTOUR_VISIBILITY_TIMEOUT_SECONDS": "1"}
    first = start_trainer(deployment, **short)
    start_trainer(deployment, **short)
    run_id = queue_run(deployment, version_id, tiny_config(**SLOW))
    message = Message(task=TaskName.RUN_TRAIN, resource_id=run_id)
    deployment.queue.send(message)
    wait_until(lambda: run_of(deployment, run_id).state is JobState.RUNNING)

    run = wait_for(deployment, run_id, JobState.SUCCEEDED)

    assert run.started_at is not None
    assert run.finished_at is not None
    assert (run.finished_at - run.started_at).total_seconds() > 2
    assert (run.attempt, run.fencing_token) == (1, 1)
    logs = "".join(path.read_text() for path in deployment.root.glob("worker-trainer-*.log"))
    assert sum(str(run_id) in line and "job started" in line for line in logs.splitlines()) == 1
    assert any(str(run_id) in line and "nothing to do" in line for line in logs.splitlines())
    first.check()
