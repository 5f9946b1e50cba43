"""Files that are there whole or not at all: a reader never sees half of one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a path beside the file to write to; it takes the file's place in one rename.

    After an error the file is as it was, and what was written stays beside it. Hard links to the
    file, or to what was left beside it, keep their content.
    """
    unfinished = path.with_name(path.name + ".part")
    # one left by a process that was stopped may be another folder's file too, by a hard link
    unfinished.unlink(missing_ok=True)
    yield unfinished
    unfinished.replace(path)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file's content, text as UTF-8, replacing what was there."""
    with written_whole(path) as unfinished:
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
