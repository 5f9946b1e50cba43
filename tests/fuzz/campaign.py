"""Sends mutated files to the API and holds it to four promises, input after input.

No answer is a 5xx; none takes longer than the limit; a refused input leaves neither file nor row;
and what is accepted can be read by a worker, or is refused by it, without a crash.
"""

import json
import logging
import os
import shutil
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import httpx

from services.api.bounded import BoundedProcesses, WorkLimits, WorkOrder
from services.api.main import create_app
from services.core.database import create_database_engine
from services.core.errors import ServiceError
from services.core.migrations import upgrade_database
from services.core.settings import LogLevel, Settings
from tests.factories.access import add_key, bearer
from tests.factories.api import Api, finish_job
from tests.factories.uploads import make_zip
from tests.fakes import FakeJobQueue
from tests.fuzz.inputs import SYNTAXES, Input, Samples, Target, make_input
from tests.fuzz.reading import read_cases, read_edit, read_series

INPUTS_PER_API = 1000
"""Then the API starts anew on an empty folder, so that looking for leftovers stays fast."""
TIME_LIMIT_SECONDS = 60.0
"""The API's own for parsing; no answer may take longer than that and a little."""
GRACE_SECONDS = 10.0
READING = WorkLimits(seconds=120, bytes_per_second=1e6, memory_bytes=2 << 30)
ORDER = WorkOrder(client="fuzz", byte_count=0)
REFUSED_FROM = 400
FAILED_FROM = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A broken promise."""

    number: int
    promise: str
    detail: str


@dataclass(kw_only=True, slots=True)
class Tally:
    """What became of the inputs."""

    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    readings: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """What is kept: every file, and the rows of every table."""

    files: frozenset[str]
    rows: Mapping[str, int]


class Campaign:
    """Inputs of one seed, sent one after the other."""

    def __init__(self, seed: int, record: TextIO | None = None, kept: Path | None = None) -> None:
        self.tally = Tally()
        self._seed = seed
        self._record = record
        self._kept = kept
        self._samples = Samples()
        self._reader = BoundedProcesses(READING, 1)
        self._known: State | None = None

    async def run(self, first: int, count: int) -> Tally:
        """Send inputs of consecutive numbers."""
        for start in range(first, first + count, INPUTS_PER_API):
            async with _started() as api:
                target = await _Targets.made(api, self._samples)
                self._known = None
                for number in range(start, min(start + INPUTS_PER_API, first + count)):
                    await self._send(api, target, make_input(self._samples, self._seed, number))
        return self.tally

    async def _send(self, api: Api, targets: "_Targets", made: Input) -> None:
        before = self._known or _state(api)
        start = time.perf_counter()
        response = await api.client.post(
            targets.path(made.target),
            content=made.body,
            headers={"Content-Type": made.content_type},
        )
        seconds = time.perf_counter() - start
        is_refused = response.status_code >= REFUSED_FROM
        outcome = response.json()["code"] if is_refused else str(response.status_code)
        self.tally.answers[made.target.value, outcome] += 1
        self.tally.seconds.append(seconds)
        if response.status_code >= FAILED_FROM:
            self._find(made, "no 5xx", f"{response.status_code} {response.text}")
        if seconds > TIME_LIMIT_SECONDS + GRACE_SECONDS or outcome == "parse_time_limit":
            self._find(made, "in time", f"{seconds:.1f} s, {outcome}")
        self._known = after = _state(api)
        if is_refused and after != before:
            self._find(made, "nothing left", f"{after.files ^ before.files} {after.rows}")
        if not is_refused:
            await self._read(api, targets, made, response)
        if self._record is not None:
            line = {"number": made.number, "target": made.target, "mutations": made.mutations}
            line |= {"sha256": made.sha256, "outcome": outcome, "seconds": round(seconds, 4)}
            self._record.write(json.dumps(line) + "\n")
            self._record.flush()

    async def _read(
        self, api: Api, targets: "_Targets", made: Input, response: httpx.Response
    ) -> None:
        body, folder = response.json(), api.data_dir
        try:
            if made.target is Target.EDITED_RTSTRUCT:
                path = folder / "edited-rtstructs" / body["id"] / "rtstruct.dcm"
                outcome = await self._reader.run(ORDER, read_edit, path, targets.ct_folder)
            elif made.target is Target.DATASET_CASES:
                source = folder / "dataset-uploads" / body["source"]["id"]
                outcome = await self._reader.run(ORDER, read_cases, source)
            else:
                series = body["series"] if made.target is Target.AUTOCONTOUR else body
                outcome = await self._reader.run(
                    ORDER, read_series, folder / "series" / series["id"]
                )
        except ServiceError as error:
            outcome = error.code
            self._find(made, "readable", f"{error.code}: the worker's process would have ended")
        except Exception as error:  # noqa: BLE001  # whatever it is, it would have ended a job
            outcome = type(error).__name__
            self._find(made, "readable", f"{error!r} {''.join(error.__notes__)}")
        self.tally.readings[made.target.value, outcome] += 1

    def _find(self, made: Input, promise: str, detail: str) -> None:
        self.tally.findings.append(Finding(number=made.number, promise=promise, detail=detail))
        if self._kept is not None:
            (self._kept / f"{made.number}-{made.target}.body").write_bytes(made.body)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Targets:
    """What the inputs are sent to: a dataset, and a job with a result that may be corrected."""

    job_id: str
    dataset_id: str
    ct_folder: Path

    @classmethod
    async def made(cls, api: Api, samples: Samples) -> "_Targets":
        images = samples.images[str(SYNTAXES[0])]
        body = make_zip({f"whole{number}.dcm": image for number, image in enumerate(images)})
        posted = await api.client.post(
            "/v1/autocontour", content=body, headers={"Content-Type": "application/zip"}
        )
        finish_job(api)
        dataset = await api.client.post("/v1/datasets", json={"name": "fuzzed"})
        return cls(
            job_id=posted.json()["job"]["id"],
            dataset_id=dataset.json()["id"],
            ct_folder=api.data_dir / "series" / posted.json()["series"]["id"],
        )

    def path(self, target: Target) -> str:
        return {
            Target.SERIES: "/v1/series",
            Target.AUTOCONTOUR: "/v1/autocontour",
            Target.EDITED_RTSTRUCT: f"/v1/contour-jobs/{self.job_id}/edited-rtstructs?reviewer=A",
            Target.DATASET_CASES: f"/v1/datasets/{self.dataset_id}/cases",
        }[target]


@asynccontextmanager
async def _started() -> AsyncIterator[Api]:
    """Start the API as it is deployed, but for its broker, on an empty folder."""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    memory = Path("/dev/shm")  # thousands of uploads, each made durable, wear a disk out
    folder = memory if memory.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=folder) as name:
        data_dir = Path(name)
        engine = create_database_engine(f"sqlite:///{data_dir / 'cervicontour.sqlite'}")
        upgrade_database(engine)
        engine.dispose()
        queue = FakeJobQueue()
        settings = Settings(
            data_dir=data_dir,
            parse_time_limit_seconds=TIME_LIMIT_SECONDS,
            log_level=LogLevel.WARNING,
            requests_per_minute=10**6,
        )
        app = create_app(settings, queue)
        transport = httpx.ASGITransport(app=app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://api") as client,
        ):
            client.headers.update(bearer(add_key(app.state.dependencies.new_unit_of_work)))
            yield Api(app=app, client=client, queue=queue, data_dir=data_dir)
        shutil.rmtree(data_dir / "incoming", ignore_errors=True)


def _state(api: Api) -> State:
    files = {
        f"{folder}/{name}"
        for folder, folders, names in os.walk(api.data_dir)
        for name in (*names, *folders)
        if not name.startswith("cervicontour.sqlite")
    }
    with closing(sqlite3.connect(api.data_dir / "cervicontour.sqlite")) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        rows = {
            table: database.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]
            for (table,) in tables
        }
    return State(files=frozenset(files), rows=rows)
