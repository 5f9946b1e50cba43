"""What can be wrong with a key that is brought in."""

from uuid import UUID

from services.core.errors import ConflictError, ServiceError


class NotAKeyError(ServiceError):
    """The text has not the shape of a key."""

    code = "not_a_key"

    def __init__(self) -> None:
        super().__init__("a key is 'cck_' and 43 of A-Z, a-z, 0-9, - and _: 256 random bits")


class KeyExpiredError(ConflictError):
    """The key is known, and over."""

    code = "key_expired"

    def __init__(self, key_id: UUID) -> None:
        super().__init__(
            f"the key is known as {key_id}, and expired; renew it, or draw another",
            api_key_id=str(key_id),
        )


class KeyKnownError(ConflictError):
    """The key is known, and not as what it is brought in."""

    code = "key_known"

    def __init__(self, key_id: UUID) -> None:
        super().__init__(
            f"the key is known as {key_id}, revoked or with another name or role",
            api_key_id=str(key_id),
        )
