"""Names of readers and clients: what may be one, and which are the same."""

import re
import unicodedata

MAX_NAME_LENGTH = 80
"""Characters; the columns hold as many."""
_BLANKS = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)
"""Letters and marks that show nothing: Default_Ignorable_Code_Point, and the blank of braille."""


def checked_name(text: str) -> str:
    """Return a name as it is kept: letters composed, one space between words, nothing invisible.

    Two names that look the same would count as two readers, and one that changes the direction of
    writing would read as another in a list.

    Raises:
        ValueError: the text is no name.
    """
    text = text.strip()
    name = " ".join(unicodedata.normalize("NFC", text).split())
    length = max(len(name), len(comparable_name(name)))
    if _has_hidden(text) or not 1 <= length <= MAX_NAME_LENGTH:
        raise ValueError(f"a name has 1 to {MAX_NAME_LENGTH} characters, all of them visible")
    return name


def comparable_name(name: str) -> str:
    """Return what is equal for names that differ in the width or style of their letters (NFKC)."""
    return " ".join(unicodedata.normalize("NFKC", name).split())


def _has_hidden(text: str) -> bool:
    """Tell whether a text has controls, formats, private or unassigned characters, or blanks."""
    categories = {unicodedata.category(character) for character in text}
    is_odd = any(kind.startswith("C") or kind in ("Zl", "Zp") for kind in categories)
    return is_odd or _BLANKS.search(text) is not None
