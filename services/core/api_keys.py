"""API keys as texts: how they are drawn, recognised and remembered."""

import hashlib
import re
import secrets

KEY_BYTES = 32
"""256 random bits: nobody guesses one, however fast the guesses are tried."""
KEY_PREFIX = "cck_"
"""Lets people, and tools that look for leaked secrets, see what a text is."""
_KEY = re.compile(r"cck_[A-Za-z0-9_-]{43}")


def draw_key() -> str:
    """Return a new key from the operating system's random numbers."""
    return KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)


def is_key(text: str) -> bool:
    """Tell whether a text has the shape of a key."""
    return _KEY.fullmatch(text) is not None


def key_sha256(key: str) -> str:
    """Return what is stored of a key.

    A plain SHA-256 is right here, where it would be wrong for a password: slow and salted hashes
    make guessing a small space expensive, and 256 random bits leave nothing to guess. A key is
    found by its hash, so no comparison takes the longer the more of a guess is right: what the
    time of a look in an index might tell is about a hash that the guesser cannot steer.
    """
    return hashlib.sha256(key.encode()).hexdigest()
