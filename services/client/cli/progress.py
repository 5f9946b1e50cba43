"""Progress on stderr, so that stdout stays readable by programs; none where it is no terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from tqdm import tqdm

from services.client.events import Change
from services.client.models import Epoch, Run, Work
from services.client.uploads import OnBytes

_SHARE_FORMAT = "{desc} {percentage:3.0f} %|{bar}| {elapsed}"


@contextmanager
def upload_bar(what: str = "sending") -> Iterator[OnBytes]:
    """Give a callback that shows how many bytes were sent."""
    with tqdm(
        desc=what, unit="B", unit_scale=True, unit_divisor=1024, file=sys.stderr, disable=None
    ) as bar:

        def on_bytes(sent: int, total: int) -> None:
            bar.total = total
            bar.update(sent - bar.n)

        yield on_bytes


@contextmanager
def work_bar() -> Iterator[Callable[[Work], None]]:
    """Give a callback that shows how far work is."""
    with tqdm(total=1.0, bar_format=_SHARE_FORMAT, file=sys.stderr, disable=None) as bar:

        def on_progress(work: Work) -> None:
            bar.set_description_str(f"{work.stage:>12}", refresh=False)
            bar.n = work.progress  # less than before where a worker was lost
            bar.refresh()

        yield on_progress


class RunBars:
    """A bar for every run that is running; a line for each that ended."""

    def __init__(self) -> None:
        self._bars: dict[UUID, tqdm] = {}
        self._ended: set[UUID] = set()

    def __enter__(self) -> "RunBars":
        """Begin without bars."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take every bar from the screen."""
        for run_id in list(self._bars):
            self._close(run_id)

    def show(self, change: Change) -> None:
        """Show what changed."""
        match change:
            case Run(is_over=True):
                self._end(change)
            case Run(state="running"):
                self._move(change)
            case Epoch(run_id=run_id) if run_id in self._bars:
                self._bars[run_id].set_postfix_str(_loss(change))

    def _move(self, run: Run) -> None:
        self._ended.discard(run.id)  # it was resumed
        if run.id not in self._bars:
            self._bars[run.id] = tqdm(
                total=run.max_epochs,
                desc=name_of(run),
                unit="epoch",
                leave=False,
                file=sys.stderr,
                disable=None,
                bar_format="{desc} |{bar}| {n_fmt}/{total_fmt} {unit}s {postfix}",
            )
        bar = self._bars[run.id]
        bar.set_description_str(f"{name_of(run)} {_left(run.eta_seconds)}", refresh=False)
        bar.n = run.epochs
        bar.refresh()

    def _end(self, run: Run) -> None:
        self._close(run.id)
        if run.id not in self._ended:
            self._ended.add(run.id)
            tqdm.write(ended_line(run), file=sys.stderr)

    def _close(self, run_id: UUID) -> None:
        bar = self._bars.pop(run_id, None)
        if bar is not None:
            bar.close()


def name_of(run: Run) -> str:
    """Return what tells a run from the others of its experiment."""
    return f"{run.label} seed {run.seed}"


def ended_line(run: Run) -> str:
    """Say how a run ended."""
    if run.error is not None:
        return f"{name_of(run)}: {run.state}: {run.error.code}: {run.error.detail}"
    dice = "" if run.mean_dice is None else f", validation Dice {run.mean_dice:.3f}"
    return f"{name_of(run)}: {run.state} after {run.epochs} epochs{dice}"


def duration(seconds: float) -> str:
    """Return a time as 1:02:03."""
    minutes, left = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{left:02}"


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f"({duration(seconds)} left)"


def _loss(epoch: Epoch) -> str:
    dice = "" if epoch.mean_dice is None else f", Dice {epoch.mean_dice:.3f}"
    return f"loss {epoch.training_loss:.4f}{dice}"
