"""Where a server can listen that nobody gave a port."""

import errno
import secrets
import socket
from collections import deque

FIRST_PORT, PORTS = 20_000, 12_000
"""Below 32768, where ports for connections begin on Linux; elsewhere they begin later."""

_drawn: deque[int] = deque(maxlen=1000)
"""By this process lately: whoever they were for may not listen there yet."""


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that a server can still take in a while, and take again after its death.

    The kernel gives none of these to connections, or to those who ask it for any: it could be gone
    meanwhile, and a client that tries to reach a dead server could even connect to itself there.

    Raises:
        OSError: nobody can listen at that address.
    """
    for _ in range(PORTS):
        port = FIRST_PORT + secrets.randbelow(PORTS)  # others that start beside draw no alike ones
        if port in _drawn:
            continue
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                _drawn.append(port)
                return port
    raise OSError(errno.EADDRINUSE, "no port is free", host)
