"""What the compose file promises of every container, read from the file."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.embedded.api_command import API_OPTIONS
from services.embedded.supervisor import API_APP

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DOCKERFILE = (ROOT / "Dockerfile.gpu").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
NETWORKS: dict[str, dict[str, Any]] = COMPOSE["networks"]
STAGE = re.compile(r"^FROM (\S+) AS (\S+)$\n(.*?)(?=^FROM |\Z)", re.M | re.S)

PUBLISHED = {"api", "grafana"}
ROOT_FOR_A_SECOND = "secrets"
"""Gives files to others and ends; it has no network."""
WORKERS = {"worker-inference", "worker-training", "worker-data"}
SECRET_WORDS = ("PASSWORD", "SECRET", "TOKEN", "KEY", "DATABASE_URL", "BROKER_URL")

every_service = pytest.mark.parametrize("name", sorted(SERVICES))


def networks_of(name: str) -> set[str]:
    return set(SERVICES[name].get("networks", ()))


def started_with(name: str) -> set[str]:
    """What Compose starts before a service, `docker compose run` too."""
    needed = set(SERVICES[name].get("depends_on", ()))
    return needed.union(*map(started_with, needed))


def own_folders(target: str) -> set[str]:
    """Folders that belong to the application's user in the image of a target."""
    stages = {own: (base, text) for base, own, text in STAGE.findall(DOCKERFILE)}
    found: set[str] = set()
    while target in stages:
        target, text = stages[target]
        for line in re.findall(r"install -d -o (?:10001|cervicontour) -g \S+((?: /\S+)+)", text):
            found |= set(line.split())
    return found


def test_the_image_serves_the_api_as_every_other_place_does() -> None:
    (command,) = [
        json.loads(line.removeprefix("CMD"))
        for line in DOCKERFILE.splitlines()
        if line.startswith("CMD") and "uvicorn" in line
    ]
    listen = ["--host", "0.0.0.0", "--port", "8000"]
    assert command == ["uvicorn", API_APP, *API_OPTIONS, *listen]


@every_service
def test_no_container_runs_as_root(name: str) -> None:
    user = str(SERVICES[name]["user"])
    if name == ROOT_FOR_A_SECOND:
        assert SERVICES[name]["network_mode"] == "none"
        assert SERVICES[name]["restart"] == "no"
    else:
        assert user.partition(":")[0] not in {"", "0", "root"}


@every_service
def test_root_file_systems_cannot_be_written(name: str) -> None:
    assert SERVICES[name]["read_only"] is True


