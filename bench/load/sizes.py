"""Memory of the API while one upload comes in, by the size of the upload."""

import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.load.client import FORM
from bench.load.series import SeriesMaker, write_form
from bench.load.stack import Stack, running_stack
from bench.load.table import MIB, print_stalls

SLICE_PIXELS = 512
WARMING_SLICES = 20
SAMPLE_SECONDS = 0.01


@dataclass(kw_only=True)
class _Watch:
    """The most memory of the API and what it started, while a block runs."""

    stack: Stack
    peak_bytes: int = 0
    _done: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "_Watch":
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(SAMPLE_SECONDS):
            self.peak_bytes = max(self.peak_bytes, self.stack.api_memory().rss_bytes)


def measure_sizes(*, megabytes: list[int]) -> None:
    """Post a series of every size, streamed; print how much memory the API took meanwhile."""
    slice_bytes = SeriesMaker(1, SLICE_PIXELS).make().byte_count
    print(f"{'upload MB':>10}{'slices':>8}{'s':>7}{'before MiB':>12}{'peak MiB':>10}{'growth':>8}")
    with (
        running_stack(workers=0) as stack,
        tempfile.TemporaryDirectory(prefix="load-") as folder,
    ):
        _post(stack, Path(folder), WARMING_SLICES)  # imports and pools are there afterwards
        stack.beats()
        for size in megabytes:
            slices = round(size * 1e6 / slice_bytes)
            stack.api_in_use()  # collects what the last size left
            before = stack.api_memory().rss_bytes
            with _Watch(stack=stack) as watch:
                seconds = _post(stack, Path(folder), slices)
            print(
                f"{size:10d}{slices:8d}{seconds:7.1f}{before / MIB:12.1f}"
                f"{watch.peak_bytes / MIB:10.1f}{(watch.peak_bytes - before) / MIB:8.1f}"
            )
        print_stalls(*stack.beats())


def _post(stack: Stack, folder: Path, slices: int) -> float:
    path = folder / "form"
    write_form(path, slices, SLICE_PIXELS)
    client = stack.client()
    start = time.perf_counter()
    client.post("/v1/series", _pieces(path), FORM, path.stat().st_size)
    seconds = time.perf_counter() - start
    client.close()
    return seconds


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(MIB):
            yield piece
