"""Which errors of reading a case tell of its files, and which of the disk or machine below."""

import errno

_OF_A_FILE = frozenset(
    {None, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG}
)
"""Without a number are the errors of libraries that read damaged files."""


def raise_if_passing(error: Exception) -> None:
    """Raise an error anew that may be over when the case is read again; return for others.

    A failing disk, a lost mount, a file that vanished or too few descriptors or bytes of memory
    say nothing of a case: refused for them, it would be left out of a dataset for good.

    Raises:
        OSError: of the file system, or ENOMEM.
    """
    if isinstance(error, MemoryError):
        raise OSError(errno.ENOMEM, "out of memory") from error
    if isinstance(error, FileNotFoundError):  # some libraries give it no number
        raise error
    if isinstance(error, OSError) and error.errno not in _OF_A_FILE:
        raise error
