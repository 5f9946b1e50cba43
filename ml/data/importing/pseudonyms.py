"""Names for cases and patients that cannot be turned back without the key.

A plain hash of a hospital number is found again by trying all numbers; a keyed one is not.
"""

import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

KEY_BYTES = 32
DIGITS = 12
"""Hexadecimal digits of a pseudonym: two of a million equal once in 500 such data sets."""


class KeyFileError(Exception):
    """A key file does not hold a key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pseudonyms:
    """Gives the same name to the same thing, under one key."""

    key: bytes
    keeps_ids: bool = False
    """Patients keep their own ids, and cases begin with their own names."""

    def patient(self, patient_id: str) -> str:
        """Name a patient."""
        return patient_id if self.keeps_ids else f"patient-{self.digest('patient', patient_id)}"

    def case(self, identity: str, own_name: str) -> str:
        """Name a case by what makes it unique; the name is a legal folder name."""
        digest = self.digest("case", identity)
        legal = re.sub(r"[^A-Za-z0-9_-]+", "-", own_name).strip("-")[:40] or "case"
        return f"{legal if self.keeps_ids else 'case'}-{digest}"

    def digest(self, kind: str, text: str) -> str:
        """Return the keyed digits of a text; the same text of another kind has others."""
        code = hmac.new(self.key, f"{kind}\0{text}".encode(), hashlib.sha256)
        return code.hexdigest()[:DIGITS]


def read_or_make_key(path: Path) -> bytes:
    """Read a key; where there is none, draw one and write it for its owner's eyes only.

    Raises:
        KeyFileError: the file is there, and no key.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as stream:
            stream.write(secrets.token_hex(KEY_BYTES) + "\n")
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except ValueError as error:
        raise KeyFileError(f"{path} holds no key in hexadecimal digits") from error
    if len(key) < KEY_BYTES // 2:
        raise KeyFileError(f"{path} holds only {len(key)} bytes")
    return key
