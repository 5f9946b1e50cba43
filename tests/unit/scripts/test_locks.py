"""The locks: complete, hashed, and of the versions that constraints.txt names."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from scripts.locks import CUDA_LOCK, ROOT, normal, read_lock

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
LOCKS = ("api", "worker", "embedded", "dev", "audit")
INSTALLED_ALONE = {"torch"}
"""Its build depends on the machine; see the Makefile."""
CONSTRAINTS = {
    normal(line.partition("==")[0]): line.partition("==")[2]
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if not line.startswith("#")
}


def path_of(lock: str) -> Path:
    return ROOT / "requirements" / f"{lock}.txt"


def requirements_of(extra: str) -> list[Requirement]:
    """What an extra asks for, and the extras of our own that it contains."""
    found: list[Requirement] = []
    for line in EXTRAS[extra]:
        requirement = Requirement(line)
        if requirement.name == PROJECT["name"]:
            for other in requirement.extras:
                found += requirements_of(other)
        else:
            found.append(requirement)
    return found


@pytest.mark.parametrize("lock", [*LOCKS, "torch-cuda"])
def test_every_package_is_pinned_and_hashed(lock: str) -> None:
    for name, entry in read_lock(path_of(lock)).items():
        assert entry.sha256, name
        assert CONSTRAINTS[name] == entry.version


@pytest.mark.parametrize("lock", [*LOCKS, "torch-cuda"])
def test_nothing_but_packages_with_hashes_stands_in_a_lock(lock: str) -> None:
    for line in path_of(lock).read_text().splitlines():
        assert re.match(
            r"([A-Za-z0-9._-]+==\S+( ; .+)? \\$| +--hash=sha256:[0-9a-f]{64}( \\)?$)", line
        )


@pytest.mark.parametrize("extra", ["api", "worker", "embedded", "dev"])
def test_locks_hold_what_the_project_asks_for(extra: str) -> None:
    locked = read_lock(path_of(extra))
    asked = [Requirement(line) for line in PROJECT["dependencies"]] + requirements_of(extra)
    for requirement in asked:
        name = normal(requirement.name)
        if name not in INSTALLED_ALONE and (
            requirement.marker is None or requirement.marker.evaluate()
        ):
            assert name in locked, "run make lock"
            assert requirement.specifier.contains(locked[name].version, prereleases=True)


def test_the_api_image_gets_no_tensor_library() -> None:
    assert not {"torch", "scipy", "opencv-python-headless"} & set(read_lock(path_of("api")))


def test_workers_get_the_headless_opencv_and_rt_utils() -> None:
    locked = set(read_lock(path_of("worker")))
    assert {"rt-utils", "opencv-python-headless"} <= locked
    assert "opencv-python" not in locked
    assert "torch" in read_lock(CUDA_LOCK)


def test_images_install_from_locks_alone() -> None:
    lines = (ROOT / "Dockerfile.gpu").read_text().splitlines()
    installs = [line for line in lines if "pip install" in line]
    assert len(installs) == 6
    for line in installs:
        assert "--no-deps" in line
        assert "--require-hashes" in line or "-e ." in line or "TORCH_PIP_ARGS" in line
