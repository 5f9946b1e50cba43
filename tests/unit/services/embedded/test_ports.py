import secrets
import socket

import pytest

from services.embedded.ports import FIRST_PORT, PORTS, free_port

NOBODYS = "192.0.2.1"
"""An address for documentation: no machine has it."""


class TestFreePort:
    def test_it_is_none_that_the_kernel_gives_away(self) -> None:
        assert FIRST_PORT <= free_port() < FIRST_PORT + PORTS <= 32_768

    def test_one_that_is_taken_is_passed_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        draw = secrets.randbelow
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            taken = server.getsockname()[1]
            first = iter([taken - FIRST_PORT] * 2)
            monkeypatch.setattr(secrets, "randbelow", lambda n: next(first, None) or draw(n))

            assert free_port() != taken
            assert next(first, None) is None

    def test_none_is_drawn_twice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        place = free_port() - FIRST_PORT
        draw = secrets.randbelow
        drawn = iter([place])
        monkeypatch.setattr(secrets, "randbelow", lambda n: next(drawn, None) or draw(n))

        assert free_port() != place + FIRST_PORT
        assert next(drawn, None) is None

    def test_an_address_of_others_is_refused(self) -> None:
        with pytest.raises(OSError, match="assign"):
            free_port(NOBODYS)
