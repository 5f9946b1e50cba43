"""Who a user with a token of the hospital's identity provider is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import jwt
from anyio import to_thread
from jwt.exceptions import PyJWTError

from services.api.access.errors import RoleMissingError, UnauthenticatedError
from services.api.access.identity_keys import IdentityKeys
from services.core.actor import Actor, ActorKind, Role

ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip
"""With a public key alone: whoever can check a token can then not make one."""
LEEWAY_SECONDS = 10
"""Clocks of two machines in one hospital differ by less."""
REQUIRED_CLAIMS = ("exp", "iss", "aud", "sub")
MAX_SUBJECT_LENGTH = 240
"""Characters; OpenID Connect Core, 2, allows 255, of which none are used that much."""
MAX_NAME_LENGTH = 80
ROLES_BY_POWER = (Role.ADMIN, Role.REVIEWER, Role.SUBMITTER, Role.MONITOR)
"""Of a user with several roles the first of these counts."""

Claims = dict[str, Any]  # Any: nested json values


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenRules:
    """What a token must say to be one for this service."""

    issuer: str
    audience: str
    roles_claim: str
    """Its name, or its path with dots between the names."""
    role_map: Mapping[str, Role]
    """From what the claim may hold to what it means here."""


class TokenAuthenticator:
    """Checks tokens against the provider's keys."""

    def __init__(self, rules: TokenRules, keys: IdentityKeys) -> None:
        self._rules = rules
        self._keys = keys

    async def authenticate(self, token: str) -> Actor:
        """Return the user of a token.

        Raises:
            UnauthenticatedError: the token is no valid one for this service.
            RoleMissingError: its user has no role here.
            IdentityProviderUnavailableError: its key is not known and the provider away.
        """
        try:
            header = jwt.get_unverified_header(token)
        except PyJWTError as error:
            raise UnauthenticatedError(f"token_{type(error).__name__}") from error
        key_id = header.get("kid")
        if header.get("alg") not in ALGORITHMS or not isinstance(key_id, str):
            raise UnauthenticatedError("token_algorithm_or_key")
        key = await self._keys.find(key_id)
        if key is None:
            raise UnauthenticatedError("token_key_unknown")
        claims = await to_thread.run_sync(self._verified, token, key)
        return self._actor(claims)

    def _verified(self, token: str, key: jwt.PyJWK) -> Claims:
        try:
            return jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                issuer=self._rules.issuer,
                audience=self._rules.audience,
                leeway=LEEWAY_SECONDS,
                options={"require": list(REQUIRED_CLAIMS), "enforce_minimum_key_length": True},
            )
        except PyJWTError as error:
            raise UnauthenticatedError(f"token_{type(error).__name__}") from error

    def _actor(self, claims: Claims) -> Actor:
        subject = claims["sub"]
        if not subject or len(subject) > MAX_SUBJECT_LENGTH or not subject.isprintable():
            raise UnauthenticatedError("token_subject")
        return Actor(
            kind=ActorKind.TOKEN,
            id=f"token:{subject}",
            name=_name(claims) or subject[:MAX_NAME_LENGTH],
            role=self._role(claims),
        )

    def _role(self, claims: Claims) -> Role:
        found = {
            self._rules.role_map.get(value)
            for value in _texts(_claim(claims, self._rules.roles_claim))
        }
        for role in ROLES_BY_POWER:
            if role in found:
                return role
        raise RoleMissingError(self._rules.roles_claim)


def _claim(claims: Claims, name: str) -> Any:  # noqa: ANN401  # Any: nested json values
    """Return a claim by its name, or by its path: Keycloak's are realm_access.roles."""
    if name in claims:
        return claims[name]
    value: Any = claims  # Any: nested json values
    for part in name.split("."):
        value = cast("Claims", value).get(part) if isinstance(value, dict) else None
    return value


def _texts(value: Any) -> list[str]:  # noqa: ANN401  # Any: nested json values
    values = cast("list[Any]", value) if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, str)]


def _name(claims: Claims) -> str:
    for claim in ("preferred_username", "name"):
        value = claims.get(claim)
        if isinstance(value, str) and value.isprintable() and value.strip():
            return value.strip()[:MAX_NAME_LENGTH]
    return ""
