"""Names that senders give to files: checked, and made safe to repeat to them."""

import re
from pathlib import PurePosixPath

MAX_SHOWN_NAME_LENGTH = 120
"""Characters of a name that an answer repeats; a path inside an archive may have 65,535."""

_DRIVE_OR_SHARE = re.compile(r"^(?:[A-Za-z]:|//)")


def shown_name(name: str) -> str:
    """Return the name as answers repeat it: printable and short, its end kept."""
    printable = printable_name(name)
    if len(printable) <= MAX_SHOWN_NAME_LENGTH:
        return printable
    return "…" + printable[-(MAX_SHOWN_NAME_LENGTH - 1) :]


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
