"""The public keys of the identity provider: fetched rarely, kept, and never asked for in a rush."""

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from anyio import CapacityLimiter, Lock, to_thread
from jwt import PyJWK, PyJWKSet
from jwt.exceptions import PyJWTError
from pydantic import TypeAdapter

from services.api.access.errors import IdentityProviderUnavailableError
from services.core.addresses import is_safe_address
from services.core.logging import get_logger

LIFETIME_SECONDS = 600.0
"""Keys are fetched again at this age: so long a key lives on that the provider withdrew."""
MAX_AGE_SECONDS = 24 * 3600.0
"""Keys that could not be fetched again for so long count no more."""
MIN_PAUSE_SECONDS = 15.0
"""After a fetch, whatever keys tokens name: who invents names makes nobody ask."""
TIMEOUT_SECONDS = 5.0
MAX_ANSWER_BYTES = 1 << 20
DISCOVERY_PATH = "/.well-known/openid-configuration"
_FAILURES = (OSError, http.client.HTTPException, ValueError, TypeError, PyJWTError)
"""Of a connection, of HTTP, of json, and of keys that are none: numbers where texts belong."""

Json = dict[str, Any]  # Any: nested json values

_JSON_OBJECT = TypeAdapter(Json)

log = get_logger(__name__)


class IdentityKeys:
    """Keys by name. Addresses come from the settings, or from the provider; never from a token."""

    def __init__(
        self,
        issuer: str,
        jwks_url: str | None,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Describe where the keys are.

        Args:
            issuer: as its tokens name it; the base of its discovery document.
            jwks_url: of the keys; discovered when not given.
            now: seconds that never go back.
        """
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._now = now
        self._keys: dict[str, PyJWK] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._failure = "never asked"
        self._is_fetching = Lock()
        self._slots = CapacityLimiter(1)  # a provider that hangs holds no thread of the requests

    async def find(self, key_id: str) -> PyJWK | None:
        """Return the key of a name, or None when the provider has none such.

        Raises:
            IdentityProviderUnavailableError: the key is not known and the provider away.
        """
        # Those who come while somebody fetches go on with the key that they have, or wait.
        if self._is_due(key_id) and not (self._is_fetching.locked() and self._has(key_id)):
            async with self._is_fetching:
                if self._is_due(key_id):  # else the one before brought it, or could not
                    await self._fetch()
        if self._age() > MAX_AGE_SECONDS:
            raise IdentityProviderUnavailableError(self._failure)
        found = self._keys.get(key_id)
        if found is None and self._failure:
            raise IdentityProviderUnavailableError(self._failure)
        return found

    def _is_due(self, key_id: str) -> bool:
        if self._tried_at is not None and self._now() - self._tried_at < MIN_PAUSE_SECONDS:
            return False
        return key_id not in self._keys or self._age() > LIFETIME_SECONDS

    def _has(self, key_id: str) -> bool:
        return key_id in self._keys and self._age() <= MAX_AGE_SECONDS

    def _age(self) -> float:
        return float("inf") if self._fetched_at is None else self._now() - self._fetched_at

    async def _fetch(self) -> None:
        try:
            self._keys = await to_thread.run_sync(self._load, limiter=self._slots)
        except _FAILURES as error:
            self._failure = type(error).__name__
            log.warning("identity provider unavailable", reason=self._failure)
        else:
            self._failure = ""
            self._fetched_at = self._now()
        finally:  # not before: who comes meanwhile waits, and is not told what was so before
            self._tried_at = self._now()

    def _load(self) -> dict[str, PyJWK]:
        keys = PyJWKSet.from_dict(_get_json(self._jwks_url or self._discovered_url())).keys
        return {
            key.key_id: key
            for key in keys
            if key.key_id and key.key_type in ("RSA", "EC", "OKP") and key.public_key_use != "enc"
        }

    def _discovered_url(self) -> str:
        document = _get_json(self._issuer.rstrip("/") + DISCOVERY_PATH)
        if document.get("issuer") != self._issuer:
            raise ValueError("the discovery document is another issuer's")
        url = document.get("jwks_uri")
        if not isinstance(url, str) or not is_safe_address(url):
            raise ValueError("the discovery document names no safe address of keys")
        return url


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """An answer that leads elsewhere is an error: only what was configured is asked."""

    def redirect_request(self, *_: object, **__: object) -> None:
        """Follow nothing."""


def _get_json(url: str) -> Json:
    # The opener knows http and https alone; addresses were checked to be one of them. Without TLS
    # the provider is on this machine: a proxy of the environment is another, and could be anybody.
    proxies: dict[str, str] | None = None if url.lower().startswith("https:") else {}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies), _NoRedirects)
    try:
        with opener.open(url, timeout=TIMEOUT_SECONDS) as answer:
            content = answer.read(MAX_ANSWER_BYTES + 1)
    except urllib.error.HTTPError as error:
        with error:  # it holds the connection
            raise ValueError(f"the provider answered {error.code}") from None
    if len(content) > MAX_ANSWER_BYTES:
        raise ValueError("the answer is too long")
    return _JSON_OBJECT.validate_json(content)
