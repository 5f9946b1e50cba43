"""Keys for tests, by role."""

import datetime as dt
from collections.abc import Callable

from services.core.actor import Role
from services.core.api_keys import draw_key, key_sha256
from services.core.database import utc_now
from services.core.repositories.api_keys import NewApiKey
from services.core.unit_of_work import UnitOfWork


def add_key(
    new_unit_of_work: Callable[[], UnitOfWork],
    role: Role = Role.ADMIN,
    *,
    name: str = "a test",
    expires_at: dt.datetime | None = None,
) -> str:
    """A committed key that is valid for a day unless said otherwise."""
    key = draw_key()
    with new_unit_of_work() as uow:
        uow.api_keys.add(
            NewApiKey(
                name=name,
                role=role,
                key_sha256=key_sha256(key),
                created_by="system",
                expires_at=expires_at or utc_now() + dt.timedelta(days=1),
            )
        )
        uow.commit()
    return key


def bearer(key: str) -> dict[str, str]:
    """The headers that show a key."""
    return {"Authorization": f"Bearer {key}"}
