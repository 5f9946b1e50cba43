"""Trainings on real workers that die, share, stop and hear twice, on both pairs."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from ml.config import RunConfig
from services.core.database import utc_now
from services.core.lifecycle import ExperimentState, JobState
from services.core.queue import QueueName, TaskName
from services.core.storage import StoredKind
from services.core.tables.experiments import Run
from tests.factories.experiments import (
    add_dataset_version,
    add_run,
    tiny_config,
    write_tiny_dataset,
)
from tests.integration.deployment import Deployment, Mode, wait_until
from tests.integration.gates import TRAININGS
from tests.integration.processes import kill_family

EPOCHS = 3
LONG = {"epochs": EPOCHS, "slices_per_epoch": 64}
"""Epochs of several batches, so that there is a middle to be hit in."""
VISIBLE_SECONDS = 1
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
    if deployment.gate.is_held(TRAININGS):
        deployment.gate.release(TRAININGS)


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


def logged(deployment: Deployment, run_id: UUID, words: str) -> int:
    """How often trainers said so of a run."""
    logs = "".join(path.read_text() for path in deployment.root.glob("worker-trainer-*.log"))
    return sum(str(run_id) in line and words in line for line in logs.splitlines())


def test_a_run_whose_worker_was_killed_ends_like_an_undisturbed_one(
    deployment: Deployment, version_id: UUID
) -> None:
    worker = start_trainer(deployment)
    calm = queue_run(deployment, version_id, tiny_config(**LONG))
    expected = wait_for(deployment, calm, JobState.SUCCEEDED)
    deployment.gate.hold(TRAININGS)
    hit = queue_run(deployment, version_id, tiny_config(**LONG))
    deployment.wait_for_start(hit)
    assert run_of(deployment, hit).epochs == 1

    kill_family(worker)
    deployment.gate.release(TRAININGS)
    deployment.end_lease(TaskName.RUN_TRAIN, hit)
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
    deployment.gate.hold(TRAININGS)
    run_id = queue_run(deployment, version_id, tiny_config(**LONG))
    deployment.wait_for_start(run_id)

    with deployment.unit_of_work() as uow:
        uow.leases.request_cancel(TaskName.RUN_TRAIN, run_id)
        uow.commit()
    cancelled = wait_for(deployment, run_id, JobState.CANCELLED)
    assert cancelled.epochs == 1
    deployment.gate.release(TRAININGS)
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
    deployment.gate.hold(TRAININGS)
    first = queue_run(deployment, version_id, tiny_config(**LONG))
    experiment_id = run_of(deployment, first).experiment_id
    others = [
        queue_run(
            deployment,
            version_id,
            tiny_config(**LONG),
            experiment_id=experiment_id,
            position=position,
            seed=position,
        )
        for position in range(1, 4)
    ]

    def owners() -> set[str]:
        found = [run_of(deployment, run_id).lease_owner for run_id in (first, *others)]
        return {owner.split(":")[0] for owner in found if owner}

    wait_until(lambda: len(owners()) == 2)
    job_id = deployment.post_job()
    deployment.wait_for(job_id, JobState.SUCCEEDED)
    assert len(owners()) == 2
    deployment.gate.release(TRAININGS)
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
    deployment.gate.hold(TRAININGS)
    runs = [queue_run(deployment, version_id, tiny_config(**LONG), seed=i) for i in range(2)]
    wait_until(lambda: any(deployment.gate.processes_of(i) for i in runs))
    kill_family(worker)
    deployment.gate.release(TRAININGS)
    (hit,) = [i for i in runs if run_of(deployment, i).state is JobState.RUNNING]
    deployment.end_lease(TaskName.RUN_TRAIN, hit)
    deployment.lose_all_messages()

    start_trainer(deployment)

    for run_id in runs:
        assert wait_for(deployment, run_id, JobState.SUCCEEDED).epochs == EPOCHS
        assert [epoch[0] for epoch in numbers_of(deployment, run_id)] == [1, 2, 3]


@pytest.mark.parametrize("mode", [Mode.SERVERS], indirect=True, scope="session")
def test_a_run_longer_than_the_visibility_timeout_runs_once(
    deployment: Deployment, version_id: UUID
) -> None:
    short = {"CERVICONTOUR_VISIBILITY_TIMEOUT_SECONDS": str(VISIBLE_SECONDS)}
    first = start_trainer(deployment, **short)
    start_trainer(deployment, **short)
    deployment.gate.hold(TRAININGS)
    run_id = queue_run(deployment, version_id, tiny_config(**LONG))
    deployment.ring(TaskName.RUN_TRAIN, run_id)
    deployment.wait_for_start(run_id)
    started_at = run_of(deployment, run_id).started_at
    assert started_at is not None
    wait_until(lambda: (utc_now() - started_at).total_seconds() > 2 * VISIBLE_SECONDS)
    wait_until(lambda: logged(deployment, run_id, "nothing to do"))
    deployment.gate.release(TRAININGS)

    run = wait_for(deployment, run_id, JobState.SUCCEEDED)

    assert (run.attempt, run.fencing_token) == (1, 1)
    assert logged(deployment, run_id, "job started") == 1
    first.check()
