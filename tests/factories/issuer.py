"""An identity provider on loopback: real keys, a discovery document, and tokens as a test wants."""

import base64
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from services.core.actor import Role
from tests.factories.servers import Scripted, ScriptedServer, Seen

AUDIENCE = "cervicontour"
ROLE_MAP = {"physicists": Role.REVIEWER, "planning": Role.SUBMITTER, "it": Role.ADMIN}
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@cache
def private_key(name: str) -> PrivateKey:
    """A key of a name such as rsa-1 or ec-1; the same one all session long."""
    if name.startswith("ec"):
        return ec.generate_private_key(ec.SECP256R1())
    if name.startswith("ed"):
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, 1024 if name.startswith("rsa-short") else 2048)


def algorithm_of(name: str) -> str:
    return {"ec": "ES256", "ed": "EdDSA"}.get(name[:2], "RS256")


def public_jwk(name: str, **further: object) -> dict[str, Any]:
    algorithm = get_default_algorithms()[algorithm_of(name)]
    jwk: Any = algorithm.to_jwk(private_key(name).public_key())
    values = json.loads(jwk) if isinstance(jwk, str) else dict(jwk)
    return {**values, "kid": name, "use": "sig", "alg": algorithm_of(name), **further}


@dataclass(kw_only=True)
class Issuer:
    """What the provider answers, and how often it was asked for its keys."""

    url: str
    keys: list[dict[str, Any]]
    is_down: bool = False
    discovered: dict[str, Any] = field(default_factory=dict)
    """Replaces entries of the discovery document."""
    paths: list[str] = field(default_factory=list)

    @property
    def fetches(self) -> int:
        return self.paths.count("/keys")

    def answer(self, seen: Seen) -> Scripted:
        self.paths.append(seen.path)
        if self.is_down:
            return Scripted(status=500)
        if seen.path == "/.well-known/openid-configuration":
            document = {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.discovered}
            return Scripted(body=json.dumps(document).encode())
        if seen.path == "/keys":
            return Scripted(body=json.dumps({"keys": self.keys}).encode())
        return Scripted(status=404)

    def claims(self, **changes: object) -> dict[str, Any]:
        """Those of a physicist's token for this service; None leaves one out."""
        now = int(time.time())
        claims = {
            "iss": self.url, "aud": AUDIENCE, "sub": "u-17", "iat": now, "nbf": now,
            "exp": now + 300, "preferred_username": "m.curie", "roles": ["physicists", "other"],
        }  # fmt: skip
        return {name: v for name, v in (claims | changes).items() if v is not None}

    def token(
        self, key: str = "rsa-1", headers: Mapping[str, object] | None = None, **changes: object
    ) -> str:
        names = {"kid": key, **(headers or {})}
        algorithm = algorithm_of(key)
        return jwt.encode(self.claims(**changes), private_key(key), algorithm, headers=names)


def unsigned(header: Mapping[str, object], claims: Mapping[str, object]) -> str:
    parts = (json.dumps(part).encode() for part in (header, claims))
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."


@contextmanager
def running_issuer() -> Iterator[Issuer]:
    server = _IssuerServer()
    with server:
        yield server.issuer


class _IssuerServer(ScriptedServer):
    def __init__(self) -> None:
        super().__init__(Scripted())
        self.issuer = Issuer(url=self.url, keys=[public_jwk("rsa-1"), public_jwk("ec-1")])

    def _next(self, seen: Seen) -> Scripted:
        return self.issuer.answer(seen)
