from services.core.lifecycle import ExperimentKind
from services.core.queue import TaskName
from services.core.tables.experiments import Experiment, Run
from services.core.unit_of_work import UnitOfWork
from tests.factories.experiments import add_dataset_version, tiny_config

PLANNED = 8


def test_runs_planned_at_one_moment_are_queued_in_the_order_of_the_plan(uow: UnitOfWork) -> None:
    version = add_dataset_version(uow)
    with uow:
        experiment = Experiment(
            kind=ExperimentKind.GRID_SEARCH,
            name="grid",
            dataset_version_id=version.id,
            request={},
            correlation_id="request-1",
        )
        uow.experiments.add(experiment)
        runs = [
            Run(
                experiment_id=experiment.id,
                position=position,
                label=str(position),
                seed=0,
                config=tiny_config().to_dict(),
                max_epochs=1,
                correlation_id="request-1",
                max_attempts=3,
            )
            for position in range(PLANNED)
        ]
        uow.runs.add_all(runs)
        uow.commit()
    with uow:
        positions = uow.leases.queue_positions(TaskName.RUN_TRAIN, runs)
        due = uow.leases.due_for_sending(TaskName.RUN_TRAIN, resend_seconds=60)
    assert [positions[run.id] for run in runs] == list(range(PLANNED))
    assert due[:PLANNED] == [run.id for run in runs]
