"""Rules and dashboard speak of metrics that there are, and every alert is explained and tried."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from services.api.metrics.families import SnapshotCollector
from services.api.metrics.snapshot import Rows, Snapshot, Stored
from services.api.probes import Check
from services.api.telemetry import Telemetry
from services.core.database import utc_now
from services.core.storage_facts import Room

ROOT = Path(__file__).parents[3]
MONITORING = ROOT / "deploy" / "monitoring"
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = [rule["alert"] for rule in RULES]
DASHBOARD = json.loads((MONITORING / "grafana/dashboards/cervicontour.json").read_text())
OF_PROMETHEUS = {"up", "ALERTS"}
METRIC = re.compile(r"\b((?:cervicontour|process)_\w+|up|ALERTS)\b(?=\s*(?:\{|\[|$|\)|[-<>/=]| ))")
RUNBOOKS = [
    path for path in (ROOT / "docs").glob("operations*.md") if path.is_file()
]  # one file or two: every alert has a heading in one of them

every_rule = pytest.mark.parametrize("rule", RULES, ids=ALERTS)


@pytest.fixture(scope="module")
def exposed() -> set[str]:
    """Every name that a scrape has or may have."""
    check = Check(is_ok=True, detail="")
    snapshot = Snapshot(
        taken_at=utc_now(),
        worker_silent_seconds=30,
        checks=dict.fromkeys(("database", "broker", "storage"), check),
        rows=Rows(
            backlog=(),
            training_progress_age=0,
            tallies={},
            stored_bytes={},
            workers=(),
            production=None,
        ),
        stored=Stored(room=Room(total_bytes=2, free_bytes=1), last_backup_timestamp=0),
    )
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotCollector(snapshot))
    text = (generate_latest(Telemetry().registry) + generate_latest(registry)).decode()
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
    return {
        family.name + suffix
        for family in text_string_to_metric_families(text)
        for suffix in suffixes.get(family.type, ("",))
    }


def expressions() -> Iterator[str]:
    for rule in RULES:
        yield rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]


def test_every_metric_asked_for_exists(exposed: set[str]) -> None:
    asked = {name for expression in expressions() for name in METRIC.findall(expression)}
    assert len(asked) > 25
    assert asked - OF_PROMETHEUS <= exposed


def test_every_metric_is_asked_for(exposed: set[str]) -> None:
    text = " ".join(expressions())
    own = {n for n in exposed if n.startswith("cervicontour_") and not n.endswith("_created")}
    families = {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in own}
    assert {family for family in families if family not in text} == set()


@every_rule
def test_every_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_a_heading_in_the_runbook(alert: str) -> None:
    headings = [
        line.lstrip("#").strip()
        for path in RUNBOOKS
        for line in path.read_text().splitlines()
        if line.startswith("#")
    ]
    assert headings.count(alert) == 1


def test_every_alert_is_tried_silent_and_ringing() -> None:
    silent, ringing = yaml.safe_load((MONITORING / "alerts_test.yml").read_text())["tests"]
    assert {case["alertname"] for case in silent["alert_rule_test"]} == set(ALERTS)
    samples = ringing["promql_expr_test"][0]["exp_samples"]
    assert [sample["labels"] for sample in samples] == [f'{{alertname="{a}"}}' for a in ALERTS]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="prometheus is not installed")
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "alerts.yml"),
        ("check", "config", "--syntax-only", "prometheus.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
    ids=" ".join,
)
def test_prometheus_agrees(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        ["promtool", *arguments], cwd=MONITORING, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_panels_have_places_of_their_own_and_the_provisioned_source() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "prometheus"
    sources = yaml.safe_load(
        (MONITORING / "grafana/provisioning/datasources/prometheus.yml").read_text()
    )
    assert sources["datasources"][0]["uid"] == "prometheus"


def test_the_scraped_address_and_the_mounted_files_are_those_of_the_compose_file() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["api:8000"]}]
    token = job["authorization"]["credentials_file"]
    assert f"--file={token}" in compose["services"]["monitoring-key"]["command"]
    for name in ("prometheus", "grafana"):
        for mount in compose["services"][name]["volumes"]:
            if mount.startswith("./"):
                assert (ROOT / mount.partition(":")[0]).exists()
