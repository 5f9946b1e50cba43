"""Names for cases and patients that cannot be turned back without the key.

A plain hash of a hospital number is found again by trying all numbers; a keyed one is not.
"""

import contextlib
import hashlib
import hmac
import os
import re
import secrets
import tempfile
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

    Processes that do so at the same moment get the same key: the file appears with its content,
    and the first one stays.

    Raises:
        KeyFileError: the file is there, and no key.
        OSError: it cannot be made; the file system must know hard links.
    """
    if not path.exists():
        _make_key(path)
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except ValueError as error:
        raise KeyFileError(f"{path} holds no key in hexadecimal digits") from error
    if len(key) < KEY_BYTES // 2:
        raise KeyFileError(f"{path} holds only {len(key)} bytes")
    return key


def _make_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # made for its owner alone, mode 0600, and under a name that no other process has
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.") as stream:
        stream.write(secrets.token_hex(KEY_BYTES) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
        # unlike a rename, a link does not replace the key of a process that was faster
        with contextlib.suppress(FileExistsError):
            os.link(stream.name, path)
