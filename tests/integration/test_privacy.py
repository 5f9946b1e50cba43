"""The real service at its work: it connects to nobody, and names no patient where it must not."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from tests.integration.offline_service import MARKER

ROOT = Path(__file__).parents[2]
RECORDER = Path(__file__).parent / "recorder"
NAMESPACE = ("unshare", "--map-root-user", "--net")
"""Needs no rights of its own where user namespaces are allowed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """What a run of the service left."""

    folder: Path
    deidentifies: bool
    has_own_network: bool

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def outcome(self) -> dict[str, Any]:
        return json.loads((self.folder / "outcome.json").read_text())

    @property
    def connections(self) -> list[dict[str, Any]]:
        lines = (self.folder / "connections.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


def can_have_own_network() -> bool:
    if shutil.which(NAMESPACE[0]) is None:
        return False
    return subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True).returncode == 0


def recorded(folder: Path) -> dict[str, str]:
    """The environment of a process whose connections, and those of its children, are noted."""
    return {
        **os.environ,
        "PYTHONPATH": f"{RECORDER}{os.pathsep}{ROOT}",
        "CONNECTION_RECORD": str(folder / "connections.jsonl"),
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture(scope="module", params=[False, True], ids=["as sent", "deidentified"])
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("offline")
    has_own_network = can_have_own_network()
    command = [sys.executable, "-m", "tests.integration.offline_service", str(folder)]
    if has_own_network:
        command = [*NAMESPACE, *command, "--own-network"]
    if request.param:
        command.append("--deidentify")
    done = subprocess.run(
        command, env=recorded(folder), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return Ran(folder=folder, deidentifies=request.param, has_own_network=has_own_network)


class TestNetwork:
    def test_only_this_machine_is_spoken_to(self, ran: Ran) -> None:
        strangers = [noted for noted in ran.connections if not is_here(noted)]
        assert strangers == []

    def test_every_process_was_listened_to(self, ran: Ran) -> None:
        programs = {" ".join(noted["program"]) for noted in ran.connections}
        assert any("offline_service" in program for program in programs)
        started = (ran.folder / "connections.jsonl.started").read_text()
        for part in ("uvicorn", "celery"):
            assert part in started

    def test_a_stranger_would_be_noted(self, tmp_path: Path) -> None:
        program = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.connect(("192.0.2.1", 9))
"""
        subprocess.run([sys.executable, "-c", program], env=recorded(tmp_path), check=False)
        ran = Ran(folder=tmp_path, deidentifies=False, has_own_network=False)
        assert [is_here(noted) for noted in ran.connections] == [False]


class TestIdentifiers:
    def test_the_work_was_done(self, ran: Ran) -> None:
        assert ran.outcome["patient"] == MARKER
        assert ran.outcome["failure"] in ("not_dicom", "pixels_truncated")
        assert len(set(ran.outcome["refusals"].values())) >= 8

    def test_no_log_names_a_patient(self, ran: Ran) -> None:
        logs = sorted((ran.data_dir / "logs").iterdir())
        assert len(logs) >= 4
        for path in logs:
            assert path.stat().st_size
            assert MARKER not in path.read_text(), path.name

    def test_no_file_is_named_after_a_patient(self, ran: Ran) -> None:
        assert not [path for path in ran.data_dir.rglob("*") if MARKER in path.name]

    def test_no_row_names_a_patient(self, ran: Ran) -> None:
        with closing(sqlite3.connect(ran.data_dir / "cervicontour.sqlite")) as database:
            dump = "\n".join(database.iterdump())
        assert "contour_job" in dump
        assert MARKER not in dump

    def test_no_file_holds_a_patient_where_series_are_deidentified(self, ran: Ran) -> None:
        holders = [
            path.relative_to(ran.data_dir).parts[0]
            for path in ran.data_dir.rglob("*")
            if path.is_file() and MARKER.encode() in path.read_bytes()
        ]
        expected = set() if ran.deidentifies else {"series", "results", "edited-rtstructs"}
        assert set(holders) == expected


def is_here(noted: dict[str, Any]) -> bool:
    """Tell whether a connection, message or look-up stays on this machine."""
    arguments = noted["arguments"]
    if noted["event"] in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        if arguments[0]["family"] in ("AF_UNIX", "AF_NETLINK"):
            return True
        address = arguments[1][0] if arguments[1] else ""
    else:
        address = arguments[0]
    if address in (None, "", "localhost"):
        return True
    try:
        return ip_address(address).is_loopback or ip_address(address).is_unspecified
    except ValueError:  # a name: somebody would have to be asked who that is
        return False
