"""A snapshot as Prometheus' families of metrics.

Labels are words of this code, the names of routes, and what operators name themselves: workers and
model versions. Nothing of a patient, a study or a request is one.
"""

from collections import defaultdict
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from services.api.metrics.snapshot import Rows, Snapshot
from services.api.metrics.worker_families import worker_families
from services.core.lifecycle import JobErrorCode, JobState
from services.core.queue import QUEUE_OF, TaskName
from services.core.repositories.tallies import LAST_BUCKET, Amount, TallyKey
from services.core.tables.tallies import TallyKind

EXPECTED_ENDS = (
    (JobState.SUCCEEDED, ""),
    (JobState.CANCELLED, ""),
    (JobState.FAILED, JobErrorCode.INTERNAL_ERROR),
    (JobState.FAILED, JobErrorCode.WORKER_LOST),
)
"""Shown from the start: a rate needs a value before the first event."""


class SnapshotCollector(Collector):
    """Hands a snapshot to the text format."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Yield every family; without a database those that need none."""
        snapshot = self._snapshot
        yield _up(snapshot)
        yield GaugeMetricFamily(
            "cervicontour_ready",
            "Whether a job posted now would be contoured.",
            value=snapshot.is_ready,
        )
        yield from _storage(snapshot)
        if snapshot.rows is not None:
            yield from _backlog(snapshot.rows)
            yield from _tallies(snapshot.rows)
            yield from worker_families(snapshot)


def _up(snapshot: Snapshot) -> Metric:
    family = GaugeMetricFamily(
        "cervicontour_up", "Whether a dependency answers.", labels=("component",)
    )
    for component, check in snapshot.checks.items():
        family.add_metric((component,), check.is_ok)
    return family


def _storage(snapshot: Snapshot) -> Iterator[Metric]:
    total = GaugeMetricFamily("cervicontour_storage_total_bytes", "Size of the file system.")
    free = GaugeMetricFamily("cervicontour_storage_free_bytes", "Free on the file system.")
    backup = GaugeMetricFamily(
        "cervicontour_backup_last_success_timestamp_seconds",
        "When the last backup succeeded; 0 when none is known of.",
    )
    if snapshot.stored is not None:
        backup.add_metric((), snapshot.stored.last_backup_timestamp)
        if snapshot.stored.room is not None:
            total.add_metric((), snapshot.stored.room.total_bytes)
            free.add_metric((), snapshot.stored.room.free_bytes)
    yield from (total, free, backup)
    if snapshot.rows is not None:
        by_kind = GaugeMetricFamily(
            "cervicontour_stored_bytes",
            "Bytes of files by kind, as last added up, about once an hour.",
            labels=("kind",),
        )
        for kind, byte_count in snapshot.rows.stored_bytes.items():
            by_kind.add_metric((kind,), byte_count)
        yield by_kind


def _backlog(rows: Rows) -> Iterator[Metric]:
    labels = ("queue", "task", "state")
    jobs = GaugeMetricFamily("cervicontour_jobs", "Work that is not over.", labels=labels)
    ages = GaugeMetricFamily(
        "cervicontour_oldest_job_age_seconds",
        "Since the oldest queued one was made, or the oldest running one started.",
        labels=labels,
    )
    found = {(backlog.task, backlog.state): backlog for backlog in rows.backlog}
    for task in TaskName:
        for state in (JobState.QUEUED, JobState.RUNNING):
            backlog = found.get((task, state))
            values = (QUEUE_OF[task].value, task.value, state.value)
            jobs.add_metric(values, backlog.count if backlog else 0)
            ages.add_metric(values, backlog.oldest_seconds if backlog else 0)
    yield from (jobs, ages)
    yield GaugeMetricFamily(
        "cervicontour_training_progress_age_seconds",
        "Since the running training that is slowest to report finished an epoch, or started.",
        value=rows.training_progress_age,
    )


def _tallies(rows: Rows) -> Iterator[Metric]:
    yield _ends(rows)
    yield _durations(rows)
    for kind, name, help_text, labels in (
        (
            TallyKind.TAKEN_OVER,
            "cervicontour_jobs_taken_over",
            "Work whose worker was lost, by what became of it.",
            ("task", "outcome"),
        ),
        (
            TallyKind.SENT_AGAIN,
            "cervicontour_messages_sent_again",
            "Messages of queued work that were sent once more.",
            ("task",),
        ),
        (
            TallyKind.ORPHANS,
            "cervicontour_orphans_removed",
            "Folders removed that no row needed.",
            ("kind",),
        ),
    ):
        family = CounterMetricFamily(name, help_text, labels=labels)
        for key, amount in _of_kind(rows, kind):
            family.add_metric((key.subject, key.detail)[: len(labels)], amount.count)
        yield family


def _ends(rows: Rows) -> Metric:
    family = CounterMetricFamily(
        "cervicontour_jobs_ended",
        "Work that ended, by how and why.",
        labels=("queue", "task", "state", "error_code"),
    )
    counts = {
        (task.value, state.value, str(code)): 0
        for task in TaskName
        for state, code in EXPECTED_ENDS
    }
    for key, amount in _of_kind(rows, TallyKind.ENDED):
        counts[key.subject, key.detail, key.reason] = amount.count
    for (task, state, code), number in counts.items():
        family.add_metric((QUEUE_OF[TaskName(task)].value, task, state, code), number)
    return family


def _durations(rows: Rows) -> Metric:
    family = HistogramMetricFamily(
        "cervicontour_job_seconds",
        "How long work took by stage: `waiting` before its latest start, `total` since.",
        labels=("queue", "task", "stage"),
    )
    measured: dict[tuple[str, str], dict[str, Amount]] = defaultdict(dict)
    for key, amount in _of_kind(rows, TallyKind.SECONDS):
        measured[key.subject, key.detail][key.reason] = amount
    for (task, stage), buckets in sorted(measured.items()):
        bounds = sorted({*buckets, LAST_BUCKET}, key=float)
        counts = accumulate(buckets[b].count if b in buckets else 0 for b in bounds)
        family.add_metric(
            (QUEUE_OF[TaskName(task)].value, task, stage),
            buckets=list(zip(bounds, counts, strict=True)),
            sum_value=sum(amount.seconds for amount in buckets.values()),
        )
    return family


def _of_kind(rows: Rows, kind: TallyKind) -> Iterator[tuple[TallyKey, Amount]]:
    return ((key, amount) for key, amount in rows.tallies.items() if key.kind is kind)
