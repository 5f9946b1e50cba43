"""Workers and what they contour with, as families of metrics."""

from collections import Counter
from collections.abc import Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric

from services.api.metrics.snapshot import Snapshot
from services.core.queue import QueueName
from services.core.tables.operations import WorkerHeartbeat


def worker_families(snapshot: Snapshot) -> Iterator[Metric]:
    """Yield what workers reported; one that died is shown for a day, for people to look at."""
    yield _present(snapshot)
    yield from _reports(snapshot)
    yield from _gpu_memory(snapshot)
    yield _production(snapshot)


def _present(snapshot: Snapshot) -> Metric:
    family = GaugeMetricFamily(
        "cervicontour_workers", "Workers that reported themselves lately.", labels=("queue",)
    )
    counts = Counter(worker.queue for worker in snapshot.present)
    for queue in QueueName:
        family.add_metric((queue.value,), counts[queue])
    return family


def _reports(snapshot: Snapshot) -> Iterator[Metric]:
    labels = ("worker", "queue")
    age = GaugeMetricFamily(
        "cervicontour_worker_heartbeat_age_seconds", "Since its last report.", labels=labels
    )
    loaded = GaugeMetricFamily(
        "cervicontour_worker_weights_loaded",
        "Whether it is there and holds a network.",
        labels=labels,
    )
    clearing = GaugeMetricFamily(
        "cervicontour_housekeeping_age_seconds",
        "Since it last looked for files to remove.",
        labels=labels,
    )
    present = {worker.name for worker in snapshot.present}
    info = InfoMetricFamily("cervicontour_worker", "What it is.")
    for worker in _workers(snapshot):
        values = (worker.name, worker.queue.value)
        age.add_metric(values, (snapshot.taken_at - worker.seen_at).total_seconds())
        loaded.add_metric(values, worker.name in present and worker.weights_loaded)
        if worker.cleared_at is not None:
            clearing.add_metric(values, (snapshot.taken_at - worker.cleared_at).total_seconds())
        info.add_metric(
            (),
            {
                "worker": worker.name,
                "queue": worker.queue.value,
                "device": worker.device,
                "software_version": worker.software_version,
                "model_version": worker.model_version or "",
            },
        )
    yield from (age, loaded, clearing, info)


def _gpu_memory(snapshot: Snapshot) -> Iterator[Metric]:
    used = GaugeMetricFamily(
        "cervicontour_gpu_memory_used_bytes",
        "Of the worker's GPU, whoever holds it; nothing on a processor.",
        labels=("worker", "queue"),
    )
    total = GaugeMetricFamily(
        "cervicontour_gpu_memory_total_bytes", "Of the worker's GPU.", labels=("worker", "queue")
    )
    for worker in _workers(snapshot):
        values = (worker.name, worker.queue.value)
        if worker.gpu_memory_used_bytes is not None and worker.gpu_memory_total_bytes is not None:
            used.add_metric(values, worker.gpu_memory_used_bytes)
            total.add_metric(values, worker.gpu_memory_total_bytes)
    yield from (used, total)


def _production(snapshot: Snapshot) -> Metric:
    """Name what contours now: the version of the alias, or else what the workers have loaded."""
    family = InfoMetricFamily("cervicontour_production_model", "What contours every job.")
    production = snapshot.rows.production if snapshot.rows else None
    if production is not None:
        named = {(production.name, production.weights_sha256)}
    else:
        named = {
            (worker.model_version, worker.weights_sha256)
            for worker in snapshot.present
            if worker.queue is QueueName.INFERENCE and worker.model_version is not None
        }
    for name, sha256 in sorted(named, key=str):
        family.add_metric((), {"model_version": name or "", "weights_sha256": sha256 or ""})
    return family


def _workers(snapshot: Snapshot) -> Sequence[WorkerHeartbeat]:
    return snapshot.rows.workers if snapshot.rows else ()
