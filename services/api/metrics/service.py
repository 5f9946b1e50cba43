"""The text of a scrape: this process' own counters and a look at everything else."""

from anyio import to_thread
from prometheus_client import CollectorRegistry, generate_latest

from services.api.metrics.families import SnapshotCollector
from services.api.metrics.snapshot import Looks, Snapshot
from services.api.telemetry import Telemetry


class Metrics:
    """Answers scrapes."""

    def __init__(self, telemetry: Telemetry, looks: Looks) -> None:
        self._telemetry = telemetry
        self._looks = looks

    async def text(self) -> bytes:
        """Return every metric in Prometheus' text format."""
        snapshot = await self._looks.take_snapshot()
        return await to_thread.run_sync(self._render, snapshot)

    def _render(self, snapshot: Snapshot) -> bytes:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(SnapshotCollector(snapshot))
        return generate_latest(self._telemetry.registry) + generate_latest(registry)
