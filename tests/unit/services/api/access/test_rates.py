import pytest

from services.api.access.gate import _site
from services.api.access.rates import RateLimiter
from tests.fakes import Seconds


class TestRateLimiter:
    def test_a_minutes_worth_may_come_at_once_and_then_one_at_a_time(self) -> None:
        clock = Seconds()
        limiter = RateLimiter(60, now=clock)
        for _ in range(60):
            assert limiter.wait_seconds("a") == 0
            limiter.count("a")
        assert limiter.wait_seconds("a") == 1
        clock.now += 1
        assert limiter.wait_seconds("a") == 0
        limiter.count("a")
        assert limiter.wait_seconds("a") == 1

    def test_who_waits_as_told_is_served(self) -> None:
        clock = Seconds()
        limiter = RateLimiter(2, now=clock)
        served = 0
        for _ in range(100):
            seconds = limiter.wait_seconds("a")
            clock.now += seconds
            assert limiter.wait_seconds("a") == 0
            limiter.count("a")
            served += 1
        assert served == 100
        assert clock.now == pytest.approx(1000 + 98 * 30, abs=2)

    def test_clients_do_not_know_each_other(self) -> None:
        limiter = RateLimiter(1, now=Seconds())
        limiter.count("a")
        assert limiter.wait_seconds("a") > 0
        assert limiter.wait_seconds("b") == 0

    def test_what_is_taken_back_was_not_counted(self) -> None:
        clock = Seconds()
        limiter = RateLimiter(2, now=clock)
        for _ in range(100):
            limiter.count("a")
            clock.now += 1
            limiter.take_back("a")
        limiter.take_back("b")
        limiter.count("a")
        assert limiter.wait_seconds("a") == 0
        limiter.count("a")
        assert limiter.wait_seconds("a") > 0
        assert len(limiter) == 1

    def test_zero_is_no_limit(self) -> None:
        limiter = RateLimiter(0)
        limiter.count("a")
        limiter.take_back("a")
        assert limiter.wait_seconds("a") == 0
        assert len(limiter) == 0

    def test_memory_is_bounded_and_the_one_that_is_busy_is_not_forgotten(self) -> None:
        limiter = RateLimiter(1, max_clients=100, now=Seconds())
        for number in range(10_000):
            limiter.count("busy")
            limiter.count(f"192.0.2.{number}")
        assert len(limiter) == 100
        assert limiter.wait_seconds("busy") > 0


class TestSite:
    @pytest.mark.parametrize(
        ("address", "site"),
        [
            ("192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            (None, "unknown"),
        ],
    )
    def test_a_network_of_ipv6_is_one_site(self, address: str | None, site: str) -> None:
        assert _site(address) == site
