"""How long every kind of stored files is kept: the decision for each, and the reason.

docs/retention.md shows it, and a test keeps the two and the kinds of storage together.
"""

from dataclasses import dataclass

from services.core.storage import StoredKind


@dataclass(frozen=True, kw_only=True, slots=True)
class Retention:
    """What ends the life of a kind of files."""

    setting: str | None
    """How long; None where only a person's deletion ends it."""
    begins: str
    """From when the setting counts, or what else removes them."""
    reason: str


RETENTION: dict[StoredKind, Retention] = {
    StoredKind.SERIES: Retention(
        setting="result_retention_days",
        begins="when it was last posted, once the results of all its jobs are removed; without any "
        "job `unused_series_retention_days`",
        reason="a result can only be checked beside its CT",
    ),
    StoredKind.RESULTS: Retention(
        setting="result_retention_days",
        begins="when the job ended; later if an edited RTSTRUCT of it is kept",
        reason="the planning system has fetched it by then",
    ),
    StoredKind.SHADOW_RESULTS: Retention(
        setting="result_retention_days",
        begins="with the job's own result",
        reason="only compared with it",
    ),
    StoredKind.EDITED_RTSTRUCTS: Retention(
        setting="edited_retention_days",
        begins="when it was sent",
        reason="time to collect it into a dataset",
    ),
    StoredKind.DATASET_UPLOADS: Retention(
        setting=None,
        begins="deleting the source or the dataset; of a collected edit also the edit, its job or "
        "its series",
        reason="the next version is read from it",
    ),
    StoredKind.DATASETS: Retention(
        setting=None,
        begins="deleting the version or the dataset",
        reason="curated cases; what a model version learned must stay provable",
    ),
    StoredKind.RUNS: Retention(
        setting=None,
        begins="nothing by itself: weights hold no patient's files",
        reason="a run may be promoted at any time",
    ),
    StoredKind.REPORTS: Retention(
        setting=None,
        begins="deleting the report",
        reason="evidence for a promotion; it shows pseudonyms only",
    ),
    StoredKind.MODEL_VERSIONS: Retention(
        setting=None,
        begins="deleting a retired version",
        reason="contours that were used must stay explainable",
    ),
    StoredKind.MODEL_UPLOADS: Retention(
        setting="stale_upload_hours",
        begins="when they were checked, or the check failed",
        reason="accepted ones have become a model version",
    ),
    StoredKind.WORKSPACES: Retention(
        setting="result_retention_days",
        begins="when the run failed or was cancelled; at once when it succeeded; those of dataset "
        "versions that ended go after ten times `lease_seconds`",
        reason="a run that was stopped may be gone on with; a version is begun anew",
    ),
    StoredKind.CROPS: Retention(
        setting=None,
        begins="goes with its dataset version",
        reason="made again where they are missing",
    ),
}

OTHER_RETENTION: dict[str, Retention] = {
    "uploads in work (`incoming/`)": Retention(
        setting="stale_upload_hours",
        begins="when they were last written to; at once when the request ends",
        reason="longer than any upload takes",
    ),
    "idempotency records": Retention(
        setting="idempotency_retention_hours",
        begins="when they were made",
        reason="a client repeats a request within minutes",
    ),
    "reports of workers": Retention(
        setting=None,
        begins="one day after the last one",
        reason="for people who look for a worker that died",
    ),
    "rows of series, jobs, reviews and scores": Retention(
        setting=None,
        begins="nothing by itself; they outlive the files as a record",
        reason="drift and acceptability are counted over years; they name no patient",
    ),
    "rows of the cases of dataset versions": Retention(
        setting=None,
        begins="deleting the version or the dataset, of versions without files the source, too",
        reason="a refused case is found by the sender's file name, which may name a patient",
    ),
    "logs": Retention(
        setting=None,
        begins="the operator's rotation",
        reason="they name no patient",
    ),
}


def retention_table() -> str:
    """Return the table of docs/retention.md."""
    rows = {f"`{kind.value}/`": retention for kind, retention in RETENTION.items()}
    lines = ["| What | Kept for | Counted from, or ended by | Why |", "|---|---|---|---|"]
    lines += [
        f"| {what} | {f'`{kept.setting}`' if kept.setting else 'until deleted'} | {kept.begins} "
        f"| {kept.reason} |"
        for what, kept in (rows | OTHER_RETENTION).items()
    ]
    return "\n".join(lines)
