"""Addresses: of other services, and of those who ask this one."""

import ipaddress
from urllib.parse import urlsplit

_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


def is_safe_address(url: str) -> bool:
    """Tell whether nobody on the way can answer in place of an address: https, or this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    if parts.scheme == "https":
        return bool(host)
    return parts.scheme == "http" and host in _LOOPBACK_HOSTS


def find_network_address(text: str | None) -> str | None:
    """Return an IP address in its one spelling, or None for anything else.

    A proxy passes on what a client says of itself: whatever is no address goes no further. Neither
    does the zone of an IPv6 address (RFC 4007, 11), which is any text. An IPv4 address is the same
    one whether the socket speaks IPv6 or not (RFC 4291, 2.5.5.2).
    """
    try:
        found = ipaddress.ip_address(text or "")
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.IPv6Address(int(found)))
    return str(found)
