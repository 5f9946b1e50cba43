"""Names for patients, cases and DICOM objects that cannot be turned back without the key.

A plain hash of a hospital number is found again by trying all numbers; a keyed one is not.
"""

import contextlib
import hashlib
import hmac
import os
import re
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

KEY_BYTES = 32
DIGITS = 12
"""Hexadecimal digits of a pseudonym: two of a million equal once in 500 such data sets."""

STANDARD_UID_ROOT = "1.2.840.10008."
"""UIDs that DICOM gives a meaning name no patient's objects."""

_PATIENT = re.compile(rf"patient-[0-9a-f]{{{DIGITS}}}")


class KeyFileError(Exception):
    """A key file does not hold a key."""


class KeyMissingError(KeyFileError):
    """There was a key, and it is not there."""


class KeyChangedError(KeyFileError):
    """There is another key than before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pseudonyms:
    """Gives the same name to the same thing, under one key."""

    key: bytes
    keeps_ids: bool = False
    """Patients keep their own ids, and cases begin with their own names."""

    def patient(self, patient_id: str) -> str:
        """Name a patient; a pseudonym keeps its name.

        So a patient has one name whether a case was read from the clinic's own files or from
        stored ones that have the pseudonym for a Patient ID.
        """
        if self.keeps_ids or _PATIENT.fullmatch(patient_id):
            return patient_id
        return f"patient-{self.digest('patient', patient_id)}"

    def case(self, identity: str, own_name: str) -> str:
        """Name a case by what makes it unique; the name is a legal folder name."""
        digest = self.digest("case", identity)
        legal = re.sub(r"[^A-Za-z0-9_-]+", "-", own_name).strip("-")[:40] or "case"
        return f"{legal if self.keeps_ids else 'case'}-{digest}"

    def uid(self, uid: str) -> str:
        """Return the UID that stands for another one; an empty or standard one is its own.

        It is a UUID of version 8 (RFC 9562) in decimal digits, PS3.5 B.2: 122 bits of the code.
        """
        if not uid or uid.startswith(STANDARD_UID_ROOT):
            return uid
        code = bytearray(self._code("uid", uid)[:16])
        code[6], code[8] = code[6] & 0x0F | 0x80, code[8] & 0x3F | 0x80
        return f"2.25.{UUID(bytes=bytes(code)).int}"

    def digest(self, kind: str, text: str) -> str:
        """Return the keyed digits of a text; the same text of another kind has others."""
        return self._code(kind, text).hex()[:DIGITS]

    def fingerprint(self, kind: str, text: str) -> str:
        """Return all 64 keyed digits of a text, for what must not collide."""
        return self._code(kind, text).hex()

    def _code(self, kind: str, text: str) -> bytes:
        return hmac.new(self.key, f"{kind}\0{text}".encode(), hashlib.sha256).digest()


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyFile:
    """A key that is made once, and a note that tells it from every other one.

    The note lies apart from the key. So where the folder of the keys is not mounted, or another
    one is, no new key silently takes the place of the one that names people.
    """

    path: Path
    note: Path
    """Of the key's id, a hash of it."""

    def read(self) -> bytes:
        """Return the key.

        Raises:
            KeyMissingError: it is not there.
            KeyChangedError: it is not the one that was noted.
            KeyFileError: the file is there, and no key.
            OSError: it cannot be read.
        """
        key = read_key(self.path)
        with contextlib.suppress(FileNotFoundError):
            if self.note.read_text(encoding="ascii").strip() != _key_id(key):
                raise KeyChangedError(f"{self.path} holds another key than before")
        return key

    def ensure(self, is_used: Callable[[], bool]) -> bytes:
        """Return the key, noted; it is made where there never was one.

        is_used: tells whether anything was named or sealed before; asked where neither the key
            nor the note is there, as after a restore.

        Raises:
            what read() raises.
            OSError: it cannot be made.
        """
        if not self.path.exists():
            was_made = self.note.exists() or is_used()
            # looked at again: another process may have made it meanwhile
            if was_made and not self.path.exists():
                raise KeyMissingError(f"{self.path} is not there")
            _write_once(self.path, secrets.token_hex(KEY_BYTES))
        key = self.read()
        if not self.note.exists():
            _write_once(self.note, _key_id(key))
        return key


def read_or_make_key(path: Path) -> bytes:
    """Read a key; where there is none, draw one and write it for its owner's eyes only.

    Processes that do so at the same moment get the same key: the file appears with its content,
    and the first one stays.

    Raises:
        KeyFileError: the file is there, and no key.
        OSError: it cannot be made; the file system must know hard links.
    """
    if not path.exists():
        _write_once(path, secrets.token_hex(KEY_BYTES))
    return read_key(path)


def read_key(path: Path) -> bytes:
    """Read a key.

    Raises:
        KeyMissingError: it is not there.
        KeyFileError: the file is there, and no key.
        OSError: it cannot be read.
    """
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except FileNotFoundError as error:
        raise KeyMissingError(f"{path} is not there") from error
    except ValueError as error:
        raise KeyFileError(f"{path} holds no key in hexadecimal digits") from error
    if len(key) < KEY_BYTES // 2:
        raise KeyFileError(f"{path} holds only {len(key)} bytes")
    return key


def _key_id(key: bytes) -> str:
    return hashlib.sha256(b"key id\0" + key).hexdigest()


def _write_once(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # made for its owner alone, mode 0600, and under a name that no other process has
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.") as stream:
        stream.write(text + "\n")
        stream.flush()
        os.fsync(stream.fileno())
        # unlike a rename, a link does not replace the file of a process that was faster
        with contextlib.suppress(FileExistsError):
            os.link(stream.name, path)
