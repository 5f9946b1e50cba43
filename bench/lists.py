"""How fast every list of experiments answers when there is much to list.

200 experiments, 20,000 epochs and 200,000 scores by default; each route is asked through the whole
application, without a socket, on SQLite or on the PostgreSQL of --database-url (a database of its
own: tables are made in it and rows are left).

    python bench/lists.py
    python bench/lists.py --database-url postgresql+psycopg://user@127.0.0.1/empty
"""

import argparse
import asyncio
import re
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
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
from services.core.tables.contouring import ContourJob, Series
from services.core.tables.datasets import Dataset, DatasetCase, DatasetVersion
from services.core.tables.experiments import Experiment, Run, RunEpoch, RunScore
from services.core.tables.model_versions import ModelVersion, ShadowContour
from services.core.tables.reviews import EditedRtstruct

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.factories.access import add_key, bearer
from tests.factories.experiments import tiny_config, version_facts
from tests.factories.rows import make_series
from tests.fakes import BoundedThreads, FakeJobQueue

EXPERIMENTS = 200
RUNS = 5
"""Of an experiment."""
EPOCHS = 20
"""Of a run."""
CASES = 1000
JOBS = 5000
"""Series, jobs, contours of a shadow and edited RTSTRUCTs, one of each kind a job."""
MODEL_VERSIONS = 200
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
        ids = fill(engine)
        settings = Settings(data_dir=Path(folder), database_url=SecretStr(url))
        asyncio.run(measure(settings, ids))
        engine.dispose()


@dataclass(frozen=True, kw_only=True, slots=True)
class Ids:
    """What is asked for by name."""

    experiment: UUID
    run: UUID
    dataset: UUID
    version: UUID
    model_version: UUID


def fill(engine: sa.Engine) -> Ids:
    """Make the rows; return some in the middle of them."""
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
        model_version = _fill_the_rest(connection, version_id, work)
    return Ids(
        experiment=experiments[EXPERIMENTS // 2],
        run=runs[len(runs) // 2][0],
        dataset=dataset_id,
        version=version_id,
        model_version=model_version,
    )


def _fill_the_rest(connection: sa.Connection, version_id: UUID, work: dict[str, object]) -> UUID:
    """Make cases, series, jobs, versions, shadows and edits; return a version with shadows."""
    cases = [
        {"version_id": version_id, "position": n, "name": f"case {n}", "status": "imported"}
        | {"facts": {}, "notes": [], "unmatched_names": [], "part": "training"}
        for n in range(CASES)
    ]
    connection.execute(sa.insert(DatasetCase), cases)
    shown = uuid4()
    versions = [
        {"id": uuid4() if n else shown, "name": f"version {n}", "origin": "run", "request": {}}
        | {"structure_set": "cervix", "weights_sha256": uuid4().hex * 2}
        | work
        for n in range(MODEL_VERSIONS)
    ]
    connection.execute(sa.insert(ModelVersion), versions)
    series = [
        {column.name: getattr(make_series(), column.name) for column in Series.__table__.columns}
        | {"id": uuid4(), "created_at": work["created_at"]}
        for _ in range(JOBS)
    ]
    connection.execute(sa.insert(Series), series)
    jobs = [
        {"id": uuid4(), "series_id": row["id"], "warnings": [], "volumes_ml": {"Bladder": 1.0}}
        | work
        for row in series
    ]
    connection.execute(sa.insert(ContourJob), jobs)
    scores = {"Bladder": {"dice": 0.9, "hd95_mm": 2.0}}
    shadows = [
        {"id": uuid4(), "job_id": job["id"], "model_version_id": shown, "scores": scores}
        | {"warnings": []}
        | work
        for job in jobs
    ]
    connection.execute(sa.insert(ShadowContour), shadows)
    edits = [
        {"id": uuid4(), "job_id": job["id"], "reviewer": "reader", "content_sha256": "a" * 64}
        | {"byte_count": 1000, "scores": scores}
        | work
        for job in jobs
    ]
    connection.execute(sa.insert(EditedRtstruct), edits)
    return shown


async def measure(settings: Settings, ids: Ids) -> None:
    """Ask every list again and again; print medians and the statements of one answer."""
    app = create_app(settings, FakeJobQueue(), BoundedThreads())
    transport = httpx.ASGITransport(app=app)
    routes = [
        "/v1/experiments?limit=50",
        "/v1/experiments?limit=200",
        "/v1/experiments?state=finished&kind=grid_search&limit=50",
        f"/v1/experiments/{ids.experiment}",
        f"/v1/experiments/{ids.experiment}/runs?limit=50",
        f"/v1/experiments/{ids.experiment}/leaderboard",
        f"/v1/runs/{ids.run}",
        f"/v1/runs/{ids.run}/epochs?limit=200",
        f"/v1/runs/{ids.run}/scores?limit=200",
        f"/v1/runs/{ids.run}/scores?structure=Bladder&limit=50",
        "/v1/experiment-reports?limit=200",
        "/v1/contour-jobs?limit=200",
        "/v1/series?limit=200",
        "/v1/datasets?limit=200",
        f"/v1/datasets/{ids.dataset}/versions?limit=200",
        f"/v1/dataset-versions/{ids.version}/cases?limit=200",
        "/v1/model-versions?limit=200",
        f"/v1/model-versions/{ids.model_version}/shadow-contours?limit=200",
        f"/v1/model-versions/{ids.model_version}/shadow-summary",
        "/v1/edited-rtstructs?limit=200",
        f"/v1/experiments/{ids.experiment}/scores.csv",
        f"/v1/experiments/{ids.experiment}/epochs.csv",
    ]
    statements: list[str] = []
    event.listen(sa.Engine, "before_cursor_execute", lambda *args: statements.append(str(args[2])))
    print(f"{'route':<72}{'median ms':>10}{'worst ms':>10}{'statements':>12}")
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://bench") as client,
    ):
        client.headers.update(bearer(add_key(app.state.dependencies.new_unit_of_work)))
        for route in routes:
            taken: list[float] = []
            for _ in range(REPETITIONS):
                statements.clear()
                started = time.perf_counter()
                response = await client.get(route)
                taken.append(1000 * (time.perf_counter() - started))
                response.raise_for_status()
            shown = re.sub(r"[0-9a-f-]{36}", "{id}", route)
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
