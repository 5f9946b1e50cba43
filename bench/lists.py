"""How fast every list of experiments answers when there is much to list.

200 experiments, 20,000 epochs and 200,000 scores by default; each route is asked through the whole
application, without a socket, on SQLite or on the PostgreSQL of --database-url (a database of its
own: tables are made in it and rows are left).

    python bench/lists.py
    python bench/lists.py --database-url postgresql+psycopg://user@127.0.0.1/empty
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy import event

from services.api.main import create_app
from services.core.database import create_database_engine, utc_now
from services.core.lifecycle import ExperimentKind, ExperimentState, JobState
from services.core.migrations import upgrade_database
from services.core.settings import Settings
from services.core.tables.datasets import Dataset, DatasetVersion
from services.core.tables.experiments import Experiment, Run, RunEpoch, RunScore

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.factories.experiments import tiny_config, version_facts
from tests.fakes import FakeJobQueue

EXPERIMENTS = 200
RUNS = 5
"""Of an experiment."""
EPOCHS = 20
"""Of a run."""
SCORES = 200
"""Of a run: 50 cases of four structures."""
REPETITIONS = 25
STATEMENTS_LIMIT = 12
"""Of one answer; a list that asks once a row has more."""


def main() -> None:
    """Fill a database, ask every list, print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database-url", help="of an empty PostgreSQL database")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = arguments.database_url or f"sqlite+pysqlite:///{folder}/bench.sqlite"
        engine = create_database_engine(url)
        upgrade_database(engine)
        experiment_id, run_id = fill(engine)
        settings = Settings(data_dir=Path(folder), database_url=SecretStr(url))
        asyncio.run(measure(settings, experiment_id, run_id))
        engine.dispose()


def fill(engine: sa.Engine) -> tuple[UUID, UUID]:
    """Make the rows; return an experiment and a run in the middle of them."""
    config = tiny_config().to_dict()
    now = utc_now()
    dataset_id, version_id = uuid4(), uuid4()
    work = {
        "correlation_id": "bench",
        "max_attempts": 3,
        "created_at": now,
        "state": JobState.SUCCEEDED,
    }
    experiments = [uuid4() for _ in range(EXPERIMENTS)]
    runs = [(uuid4(), e, position) for e in experiments for position in range(RUNS)]
    with engine.begin() as connection:
        connection.execute(
            sa.insert(Dataset),
            [{"id": dataset_id, "name": "bench", "mapping": {}, "created_at": now}],
        )
        version = {"id": version_id, "dataset_id": dataset_id, "number": 1, "request": {}}
        facts = {"structure_set": "cervix", "facts": version_facts()}
        connection.execute(sa.insert(DatasetVersion), [version | facts | work])
        connection.execute(
            sa.insert(Experiment),
            [
                {
                    "id": experiment_id,
                    "kind": ExperimentKind.GRID_SEARCH,
                    "name": "grid",
                    "dataset_version_id": version_id,
                    "request": {},
                    "state": ExperimentState.FINISHED,
                    "correlation_id": "bench",
                    "created_at": now,
                }
                for experiment_id in experiments
            ],
        )
        connection.execute(
            sa.insert(Run),
            [
                {
                    "id": run_id,
                    "experiment_id": experiment_id,
                    "position": position,
                    "label": f"label {position}",
                    "seed": 0,
                    "config": config,
                    "max_epochs": EPOCHS,
                    "epochs": EPOCHS,
                    "training_seconds": 10.0,
                    "mean_dice": 0.8,
                    "validation_dice": {"Bladder": 0.8},
                    **work,
                }
                for run_id, experiment_id, position in runs
            ],
        )
        for run_id, _, _ in runs:
            connection.execute(sa.insert(RunEpoch), [_epoch(run_id, n, now) for n in range(EPOCHS)])
            connection.execute(sa.insert(RunScore), [_score(run_id, n) for n in range(SCORES)])
    return experiments[EXPERIMENTS // 2], runs[len(runs) // 2][0]


async def measure(settings: Settings, experiment_id: UUID, run_id: UUID) -> None:
    """Ask every list again and again; print medians and the statements of one answer."""
    app = create_app(settings, FakeJobQueue())
    transport = httpx.ASGITransport(app=app)
    routes = [
        "/v1/experiments?limit=50",
        "/v1/experiments?limit=200",
        "/v1/experiments?state=finished&kind=grid_search&limit=50",
        f"/v1/experiments/{experiment_id}",
        f"/v1/experiments/{experiment_id}/runs?limit=50",
        f"/v1/experiments/{experiment_id}/leaderboard",
        f"/v1/runs/{run_id}",
        f"/v1/runs/{run_id}/epochs?limit=200",
        f"/v1/runs/{run_id}/scores?limit=200",
        f"/v1/runs/{run_id}/scores?structure=Bladder&limit=50",
        "/v1/experiment-reports?limit=50",
        f"/v1/experiments/{experiment_id}/scores.csv",
        f"/v1/experiments/{experiment_id}/epochs.csv",
    ]
    statements: list[str] = []
    event.listen(sa.Engine, "before_cursor_execute", lambda *args: statements.append(str(args[2])))
    print(f"{'route':<72}{'median ms':>10}{'worst ms':>10}{'statements':>12}")
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://bench") as client,
    ):
        for route in routes:
            taken: list[float] = []
            for _ in range(REPETITIONS):
                statements.clear()
                started = time.perf_counter()
                response = await client.get(route)
                taken.append(1000 * (time.perf_counter() - started))
                response.raise_for_status()
            shown = route.replace(str(experiment_id), "{id}").replace(str(run_id), "{id}")
            print(
                f"{shown:<72}{statistics.median(taken):>10.1f}{max(taken):>10.1f}"
                f"{len(statements):>12}"
            )
            assert len(statements) <= STATEMENTS_LIMIT, route


def _epoch(run_id: UUID, number: int, now: object) -> dict[str, object]:
    return {
        "run_id": run_id,
        "epoch": number + 1,
        "training_loss": 0.5,
        "validation_loss": 0.5,
        "validation_dice": {"Bladder": 0.8, "Rectum": 0.7, "CTV-N": 0.6, "CTV-UV": 0.9},
        "mean_dice": 0.75,
        "learning_rate": 1e-3,
        "seconds": 10.0,
        "is_best": True,
        "is_best_dice": True,
        "recorded_at": now,
    }


def _score(run_id: UUID, number: int) -> dict[str, object]:
    keys = {"id", "run_id", "part", "case", "patient", "structure"}
    columns = {c.name: c for c in RunScore.__table__.columns if c.name not in keys}
    values: dict[str, object] = {
        name: 3 if isinstance(column.type, sa.Integer) else 0.5 for name, column in columns.items()
    }
    return values | {
        "run_id": run_id,
        "part": "test",
        "case": f"case-{number // 4}",
        "patient": f"patient-{number // 4}",
        "structure": ("Bladder", "Rectum", "CTV-N", "CTV-UV")[number % 4],
    }


if __name__ == "__main__":
    main()
