"""Reads the locks under requirements/."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from packaging.markers import Marker

ROOT = Path(__file__).parents[1]
CUDA_LOCK = ROOT / "requirements" / "torch-cuda.txt"

ENTRY = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)(?: ; (?P<marker>[^\\]+?))? *\\?$"
)
HASH = re.compile(r"^ +--hash=sha256:(?P<digest>[0-9a-f]{64})")

IMAGE_ENVIRONMENT = {
    "python_version": "3.11",
    "python_full_version": "3.11.14",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "implementation_name": "cpython",
    "os_name": "posix",
}
"""What the images are, whatever this machine is."""


@dataclass(kw_only=True, slots=True)
class Locked:
    """One package of a lock."""

    version: str
    sha256: list[str] = field(default_factory=list[str])
    """Of every file that may be installed for it."""


def read_lock(path: Path) -> dict[str, Locked]:
    """Return what a lock names for the images, by name as `normal` writes it."""
    locked: dict[str, Locked] = {}
    current = Locked(version="")
    for line in path.read_text().splitlines():
        if entry := ENTRY.match(line):
            current = Locked(version=entry["version"])
            if entry["marker"] is None or Marker(entry["marker"]).evaluate(IMAGE_ENVIRONMENT):
                locked[normal(entry["name"])] = current
        elif digest := HASH.match(line):
            current.sha256.append(digest["digest"])
    return locked


def normal(name: str) -> str:
    """Write a distribution's name in the one way the packaging standards give it."""
    return re.sub(r"[-_.]+", "-", name).lower()
