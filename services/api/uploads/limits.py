"""How much one request may send."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadLimits:
    """Bounds that hold while bytes arrive, so that nothing is stored before it is refused."""

    max_upload_bytes: int
    """Bytes of the request body."""
    max_unpacked_bytes: int
    """Bytes of all files together after unpacking."""
    max_file_bytes: int
    """Bytes of one file; one CT slice has about half a megabyte."""
    max_files: int
    """Files after unpacking, and parts of a multipart body."""
    max_compression_ratio: float
    """Unpacked bytes per archive byte; deflate reaches 1032, a CT about 2 to 4."""
    idle_seconds: float = 60.0
    """Without a byte, after which the sender is given up."""
    most_seconds: float = 18_000.0
    """Of the whole body."""
