"""Why a request is not served: unknown, not allowed, or too much."""

from collections.abc import Iterable

from services.core.actor import Role
from services.core.errors import ServiceError, UnavailableError


class UnauthenticatedError(ServiceError):
    """The request shows no valid credentials.

    One sentence for every reason: who tries credentials learns nothing from the answer.

    Attributes:
        reason: for the log alone.
    """

    code = "unauthenticated"

    def __init__(self, reason: str) -> None:
        super().__init__("send a valid API key or token as 'Authorization: Bearer ...'")
        self.reason = reason


class RoleMissingError(ServiceError):
    """The token is good, but names no role of this service."""

    code = "role_missing"

    def __init__(self, claim: str) -> None:
        super().__init__("the token's user has no role in this service", claim=claim)


class RoleNotAllowedError(ServiceError):
    """The route serves other roles."""

    code = "role_not_allowed"

    def __init__(self, role: Role, allowed: Iterable[str]) -> None:
        super().__init__(
            f"the route does not serve the role {role.value}",
            role=role.value,
            allowed_roles=sorted(allowed),
        )


class RateLimitedError(ServiceError):
    """The client sends more requests than it may."""

    code = "rate_limited"

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__("too many requests; slow down", retry_after_seconds=retry_after_seconds)


class IdentityProviderUnavailableError(UnavailableError):
    """The identity provider does not tell its keys, and the token's is not among the known."""

    code = "identity_provider_unavailable"

    def __init__(self, reason: str) -> None:
        super().__init__("the identity provider does not answer", reason=reason)
