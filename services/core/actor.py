"""On whose behalf something is done: a client of the API, or the service itself."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a client may do; every route names the roles it serves."""

    SUBMITTER = "submitter"
    """Posts CT series and fetches what was contoured for it."""
    REVIEWER = "reviewer"
    """Reads every job, grades and edits contours, reads the quality reports."""
    ADMIN = "admin"
    """Everything: datasets, training, model versions, keys, the audit trail, deletion."""
    MONITOR = "monitor"
    """Reads metrics and health; what a monitoring system is given."""


class ActorKind(StrEnum):
    """How an actor proved who it is."""

    API_KEY = "api_key"
    TOKEN = "token"  # noqa: S105 (a kind, not a secret)
    """Of the hospital's identity provider."""
    SYSTEM = "system"
    """The service itself, or someone with a command line on its machine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Actor:
    """Who does something, from where, and in answer to which request."""

    kind: ActorKind
    id: str
    """Stable and unique over all kinds, such as key:<uuid>; at most 255 characters."""
    name: str
    """For people; a key's label or a user's name, never a patient's."""
    role: Role | None
    """None for the service itself."""
    address: str | None = None
    """The client's network address."""
    correlation_id: str | None = None

    @property
    def sees_only_own(self) -> bool:
        """Tell whether series and jobs of others do not exist for this actor."""
        return self.role is Role.SUBMITTER

    def may_see(self, owner_id: str | None) -> bool:
        """Tell whether this actor may see what belongs to somebody."""
        return not self.sees_only_own or owner_id == self.id


SYSTEM = Actor(kind=ActorKind.SYSTEM, id="system", name="system", role=None)
"""The service at its own work: sweeps, retention."""
