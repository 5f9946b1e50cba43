"""Names that senders give to files: checked, and made safe to repeat to them."""

import math
import re
from pathlib import PurePosixPath
from typing import cast

MAX_SHOWN_NAME_LENGTH = 120
"""Characters of a name that an answer repeats; a path inside an archive may have 65,535."""

MAX_SHOWN_TEXT_LENGTH = 1000
"""Characters of a sentence in an answer."""
MAX_LISTED_TEXT_LENGTH = 300
"""Characters of each text in a list of an answer; thousands of instances may be listed."""

_DRIVE_OR_SHARE = re.compile(r"^(?:[A-Za-z]:|//)")


def shown_name(name: str) -> str:
    """Return the name as answers repeat it: printable and short, its end kept."""
    printable = printable_name(name)
    if len(printable) <= MAX_SHOWN_NAME_LENGTH:
        return printable
    return "…" + printable[-(MAX_SHOWN_NAME_LENGTH - 1) :]


def shown_text(text: str) -> str:
    """Return a sentence that may quote a sender: printable, and no longer than a paragraph."""
    return str(shown_json(text))


def shown_json(value: object, max_length: int = MAX_SHOWN_TEXT_LENGTH) -> object:
    """Return json whose texts are fit to be shown, and whose numbers are numbers."""
    if isinstance(value, str):
        printable = printable_name(value)
        is_short = len(printable) <= max_length
        return printable if is_short else printable[: max_length - 1] + "…"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        table = cast("dict[object, object]", value)
        return {
            str(shown_json(str(key), MAX_SHOWN_NAME_LENGTH)): shown_json(v)
            for key, v in table.items()
        }
    if isinstance(value, list | tuple):
        return [shown_json(item, MAX_LISTED_TEXT_LENGTH) for item in cast("list[object]", value)]
    return value


def printable_name(name: str) -> str:
    """Return the whole name in characters that can be shown and kept anywhere."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)


def is_escaping(name: str) -> bool:
    """Tell whether a name, used as a path, could lead outside a folder.

    Stored files are numbered, so such a name could do nothing here; it is refused because only
    a broken or hostile sender makes one.
    """
    path = name.replace("\\", "/")
    if "\0" in path or path.startswith("/") or _DRIVE_OR_SHARE.match(path):
        return True
    return ".." in PurePosixPath(path).parts
