"""Every statement about API keys."""

import datetime as dt
from dataclasses import dataclass
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.core.actor import Role
from services.core.database import Now
from services.core.errors import ApiKeyNotFoundError
from services.core.repositories.paging import PageCursor, page_of
from services.core.tables.access import ApiKey

USE_NOTED_SECONDS = 60.0
"""A key's last use is written no more often than this."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewApiKey:
    """A key to be kept."""

    name: str
    role: Role
    key_sha256: str
    created_by: str
    expires_at: dt.datetime | None
    client_id: UUID | None = None
    """None for a client that has no key yet."""


class ApiKeyRepository:
    """API keys, by hash."""

    def __init__(self, session: Session, now: Now) -> None:
        self._session = session
        self._now = now

    def add(self, new: NewApiKey) -> ApiKey:
        """Keep a key."""
        key = ApiKey(
            client_id=new.client_id or uuid4(),
            name=new.name,
            role=new.role,
            key_sha256=new.key_sha256,
            created_at=self._now(),
            created_by=new.created_by,
            expires_at=new.expires_at,
        )
        self._session.add(key)
        self._session.flush()
        return key

    def find_by_hash(self, key_sha256: str) -> ApiKey | None:
        """Return the key of a hash, valid or not, or None."""
        return self._session.scalars(
            sa.select(ApiKey).where(ApiKey.key_sha256 == key_sha256)
        ).one_or_none()

    def find_valid(self, key_sha256: str) -> ApiKey | None:
        """Return the key of a hash that is neither revoked nor expired, or None."""
        found = self.find_by_hash(key_sha256)
        if found is None or found.revoked_at is not None:
            return None
        is_over = found.expires_at is not None and found.expires_at <= self._now()
        return None if is_over else found

    def has_unnoted_use(self, key: ApiKey) -> bool:
        """Tell whether a use of the key at this moment should be written down."""
        due = self._now() - dt.timedelta(seconds=USE_NOTED_SECONDS)
        return key.last_used_at is None or key.last_used_at < due

    def note_use(self, key_id: UUID) -> None:
        """Write down that a key was used now."""
        self._session.execute(
            sa.update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=self._now())
        )

    def get(self, key_id: UUID) -> ApiKey:
        """Return a key, locked until this transaction ends.

        Raises:
            ApiKeyNotFoundError: no row has the id.
        """
        found = self._session.get(ApiKey, key_id, with_for_update=True, populate_existing=True)
        if found is None:
            raise ApiKeyNotFoundError(key_id)
        return found

    def revoke(self, key_id: UUID) -> ApiKey:
        """End a key for ever; one that is revoked stays as it is.

        Raises:
            ApiKeyNotFoundError: no row has the id.
        """
        key = self.get(key_id)
        if key.revoked_at is None:
            key.revoked_at = self._now()
            self._session.flush()
        return key

    def page(self, limit: int, after: PageCursor | None = None) -> list[ApiKey]:
        """List keys, newest first, from behind a cursor."""
        return list(self._session.scalars(page_of(sa.select(ApiKey), ApiKey, after).limit(limit)))
