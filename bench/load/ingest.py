"""The same CT series received by the service and by Orthanc, in turns, on the same disk."""

import os
import shutil
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psutil

from bench.load.client import DICOM, FORM, ZIP, Client
from bench.load.orthanc import Orthanc, running_orthanc
from bench.load.series import SeriesBytes, SeriesMaker
from bench.load.stack import Stack, running_stack

CONNECTIONS = 4
"""Of a sender that posts the files of one series to Orthanc side by side."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to bring a series into one of the two."""

    name: str
    send: Callable[[SeriesBytes], object]
    prepare: Callable[[SeriesBytes], object]
    """What the sender has ready before the clock starts."""
    pids: Sequence[int]
    """Of the receiver."""
    is_orthanc: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """What receiving one round of series took."""

    seconds: float
    cpu_seconds: float
    """Of the receiver's processes; a sender's are its own affair."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestSize:
    """How much is sent."""

    slices: int
    size: int
    """Rows and columns of a slice."""
    senders: int
    """Series on their way at a time."""
    repetitions: int


def compare_ingest(size: IngestSize) -> None:
    """Send series by every way in turns; print rates and their ratios to Orthanc's best."""
    maker = SeriesMaker(size.slices, size.size)
    with (
        tempfile.TemporaryDirectory(prefix="load-") as folder,
        running_orthanc(Path(folder) / "orthanc") as orthanc,
        running_stack(workers=0) as stack,
        ThreadPoolExecutor(size.senders) as senders,
        ThreadPoolExecutor(size.senders * CONNECTIONS) as connections,
    ):
        ways = [*_ways_to_service(stack), *_ways_to_orthanc(orthanc, Path(folder), connections)]
        taken: dict[str, list[Taken]] = defaultdict(list)
        for repetition in range(size.repetitions + 1):
            # every way comes first once, so that none always follows the same other
            turned = ways[repetition % len(ways) :] + ways[: repetition % len(ways)]
            for way in turned:
                found = _measure(way, [maker.make() for _ in range(size.senders)], senders)
                if repetition:  # the first warms caches and connections up
                    taken[way.name].append(found)
        rounds = (size.repetitions + 1) * sum(way.is_orthanc for way in ways)
        sent, kept = size.slices * size.senders * rounds, orthanc.instance_count()
        if kept != sent:
            raise RuntimeError(f"Orthanc has {kept} of {sent} files")
        _print(ways, taken, size, maker.make().byte_count)
        print(
            f"\nOrthanc {orthanc.version} as Debian configures it: fsync of every file, none of "
            "its index. The service:\nfsync of every file and folder, PostgreSQL with fsync and "
            "synchronous_commit; every header is read, and the\nfiles checked to be one volume, "
            "before it answers. CPU is of the receiver's processes, without PostgreSQL."
        )


def _measure(way: Way, series: list[SeriesBytes], senders: ThreadPoolExecutor) -> Taken:
    for one in series:
        way.prepare(one)
    os.sync()  # nobody pays for what another left to be written
    cpu, start = _cpu_seconds(way.pids), time.perf_counter()
    for _ in senders.map(way.send, series):
        pass
    seconds = time.perf_counter() - start
    return Taken(seconds=seconds, cpu_seconds=_cpu_seconds(way.pids) - cpu)


def _cpu_seconds(pids: Sequence[int]) -> float:
    total = 0.0
    for pid in pids:
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            times = process.cpu_times()
            total += times.user + times.system
    return total


class _Clients(threading.local):
    """A connection for every thread that sends."""

    def __init__(self, new_client: Callable[[], Client]) -> None:
        self.own = new_client()


def _ways_to_service(stack: Stack) -> list[Way]:
    clients = _Clients(stack.client)
    pids = (stack.api.pid,)
    return [
        Way(
            name="service, form of files",
            prepare=lambda series: series.form,
            send=lambda series: clients.own.post("/v1/series", series.form, FORM),
            pids=pids,
        ),
        Way(
            name="service, zip stored",
            prepare=lambda series: series.stored_zip,
            send=lambda series: clients.own.post("/v1/series", series.stored_zip, ZIP),
            pids=pids,
        ),
        Way(
            name="service, zip deflated",
            prepare=lambda series: series.deflated_zip,
            send=lambda series: clients.own.post("/v1/series", series.deflated_zip, ZIP),
            pids=pids,
        ),
    ]


def _ways_to_orthanc(orthanc: Orthanc, folder: Path, connections: ThreadPoolExecutor) -> list[Way]:
    clients = _Clients(lambda: Client(orthanc.base_url))
    written: dict[int, Path] = {}

    def post(content: bytes, kind: str = DICOM) -> bytes:
        return clients.own.post("/instances", content, kind)

    def post_each(series: SeriesBytes) -> None:
        for content in series.files.values():
            post(content)

    def write(series: SeriesBytes) -> None:
        written[id(series)] = path = folder / str(uuid4())
        path.mkdir()
        for name, content in series.files.items():
            (path / name).write_bytes(content)

    def store(series: SeriesBytes) -> None:
        orthanc.store(written[id(series)])
        shutil.rmtree(written.pop(id(series)))

    def orthanc_way(
        name: str, prepare: Callable[[SeriesBytes], object], send: Callable[[SeriesBytes], object]
    ) -> Way:
        pids = (orthanc.pid,)
        return Way(name=f"Orthanc, {name}", prepare=prepare, send=send, pids=pids, is_orthanc=True)

    return [
        orthanc_way("POST a file, one connection", lambda series: series, post_each),
        orthanc_way(
            f"POST a file, {CONNECTIONS} connections",
            lambda series: series,
            lambda series: list(connections.map(post, series.files.values())),
        ),
        orthanc_way(
            "zip stored",
            lambda series: series.stored_zip,
            lambda series: post(series.stored_zip, ZIP),
        ),
        orthanc_way(
            "zip deflated",
            lambda series: series.deflated_zip,
            lambda series: post(series.deflated_zip, ZIP),
        ),
        orthanc_way("C-STORE (storescu)", write, store),
    ]


def _print(
    ways: list[Way], taken: dict[str, list[Taken]], size: IngestSize, byte_count: int
) -> None:
    medians = {
        name: statistics.median(one.seconds for one in found) for name, found in taken.items()
    }
    best = min(medians[way.name] for way in ways if way.is_orthanc)
    print(
        f"{size.senders} series at a time, each {size.slices} slices of {size.size} x {size.size}, "
        f"{byte_count / 1e6:.0f} MB; {size.repetitions} times in turns\n"
    )
    print(
        f"{'':40}{'s':>7}{'worst':>7}{'MB/s':>7}{'slices/s':>10}{'CPU s':>7}{'/ Orthanc best':>16}"
    )
    for way in ways:
        found, median = taken[way.name], medians[way.name]
        cpu = statistics.median(one.cpu_seconds for one in found)
        print(
            f"{way.name:40}{median:7.2f}{max(one.seconds for one in found):7.2f}"
            f"{size.senders * byte_count / median / 1e6:7.0f}"
            f"{size.senders * size.slices / median:10.0f}{cpu:7.2f}{best / median:16.2f}"
        )
