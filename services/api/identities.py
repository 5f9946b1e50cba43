"""The keys of de-identification, and what is sealed under them for the sender alone.

What is sealed lies beside what it belongs to and is removed with it; without the key in private/
nobody can read it, and no RTSTRUCT can be linked back to its CT.
"""

import hashlib
import secrets
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ml.pseudonyms import KeyChangedError, KeyFile, KeyFileError, KeyMissingError, Pseudonyms
from services.core.disk import storage_error
from services.core.errors import PrivateKeyChangedError, PrivateKeyMissingError, ServiceError
from services.core.storage import Storage

MAGIC = b"CCSEAL1\n"
"""No DICOM file begins so, which keeps sealed files out of every series."""
KEY_ID_BYTES = 8
NONCE_BYTES = 12
_HEAD_BYTES = len(MAGIC) + KEY_ID_BYTES + NONCE_BYTES


class PrivateKeyInvalidError(ServiceError):
    """A file in private/ holds no key."""

    code = "private_key_invalid"

    def __init__(self) -> None:
        super().__init__("a key of de-identification cannot be read")


class SealUnreadableError(ServiceError):
    """What was sealed cannot be opened: another key, another resource, or damage."""

    code = "seal_unreadable"

    def __init__(self, reason: str) -> None:
        super().__init__(f"what de-identification set aside cannot be opened: {reason}")


class Identities:
    """Pseudonyms, and seals that name whom they belong to."""

    def __init__(self, storage: Storage) -> None:
        self._pseudonym_key = _key_file(storage, storage.pseudonym_key_path())
        self._sealing_key = _key_file(storage, storage.sealing_key_path())

    def make_keys(self, has_pseudonyms: Callable[[], bool], has_seals: Callable[[], bool]) -> None:
        """Make the keys at the first start, so that a backup has them before the first series.

        A key that is missing later is lost, or private/ is not mounted: nobody makes another one.

        Args:
            has_pseudonyms: tells whether anything in the database was named under a key.
            has_seals: tells whether anything in storage was sealed under one.

        Raises:
            PrivateKeyMissingError, PrivateKeyChangedError: the database, or a note of an earlier
                start, says that there was another key.
            PrivateKeyInvalidError: a file is there, and no key.
            StorageUnavailableError: a key cannot be made.
        """
        with _key_errors(self._pseudonym_key):
            self._pseudonym_key.ensure(has_pseudonyms)
        with _key_errors(self._sealing_key):
            self._sealing_key.ensure(has_seals)

    def check(self) -> None:
        """Return if both keys are those that were made; raises as make_keys() does."""
        self._read(self._pseudonym_key)
        self._read(self._sealing_key)

    def pseudonyms(self) -> Pseudonyms:
        """Return the pseudonyms that datasets use, too; raises as make_keys() does."""
        return Pseudonyms(key=self._read(self._pseudonym_key))

    def seal(self, owner: str, content: bytes) -> bytes:
        """Encrypt what nobody but the sender may see, bound to its owner (AES-256-GCM).

        Raises:
            what make_keys() raises.
        """
        key = self._seal_key()
        nonce = secrets.token_bytes(NONCE_BYTES)
        head = MAGIC + _key_id(key) + nonce
        return head + AESGCM(key).encrypt(nonce, content, head + owner.encode())

    def unseal(self, owner: str, sealed: bytes) -> bytes:
        """Return what was sealed for an owner.

        Raises:
            SealUnreadableError: it was sealed under another key or for another owner, or changed.
            what make_keys() raises.
        """
        key = self._seal_key()
        head, body = sealed[:_HEAD_BYTES], sealed[_HEAD_BYTES:]
        if not head.startswith(MAGIC) or len(head) < _HEAD_BYTES:
            raise SealUnreadableError("it is no seal")
        if head[len(MAGIC) :][:KEY_ID_BYTES] != _key_id(key):
            raise SealUnreadableError("it was sealed under another key")
        try:
            return AESGCM(key).decrypt(head[-NONCE_BYTES:], body, head + owner.encode())
        except InvalidTag as error:
            raise SealUnreadableError("it was changed, or belongs to something else") from error

    def _seal_key(self) -> bytes:
        return hashlib.sha256(b"seal\0" + self._read(self._sealing_key)).digest()

    @staticmethod
    def _read(file: KeyFile) -> bytes:
        with _key_errors(file):
            return file.read()


def _key_file(storage: Storage, path: Path) -> KeyFile:
    return KeyFile(path=path, note=storage.key_note_path(path))


@contextmanager
def _key_errors(file: KeyFile) -> Generator[None]:
    try:
        yield
    except KeyMissingError as error:
        raise PrivateKeyMissingError(file.path.name) from error
    except KeyChangedError as error:
        raise PrivateKeyChangedError(file.path.name) from error
    except KeyFileError as error:
        raise PrivateKeyInvalidError from error
    except OSError as error:
        raise storage_error(error) from error


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"id\0" + key).digest()[:KEY_ID_BYTES]