@every_service
def test_no_container_has_capabilities(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert "privileged" not in service
    added = set(service.get("cap_add", ()))
    assert added == ({"CHOWN", "DAC_OVERRIDE", "FOWNER"} if name == ROOT_FOR_A_SECOND else set())


@every_service
def test_nobody_gains_privileges(name: str) -> None:
    assert "no-new-privileges:true" in SERVICES[name]["security_opt"]


@every_service
def test_memory_and_processes_are_bounded(name: str) -> None:
    assert SERVICES[name]["mem_limit"]
    assert SERVICES[name]["pids_limit"]


@every_service
def test_memory_disks_hold_no_programs_and_are_bounded(name: str) -> None:
    for mount in SERVICES[name]["tmpfs"]:
        options = set(mount.partition(":")[2].split(","))
        assert {"noexec", "nosuid", "nodev"} <= options
        assert any(option.startswith("size=") for option in options)


@every_service
def test_only_the_api_and_grafana_are_published_and_only_to_this_machine(name: str) -> None:
    ports = SERVICES[name].get("ports", [])
    assert bool(ports) == (name in PUBLISHED)
    for port in ports:
        assert port.startswith(("127.0.0.1:", "${CERVICONTOUR_BIND:-127.0.0.1}:"))


@every_service
def test_no_secret_stands_in_an_environment_or_a_command(name: str) -> None:
    for variable, value in SERVICES[name].get("environment", {}).items():
        if any(word in variable for word in SECRET_WORDS) and isinstance(value, str):
            assert value.startswith("/run/cervicontour-secrets"), variable
    command = SERVICES[name].get("command", [])
    if name != ROOT_FOR_A_SECOND:  # it draws them
        assert "://" not in str(command)


@every_service
def test_images_are_pinned(name: str) -> None:
    tag = SERVICES[name]["image"].rpartition(":")[2]
    assert tag[0].isdigit() or tag.startswith("v")
    assert "." in tag


@every_service
def test_secrets_are_read_only_for_all_but_who_draws_them(name: str) -> None:
    mounts = [m for m in SERVICES[name].get("volumes", ()) if m.startswith("secrets:")]
    assert mounts
    assert name == ROOT_FOR_A_SECOND or all(mount.endswith(":ro") for mount in mounts)


@every_service
def test_whatever_stays_has_a_health_check_and_a_reaper(name: str) -> None:
    service = SERVICES[name]
    assert service["init"] is True
    assert service["restart"] == "no" or "healthcheck" in service


def test_database_and_broker_are_on_a_network_without_a_way_out() -> None:
    for name in ("postgres", "redis"):
        assert networks_of(name) == {"internal"}
    assert NETWORKS["internal"]["internal"] is True
    assert NETWORKS["monitoring"]["internal"] is True


def test_workers_reach_the_internal_network_alone() -> None:
    for name in WORKERS:
        assert networks_of(name) == {"internal"}


def test_only_what_is_published_has_a_way_out() -> None:
    outside = {name for name, network in NETWORKS.items() if not (network or {}).get("internal")}
    assert {name for name in SERVICES if networks_of(name) & outside} == PUBLISHED
    assert not networks_of("api") & networks_of("grafana") & outside


def test_monitoring_cannot_reach_database_or_broker() -> None:
    for name in ("prometheus", "grafana"):
        assert "internal" not in networks_of(name)


def test_a_backup_finds_a_database_that_nobody_migrates() -> None:
    """Before an upgrade it is as it was, and for a restore it is empty."""
    assert started_with("backup") == {"postgres", "secrets"}
    needed = SERVICES["backup"]["depends_on"]
    assert needed == {"postgres": {"condition": "service_healthy"}}


@every_service
def test_a_new_volume_belongs_to_who_writes_it(name: str) -> None:
    """Docker gives it the owner that the folder has in the image of the first who mounts it."""
    service = SERVICES[name]
    if "build" not in service:
        return
    mounts = [mount for mount in service["volumes"] if not mount.endswith(":ro")]
    assert mounts
    assert {mount.rpartition(":")[2] for mount in mounts} <= own_folders(service["build"]["target"])


def test_installing_without_internet_takes_along_what_starts_only_when_asked_for() -> None:
    profiles = {profile for s in SERVICES.values() for profile in s.get("profiles", ())}
    words = " ".join(f"--profile {profile}" for profile in sorted(profiles))
    assert f"docker compose {words} build\n" in OPERATIONS
    assert f"docker compose {words} config --images" in OPERATIONS
    built = {service["image"] for service in SERVICES.values() if "build" in service}
    (pulled,) = re.findall(r"^docker compose --profile .* pull (.*)$", OPERATIONS, re.M)
    assert {SERVICES[name]["image"] for name in pulled.split()} == {
        service["image"] for service in SERVICES.values()
    } - built


def test_the_api_may_end_what_it_answers() -> None:
    """Docker's own 10 s would cut uploads off."""
    assert SERVICES["api"]["stop_grace_period"] == "2m"


def test_monitoring_and_backups_start_only_when_asked_for() -> None:
    asked = {name for name, service in SERVICES.items() if service.get("profiles")}
    assert asked == {"monitoring-key", "prometheus", "grafana", "backup"}
    for name, service in SERVICES.items():
        assert name in asked or not asked & set(service.get("depends_on", ()))
