"""API keys: drawn, shown once, renewed and revoked."""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from services.api.api_keys.errors import KeyExpiredError, KeyKnownError, NotAKeyError
from services.core.actor import Role
from services.core.api_keys import draw_key, is_key, key_sha256
from services.core.audit import Action, ResourceKind
from services.core.database import utc_now
from services.core.repositories.api_keys import NewApiKey
from services.core.repositories.paging import PageCursor
from services.core.tables.access import ApiKey
from services.core.unit_of_work import UnitOfWork


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnKey:
    """A key that was just made: the only time it is known as a text."""

    row: ApiKey
    key: str


class ApiKeyService:
    """API keys in the words of the domain."""

    def __init__(self, new_unit_of_work: Callable[[], UnitOfWork]) -> None:
        self._new_unit_of_work = new_unit_of_work

    def create(self, name: str, role: Role, days: int | None) -> DrawnKey:
        """Make a key for a new client; it never expires where days are None."""
        return self._keep(name, role, days, None)

    def renew(self, key_id: UUID, days: int | None) -> DrawnKey:
        """Make another key for the client of a key, be that lost or over; it stays as it is.

        Raises:
            ApiKeyNotFoundError: no row has the id.
        """
        with self._new_unit_of_work() as uow:
            known = uow.api_keys.get(key_id)
        return self._keep(known.name, known.role, days, known.client_id)

    def bring_in(self, name: str, role: Role, key: str) -> ApiKey:
        """Keep a key that was drawn elsewhere, as this service draws them; it never expires.

        The same key again with the same name and role changes nothing, also not when it expires.

        Raises:
            NotAKeyError: the text has not the shape of a key, and perhaps not its randomness.
            KeyKnownError: the key is revoked, or has another name or role.
            KeyExpiredError: the key was made here, and is over.
        """
        if not is_key(key):
            raise NotAKeyError
        with self._new_unit_of_work() as uow:
            known = uow.api_keys.find_by_hash(key_sha256(key))
            if known is None:
                known = uow.api_keys.add(
                    NewApiKey(
                        name=name,
                        role=role,
                        key_sha256=key_sha256(key),
                        created_by=uow.actor.id,
                        expires_at=None,
                    )
                )
                _record(uow, Action.API_KEY_CREATED, known)
                uow.commit()
        if known.revoked_at is not None or (known.name, known.role) != (name, role):
            raise KeyKnownError(known.id)
        if known.expires_at is not None and known.expires_at <= utc_now():
            raise KeyExpiredError(known.id)
        return known

    def revoke(self, key_id: UUID) -> ApiKey:
        """End a key at once and for ever; raises ApiKeyNotFoundError."""
        with self._new_unit_of_work() as uow:
            key = uow.api_keys.revoke(key_id)
            _record(uow, Action.API_KEY_REVOKED, key)
            uow.commit()
        return key

    def page(self, limit: int, after: PageCursor | None) -> Sequence[ApiKey]:
        """List keys, newest first, from behind a cursor."""
        with self._new_unit_of_work() as uow:
            return uow.api_keys.page(limit, after)

    def _keep(self, name: str, role: Role, days: int | None, client_id: UUID | None) -> DrawnKey:
        key = draw_key()
        with self._new_unit_of_work() as uow:
            row = uow.api_keys.add(
                NewApiKey(
                    name=name,
                    role=role,
                    key_sha256=key_sha256(key),
                    created_by=uow.actor.id,
                    expires_at=None if days is None else utc_now() + dt.timedelta(days=days),
                    client_id=client_id,
                )
            )
            _record(uow, Action.API_KEY_CREATED, row)
            uow.commit()
        return DrawnKey(row=row, key=key)


def _record(uow: UnitOfWork, action: Action, key: ApiKey) -> None:
    uow.audit.record(
        action, ResourceKind.API_KEY, key.id, client_id=str(key.client_id), role=key.role.value
    )
