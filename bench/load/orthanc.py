"""An Orthanc of our own: Debian's package, its default settings but for folders and ports."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from bench.load.client import Client, RefusedError
from bench.load.stack import POLL_SECONDS, START_SECONDS, STOP_SECONDS
from services.embedded.children import Child
from services.embedded.ports import free_port

AE_TITLE = "BENCH"
NO_DELAY = {"TCP_NODELAY": "1"}
"""DCMTK's own switch, on both sides: without it C-STORE waits 40 ms after every file."""
NAMESPACE_VARIABLE = "CERVICONTOUR_BENCH_NAMESPACE"


class NotInstalledError(Exception):
    """A program of the comparison is missing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Orthanc:
    """A running Orthanc."""

    base_url: str
    pid: int
    dicom_port: int
    version: str
    syncs_storage: bool
    """Whether it calls fsync on every file, its default."""

    def instance_count(self) -> int:
        """Return how many files it has."""
        return int(Client(self.base_url).get_json("/statistics")["CountInstances"])

    def store(self, folder: Path) -> None:
        """Send a folder by C-STORE over one association.

        Raises:
            subprocess.CalledProcessError: not everything was taken.
        """
        target = ["-aec", AE_TITLE, "127.0.0.1", str(self.dicom_port)]
        command = ["storescu", "+sd", *target, str(folder)]
        subprocess.run(command, check=True, capture_output=True, env=os.environ | NO_DELAY)


@contextmanager
def running_orthanc(folder: Path) -> Generator[Orthanc]:
    """Start an Orthanc with its storage in a folder.

    Raises:
        NotInstalledError: there is none on this machine.
    """
    program = shutil.which("Orthanc")
    if program is None or shutil.which("storescu") is None:
        raise NotInstalledError("apt-get install orthanc dcmtk")
    folder.mkdir()
    http_port, dicom_port = free_port(), free_port()
    settings: dict[str, Any] = {  # Any: Orthanc's configuration
        "Name": AE_TITLE,
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "HttpPort": http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAet": AE_TITLE,
        "DicomPort": dicom_port,
        "DicomAlwaysAllowStore": True,
    }
    path = folder / "orthanc.json"
    path.write_text(json.dumps(settings))
    child = Child("orthanc", [program, str(path)], os.environ | NO_DELAY, folder / "orthanc.log")
    base_url = f"http://127.0.0.1:{http_port}"
    try:
        system = _wait_until_up(child, base_url)
        yield Orthanc(
            base_url=base_url,
            pid=child.pid,
            dicom_port=dicom_port,
            version=system["Version"],
            syncs_storage=bool(settings.get("SyncStorageArea", True)),
        )
    finally:
        child.stop(STOP_SECONDS)


def enter_namespace() -> None:
    """Go on in a network of our own with nothing but a loopback: Orthanc listens everywhere.

    Raises:
        NotInstalledError: this user may not make one.
    """
    if os.environ.get(NAMESPACE_VARIABLE) == "1":
        return
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        raise NotInstalledError("a network of its own needs root and unshare")
    _again_in_namespace()


def _again_in_namespace() -> NoReturn:
    inner = 'ip link set lo up && exec "$@"'
    command = ["unshare", "--net", "bash", "-c", inner, "bash", sys.executable, "-m", "bench.load"]
    environment = os.environ | {NAMESPACE_VARIABLE: "1"}
    os.execvpe(command[0], [*command, *sys.argv[1:]], environment)


def _wait_until_up(child: Child, base_url: str) -> dict[str, Any]:  # Any: json
    last_try = time.monotonic() + START_SECONDS
    while True:
        child.check()
        try:
            return Client(base_url).get_json("/system")
        except (OSError, RefusedError):
            if time.monotonic() > last_try:
                raise
        time.sleep(POLL_SECONDS)
