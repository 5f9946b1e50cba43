"""The words of the audit trail: what is recorded, and of what kind of thing."""

import re
from enum import StrEnum

FACT_TEXT = re.compile(r"[a-z0-9_-]{1,64}")
"""Ids, codes and hashes of this service. A patient's name, a file's name or a UID has capitals,
spaces, dots or carets, so that none gets into the trail by mistake."""

Fact = str | int | bool | list[str] | None
"""A fraction is none: databases write them differently, and the hash would change."""


class Action(StrEnum):
    """What was done."""

    SERIES_SUBMITTED = "series_submitted"
    SERIES_DELETED = "series_deleted"
    CONTOUR_JOB_SUBMITTED = "contour_job_submitted"
    CONTOUR_JOB_CANCELLED = "contour_job_cancelled"
    CONTOUR_JOB_DELETED = "contour_job_deleted"
    RTSTRUCT_READ = "rtstruct_read"
    REVIEW_SUBMITTED = "review_submitted"
    """Contours were graded."""
    EDITED_RTSTRUCT_SUBMITTED = "edited_rtstruct_submitted"
    EDITED_RTSTRUCT_READ = "edited_rtstruct_read"
    EDITED_RTSTRUCT_DELETED = "edited_rtstruct_deleted"
    DATASET_CREATED = "dataset_created"
    DATASET_MAPPING_CHANGED = "dataset_mapping_changed"
    DATASET_SOURCES_ADDED = "dataset_sources_added"
    DATASET_SOURCE_DELETED = "dataset_source_deleted"
    DATASET_DELETED = "dataset_deleted"
    DATASET_VERSION_SUBMITTED = "dataset_version_submitted"
    DATASET_VERSION_CANCELLED = "dataset_version_cancelled"
    DATASET_VERSION_DELETED = "dataset_version_deleted"
    DATASET_CASES_READ = "dataset_cases_read"
    EXPERIMENT_STARTED = "experiment_started"
    EXPERIMENT_CANCELLED = "experiment_cancelled"
    RUN_CANCELLED = "run_cancelled"
    RUN_RESUMED = "run_resumed"
    REPORT_SUBMITTED = "report_submitted"
    REPORT_DELETED = "report_deleted"
    MODEL_VERSION_PROMOTED = "model_version_promoted"
    MODEL_VERSION_IMPORTED = "model_version_imported"
    MODEL_VERSION_EXPORTED = "model_version_exported"
    MODEL_VERSION_RETIRED = "model_version_retired"
    MODEL_VERSION_DELETED = "model_version_deleted"
    MODEL_ALIAS_MOVED = "model_alias_moved"
    MODEL_ALIAS_ROLLED_BACK = "model_alias_rolled_back"
    DELETION_COMPLETED = "deletion_completed"
    """The files that a deletion names are gone."""
    API_KEY_CREATED = "api_key_created"
    API_KEY_REVOKED = "api_key_revoked"
    AUDIT_TRAIL_READ = "audit_trail_read"
    AUDIT_TRAIL_EXPORTED = "audit_trail_exported"
    ACCESS_REFUSED = "access_refused"
    """Requests without credentials or without the right; counted, at most one entry a minute."""


class ResourceKind(StrEnum):
    """What it was done to."""

    SERIES = "series"
    CONTOUR_JOB = "contour_job"
    REVIEW = "review"
    EDITED_RTSTRUCT = "edited_rtstruct"
    DATASET = "dataset"
    DATASET_SOURCE = "dataset_source"
    DATASET_VERSION = "dataset_version"
    EXPERIMENT = "experiment"
    RUN = "run"
    REPORT = "report"
    MODEL_VERSION = "model_version"
    MODEL_ALIAS = "model_alias"
    DELETION = "deletion"
    API_KEY = "api_key"
    AUDIT_TRAIL = "audit_trail"
    SERVICE = "service"


def check_facts(facts: dict[str, Fact]) -> None:
    """Return if facts are ids, codes and counts.

    Raises:
        ValueError: a text could be anything else; it is not quoted, for it may name a patient.
    """
    for name, value in facts.items():
        texts = value if isinstance(value, list) else [value] if isinstance(value, str) else []
        if not all(FACT_TEXT.fullmatch(text) for text in texts):
            raise ValueError(f"the fact {name} is no id, code or count")
