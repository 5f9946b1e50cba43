"""Idempotency-Keys: the same request with the same key again makes nothing new."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from services.core.unit_of_work import UnitOfWork

MAX_KEY_LENGTH = 255
"""Characters; what the column holds."""


class KeyedRoute(StrEnum):
    """Routes that take a key; a key belongs to one route."""

    SERIES = "series"
    CONTOUR_JOBS = "contour_jobs"
    AUTOCONTOUR = "autocontour"
    DATASETS = "datasets"
    DATASET_CASES = "dataset_cases"
    DATASET_VERSIONS = "dataset_versions"
    EXPERIMENTS = "experiments"
    RUNS_REQUEUED = "runs_requeued"
    REPORTS = "reports"
    MODEL_VERSIONS = "model_versions"
    MODEL_ALIAS_ROLLBACKS = "model_alias_rollbacks"
    REVIEWS = "reviews"
    EDITED_RTSTRUCTS = "edited_rtstructs"


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkRequest:
    """Who asks for work, and how often it may start."""

    correlation_id: str
    max_attempts: int
    idempotency_key: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestKey:
    """A request as an Idempotency-Key knows it; without a key it is always a new one."""

    route: KeyedRoute
    key: str | None
    request_sha256: str

    def is_replay(self, uow: UnitOfWork, *, is_new: bool) -> bool:
        """Tell whether nothing is to be done, as this request did it before and all is there yet.

        is_new: whether this request made something, perhaps in place of what was deleted since.

        Raises:
            IdempotencyKeyReusedError: the key came with a different request.
        """
        return self.find(uow) is not None and not is_new

    def find(self, uow: UnitOfWork) -> UUID | None:
        """Return the resource that this request made before, or None.

        Raises:
            IdempotencyKeyReusedError: the key came with a different request.
        """
        if self.key is None:
            return None
        return uow.idempotency.find(
            route=self.route.value, key=self.key, request_sha256=self.request_sha256
        )

    def remember(self, uow: UnitOfWork, resource_id: UUID) -> UUID:
        """Tie the key to a resource; another id comes back if the same request was first.

        Raises:
            IdempotencyKeyReusedError: the key came with a different request.
        """
        if self.key is None:
            return resource_id
        return uow.idempotency.remember(
            route=self.route.value,
            key=self.key,
            request_sha256=self.request_sha256,
            resource_id=resource_id,
        )


def text_sha256(text: str) -> str:
    """Return the fingerprint of a request that a text describes."""
    return hashlib.sha256(text.encode()).hexdigest()
