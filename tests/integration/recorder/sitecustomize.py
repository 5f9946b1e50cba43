# ruff: noqa: INP001  # no package: Python finds it by its folder on the path
"""Loaded by every Python process that has this folder on its path: notes where it connects to.

An audit hook sees each connect, send and name look-up of the interpreter's own sockets, in threads
and after forks, too. It cannot be removed by the program it watches.
"""

import json
import os
import socket
import sys

EVENTS = frozenset(
    {
        "socket.connect",
        "socket.sendto",
        "socket.sendmsg",
        "socket.getaddrinfo",
        "socket.gethostbyname",
        "socket.gethostbyaddr",
        "urllib.Request",
        "http.client.connect",
        "ftplib.connect",
        "smtplib.connect",
    }
)
RECORD = os.environ.get("CONNECTION_RECORD", "")


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event not in EVENTS:
        return
    shown = [_address(argument) for argument in arguments]
    line = json.dumps(
        {"program": sys.orig_argv[:5], "event": event, "arguments": shown},
        default=repr,
    )
    _write(RECORD, line)


def _address(argument: object) -> object:
    if isinstance(argument, socket.socket):
        return {"family": argument.family.name}
    return list(argument) if isinstance(argument, tuple) else argument


def _write(path: str, line: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, f"{line}\n".encode())
    finally:
        os.close(handle)


if RECORD:
    sys.addaudithook(_note)
    # who was listened to, whether or not it connects to anything
    _write(f"{RECORD}.started", " ".join(sys.orig_argv))
