"""Progress of long commands, on stderr so that stdout stays readable by programs."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def show_progress(
    items: Iterable[Item], *, total: int | None = None, what: str, unit: str
) -> Iterator[Item]:
    """Yield the items behind a progress bar; there is none where stderr is no terminal."""
    yield from tqdm(items, total=total, desc=what, unit=unit, file=sys.stderr, disable=None)
