"""Submissions without a pause: jobs a second, what every route takes, memory and stalls."""

import json
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from bench.lists import fill
from bench.load.client import FORM, ZIP, Answers, Client, RefusedError
from bench.load.series import SeriesBytes, SeriesMaker
from bench.load.stack import InUse, Memory, Stack, running_stack
from bench.load.table import MIB, print_latencies, print_stalls, slope
from services.core.database import create_database_engine

POLL_SECONDS = 0.2
LIST_PAUSE_SECONDS = 0.05
DELETED_OF = 4
"""One of so many series is looked at and deleted again."""
JOB_PATIENCE_SECONDS = 600.0
SAMPLES = 40
"""Of memory, over all uploads."""
SETTLED_SHARE = 0.25
"""Of the uploads that pools, caches and the allocator need to reach their size; the slope is
taken behind them."""
TERMINAL = ("succeeded", "failed", "cancelled")
LISTS = (
    "/v1/contour-jobs?limit=200",
    "/v1/contour-jobs?state=succeeded&limit=50",
    "/v1/series?limit=200",
    "/v1/experiments?limit=200",
    "/v1/model-versions?limit=200",
    "/v1/edited-rtstructs?limit=200",
    "/v1/datasets?limit=200",
    "/health/ready",
    "/health/live",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class JobsLoad:
    """How much is asked for."""

    uploads: int
    senders: int
    workers: int
    slices: int
    size: int
    is_filled: bool
    """Whether the lists have thousands of rows from the start."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sample:
    """Memory after so many uploads."""

    uploads: int
    api: Memory
    workers: Memory
    in_use: InUse


@dataclass(kw_only=True)
class _Course:
    """What happens while it runs."""

    stack: Stack
    load: JobsLoad
    maker: SeriesMaker
    answers: Answers = field(default_factory=Answers)
    memory: list[_Sample] = field(default_factory=list[_Sample])
    failed: list[str] = field(default_factory=list)
    waits: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _next: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next_number(self) -> int | None:
        """Count one more upload, if one is left, and measure memory at some of them."""
        with self._lock:
            if self._next == self.load.uploads:
                return None
            self._next += 1
            number = self._next
            if number % max(1, self.load.uploads // SAMPLES) == 0:
                self.memory.append(self._sample(number))
        return number

    def _sample(self, number: int) -> _Sample:
        return _Sample(
            uploads=number,
            in_use=self.stack.api_in_use(),
            api=self.stack.api_memory(),
            workers=self.stack.workers_memory(),
        )


def measure_jobs(load: JobsLoad) -> None:
    """Submit series and follow their jobs, several senders at a time; print what it took."""
    with running_stack(workers=load.workers) as stack:
        if load.is_filled:
            engine = create_database_engine(stack.database_url)
            fill(engine)
            engine.dispose()
        course = _Course(stack=stack, load=load, maker=SeriesMaker(load.slices, load.size))
        stack.beats()
        done = threading.Event()
        reader = threading.Thread(target=_read_lists, args=(course, done))
        reader.start()
        start = time.perf_counter()
        with ThreadPoolExecutor(load.senders) as pool:
            for sender in [pool.submit(_send, course) for _ in range(load.senders)]:
                sender.result()
        seconds = time.perf_counter() - start
        done.set()
        reader.join()
        api, control = stack.beats()
        byte_count = course.maker.make().byte_count
    rate = load.uploads / seconds
    print(
        f"{load.uploads} jobs of {load.slices} slices of {load.size} x {load.size} "
        f"({byte_count / 1e6:.1f} MB), {load.senders} senders, {load.workers} workers, "
        f"{'filled' if load.is_filled else 'empty'} tables:\n"
        f"{rate:.2f} jobs/s, {rate * byte_count / 1e6:.1f} MB/s; "
        f"{len(course.failed)} did not succeed {sorted(set(course.failed))}\n"
    )
    print_latencies({**course.answers.seconds, **course.waits})
    print_stalls(api, control)
    _print_memory(course.memory)


def _send(course: _Course) -> None:
    client = course.stack.client(course.answers)
    while (number := course.next_number()) is not None:
        submit = _SUBMISSIONS[number % len(_SUBMISSIONS)]
        series = course.maker.make()
        start = time.perf_counter()
        job_id = submit(client, series)
        job = _follow(client, job_id)
        course.waits["(first byte of an upload to the end of its job)"].append(
            time.perf_counter() - start
        )
        if job["state"] != "succeeded":
            course.failed.append(job["error"]["code"])
            continue
        client.get(f"/v1/contour-jobs/{job_id}/rtstruct", "/v1/contour-jobs/{id}/rtstruct")
        if number % DELETED_OF == 0:
            client.get(f"/v1/series/{job['series_id']}", "/v1/series/{id}")
            client.delete(f"/v1/series/{job['series_id']}", "/v1/series/{id}")


def _submit_form(client: Client, series: SeriesBytes) -> str:
    return json.loads(client.post("/v1/autocontour", series.form, FORM))["job"]["id"]


def _submit_zip(client: Client, series: SeriesBytes) -> str:
    return json.loads(client.post("/v1/autocontour", series.stored_zip, ZIP))["job"]["id"]


def _submit_in_two_steps(client: Client, series: SeriesBytes) -> str:
    posted = json.loads(client.post("/v1/series", series.form, FORM))
    return client.post_json("/v1/contour-jobs", {"series_id": posted["id"]})["id"]


_SUBMISSIONS = (_submit_form, _submit_zip, _submit_in_two_steps)


def _follow(client: Client, job_id: str) -> Any:  # noqa: ANN401  (json)
    last_try = time.monotonic() + JOB_PATIENCE_SECONDS
    while time.monotonic() < last_try:
        job = client.get_json(f"/v1/contour-jobs/{job_id}", "/v1/contour-jobs/{id}")
        if job["state"] in TERMINAL:
            return job
        time.sleep(POLL_SECONDS)
    raise TimeoutError(f"job {job_id} did not end")


def _read_lists(course: _Course, done: threading.Event) -> None:
    client = course.stack.client(course.answers)
    while not done.is_set():
        for path in LISTS:
            with suppress(RefusedError):  # not ready is an answer, too
                client.get(path)
            time.sleep(LIST_PAUSE_SECONDS)


def _print_memory(samples: list[_Sample]) -> None:
    print(f"\n{'memory':24}{'first':>9}{'settled':>9}{'last':>9}{'most':>9}{'a 1000 uploads':>16}")
    for name in ("api", "workers"):
        for kind in ("rss_bytes", "uss_bytes"):
            values = [getattr(getattr(sample, name), kind) / MIB for sample in samples]
            _print_course(f"{name} {kind[:3].upper()} MiB", samples, values)
    malloc = [bytes_ / MIB for sample in samples if (bytes_ := sample.in_use.malloc_bytes)]
    if malloc:  # all of them or none
        _print_course("api malloc in use MiB", samples, malloc)
    objects = [sample.in_use.objects / 1000 for sample in samples]
    _print_course("api Python's blocks/1000", samples, objects)


def _print_course(name: str, samples: list[_Sample], values: list[float]) -> None:
    uploads = [sample.uploads for sample in samples]
    settled = [
        (number, value)
        for number, value in zip(uploads, values, strict=True)
        if number >= SETTLED_SHARE * uploads[-1]
    ]
    print(
        f"{name:24}{values[0]:9.1f}{settled[0][1]:9.1f}{values[-1]:9.1f}{max(values):9.1f}"
        f"{1000 * slope(settled):+16.2f}"
    )
