import pytest

from services.core.addresses import find_network_address


class TestNetworkAddress:
    @pytest.mark.parametrize(
        ("text", "address"),
        [
            ("192.0.2.1", "192.0.2.1"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("fe80::1%eth0", "fe80::1"),
            ("fe80::1%MUELLER ANNA", "fe80::1"),
        ],
    )
    def test_an_address_has_one_spelling(self, text: str, address: str) -> None:
        assert find_network_address(text) == address

    @pytest.mark.parametrize(
        "text",
        [
            None, "", "/run/socket", "localhost", "MUELLER ANNA", "192.0.2.1, 192.0.2.2", "1",
            "192.0.2.1:80", "[2001:db8::1]", "192.0.2.1\n", "9" * 3000,
        ],
        ids=range(11),
    )  # fmt: skip
    def test_anything_else_is_none(self, text: str | None) -> None:
        assert find_network_address(text) is None
