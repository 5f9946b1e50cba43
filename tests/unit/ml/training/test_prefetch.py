import threading

import pytest

from ml.training.prefetch import prefetched
from tests.waiting import PATIENCE_SECONDS


def makers() -> set[threading.Thread]:
    """Living threads of prefetched(); others come and go as they like."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("batches")}


class TestPrefetched:
    @pytest.mark.parametrize("ahead", [0, 1, 2, 9])
    @pytest.mark.parametrize("count", [0, 1, 5])
    def test_items_come_in_order_and_whole(self, ahead, count):
        assert list(prefetched(lambda i: i * i, count, ahead)) == [i * i for i in range(count)]

    def test_the_next_item_is_made_while_one_is_used(self):
        made = [threading.Event() for _ in range(3)]

        def make(i: int) -> int:
            made[i].set()
            return i

        items = prefetched(make, 3, 2)
        assert next(items) == 0

        assert made[1].wait(PATIENCE_SECONDS)
        assert made[2].wait(PATIENCE_SECONDS)
        items.close()

    def test_no_more_is_made_ahead_than_asked_for(self):
        made: list[int] = []
        items = prefetched(lambda i: made.append(i) or i, 50, 2)

        next(items)
        items.close()

        assert len(made) <= 3

    def test_nothing_is_made_ahead_with_zero(self):
        made: list[int] = []
        items = prefetched(lambda i: made.append(i) or i, 5, 0)

        next(items)

        assert made == [0]

    def test_what_goes_wrong_is_raised_at_its_place(self):
        def make(i: int) -> int:
            if i == 2:
                raise OSError("no such case")
            return i

        items = prefetched(make, 5, 3)

        assert [next(items), next(items)] == [0, 1]
        with pytest.raises(OSError, match="no such case"):
            next(items)

    def test_no_thread_outlives_a_consumer_that_stops(self):
        before = makers()
        items = prefetched(lambda i: i, 100, 3)
        next(items)
        assert makers() > before

        items.close()

        assert makers() == before
