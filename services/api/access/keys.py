"""Who a client with an API key is."""

from uuid import UUID

from anyio import to_thread
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from services.api.access.errors import UnauthenticatedError
from services.core.actor import Actor, ActorKind
from services.core.api_keys import key_sha256
from services.core.database import Now, utc_now
from services.core.logging import get_logger
from services.core.repositories.api_keys import ApiKeyRepository

log = get_logger(__name__)


class KeyAuthenticator:
    """Looks keys up in the database, each time: a key that is revoked is over at once."""

    def __init__(
        self,
        reading: sessionmaker[Session],
        writing: sessionmaker[Session],
        now: Now = utc_now,
    ) -> None:
        """Describe where keys are.

        Args:
            reading: sessions that wait for no writer; every request needs one.
            writing: sessions that note when a key was used, once a minute.
            now: tells what is over.
        """
        self._reading = reading
        self._writing = writing
        self._now = now

    async def authenticate(self, key: str) -> Actor:
        """Return the client of a key.

        Raises:
            UnauthenticatedError: the key is unknown, revoked or expired.
            sqlalchemy.exc.SQLAlchemyError: the database does not answer.
        """
        return await to_thread.run_sync(self._look_up, key)

    def _look_up(self, key: str) -> Actor:
        with self._reading() as session:
            keys = ApiKeyRepository(session, self._now)
            found = keys.find_valid(key_sha256(key))
            is_unnoted = found is not None and keys.has_unnoted_use(found)
        if found is None:
            raise UnauthenticatedError("unknown_key")
        if is_unnoted:
            self._note_use(found.id)
        return Actor(
            kind=ActorKind.API_KEY, id=f"key:{found.client_id}", name=found.name, role=found.role
        )

    def _note_use(self, key_id: UUID) -> None:
        try:
            with self._writing() as session:
                ApiKeyRepository(session, self._now).note_use(key_id)
                session.commit()
        except SQLAlchemyError as error:
            # A full disk must not keep anybody from reading: the request is served all the same.
            log.warning("key use unnoted", key_id=str(key_id), reason=type(error).__name__)
