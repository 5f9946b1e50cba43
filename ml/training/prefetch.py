"""Makes batches in the background while the network is busy."""

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def prefetched(make: Callable[[int], Item], count: int, ahead: int) -> Generator[Item, None, None]:
    """Yield make(0), make(1), ... up to `count`, with up to `ahead` of them made in advance.

    One thread makes them one after the other, so the items are the same as without: with 0 ahead
    they are made when they are asked for. What `make` raises is raised here.
    """
    if ahead == 0:
        yield from map(make, range(count))
        return
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
    try:
        waiting: deque[Future[Item]] = deque(
            executor.submit(make, i) for i in range(min(ahead, count))
        )
        following = len(waiting)
        while waiting:
            item = waiting.popleft().result()
            if following < count:
                waiting.append(executor.submit(make, following))
                following += 1
            yield item
    finally:
        # also when the consumer stops early: nothing may go on reading its cases
        executor.shutdown(wait=True, cancel_futures=True)
