"""Lets known clients in, as often as they may come."""

import hashlib
import ipaddress
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from anyio import CapacityLimiter

from services.api.access.credentials import bearer
from services.api.access.errors import RateLimitedError, RoleMissingError, UnauthenticatedError
from services.api.access.keys import KeyAuthenticator
from services.api.access.rates import RateLimiter
from services.api.access.tokens import TokenAuthenticator
from services.core.actor import Actor, Role
from services.core.api_keys import is_key

MAX_WATCHERS = 64
"""Keys of monitoring systems that are remembered for as long as nobody can look them up."""
MAX_RECOGNISED = 4096
"""Credentials that are remembered to have been good."""
LATE_LOOKUPS = 2
"""At a time, of addresses that have had more refused than they may."""
MAX_LATE_WAITING = 100
"""Requests that wait for such a look; who else comes is told to come back."""
IPV6_SITE_BITS = 64
"""One customer has at least so large a network of addresses."""
_REFUSED = (UnauthenticatedError, RoleMissingError)


@dataclass(kw_only=True, slots=True)
class Gate:
    """Who comes in."""

    keys: KeyAuthenticator
    tokens: TokenAuthenticator | None
    """None without an identity provider."""
    requests: RateLimiter
    """By client."""
    failures: RateLimiter
    """By address: what is tried and refused."""
    _late_slots: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(LATE_LOOKUPS))
    _recognised: OrderedDict[bytes, None] = field(default_factory=OrderedDict[bytes, None])
    _watchers: OrderedDict[bytes, Actor] = field(default_factory=OrderedDict[bytes, Actor])

    async def admit(self, headers: Sequence[tuple[bytes, bytes]], address: str | None) -> Actor:
        """Return who sends a request.

        Raises:
            UnauthenticatedError: no valid credentials.
            RoleMissingError: a valid token of a user without a role here.
            RateLimitedError: too many requests of the client, or no valid credentials and too many
                failures from the address.
            IdentityProviderUnavailableError: nobody can tell whether the token is valid.
            sqlalchemy.exc.SQLAlchemyError: nobody can tell whether the key is valid.
        """
        credentials = bearer(headers)
        digest = hashlib.sha256(credentials.encode()).digest()
        try:
            actor = await self._identified(credentials, digest, _site(address))
        except _REFUSED:
            self._recognised.pop(digest, None)
            self._watchers.pop(digest, None)
            raise
        self._recognise(digest)
        if actor.role is Role.MONITOR:
            self._watchers[digest] = actor
            if len(self._watchers) > MAX_WATCHERS:
                self._watchers.popitem(last=False)
        seconds = self.requests.wait_seconds(actor.id)
        if seconds:
            raise RateLimitedError(seconds)
        self.requests.count(actor.id)
        return actor

    def find_watcher(self, headers: Sequence[tuple[bytes, bytes]]) -> Actor | None:
        """Return the monitoring system whose key was good when it was last looked up.

        For the time without a database, which monitoring must tell of. A key that is revoked then
        reads figures until the database is back.
        """
        return self._watchers.get(hashlib.sha256(bearer(headers).encode()).digest())

    async def _identified(self, credentials: str, digest: bytes, site: str) -> Actor:
        """Return whose credentials they are, looked up as soon as their address may have it."""
        seconds = self.failures.wait_seconds(site)
        # A client that works goes on doing so, whatever its neighbours behind one address try.
        if seconds and digest not in self._recognised:
            return await self._identified_late(credentials, seconds)
        self.failures.count(site)  # before it is known: many may be tried at once
        is_refused = False
        try:
            return await self._authenticate(credentials)
        except _REFUSED:
            is_refused = True
            raise
        finally:
            if not is_refused:
                self.failures.take_back(site)

    async def _identified_late(self, credentials: str, seconds: int) -> Actor:
        """Let in who is known, though the address has had too much refused; few looks at a time.

        Nobody guesses 256 bits or a signature, so the limit only keeps guessers from being work.
        It must not keep those out who come through one proxy with them.
        """
        if self._late_slots.statistics().tasks_waiting >= MAX_LATE_WAITING:
            raise RateLimitedError(seconds)
        try:
            async with self._late_slots:
                return await self._authenticate(credentials)
        except _REFUSED as error:
            raise RateLimitedError(seconds) from error

    async def _authenticate(self, credentials: str) -> Actor:
        if is_key(credentials):
            return await self.keys.authenticate(credentials)
        if self.tokens is None or credentials.count(".") != 2:
            raise UnauthenticatedError("no_key_and_no_token")
        return await self.tokens.authenticate(credentials)

    def _recognise(self, digest: bytes) -> None:
        self._recognised[digest] = None
        self._recognised.move_to_end(digest)
        if len(self._recognised) > MAX_RECOGNISED:
            self._recognised.popitem(last=False)


def _site(address: str | None) -> str:
    """Return an address, or the network of one that has more addresses than can be counted."""
    if address is None:
        return "unknown"
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(found), IPV6_SITE_BITS), strict=False))
    return str(found)
