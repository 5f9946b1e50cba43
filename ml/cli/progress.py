"""Progress of long commands, on stderr so that stdout stays readable by programs."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def show_progress(
    items: Iterable[Item], *, total: int | None = None, what: str, unit: str
) -> Iterator[Item]:
    """Yield the items behind a progress bar; there is none where stderr is no terminal."""
    yield from tqdm(items, total=total, desc=what, unit=unit, file=sys.stderr, disable=None)


@contextmanager
def counting_progress(*, total: int, what: str, unit: str) -> Iterator[Callable[[object], None]]:
    """Give a callback that moves a progress bar by one, whatever it is called with."""
    with tqdm(total=total, desc=what, unit=unit, file=sys.stderr, disable=None) as bar:
        yield lambda _: _advance(bar)


def _advance(bar: tqdm) -> None:
    bar.update()
