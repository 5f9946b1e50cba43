"""What a compressed image says of itself, read before a decoder is trusted with it.

GDCM ends the whole process on some codestreams that are smaller than the header promises, so a
codestream reaches it only if both agree.
"""

import struct
from dataclasses import dataclass

_JPEG_START = b"\xff\xd8"
_JPEG_2000_START = b"\xff\x4f\xff\x51"
_FRAME_MARKERS = frozenset({0xC3, 0xF7})
"""Start of frame of lossless JPEG (T.81) and of JPEG-LS (T.87)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CodestreamSize:
    """The image a codestream holds."""

    rows: int
    columns: int
    components: int
    precision: int
    """Bits of a sample."""


def find_codestream_size(fragment: bytes) -> CodestreamSize | None:
    """Return the size a JPEG, JPEG-LS or JPEG 2000 codestream gives; None where it has none."""
    try:
        if fragment.startswith(_JPEG_2000_START):
            return _jpeg_2000_size(fragment)
        if fragment.startswith(_JPEG_START):
            return _jpeg_size(fragment)
    except (struct.error, IndexError):
        return None
    return None


def first_fragment(value: bytes) -> bytes:
    """Return an encapsulated value from its first fragment on; the offset table comes before.

    Raises:
        struct.error: the value is shorter than its own lengths.
    """
    (table_bytes,) = struct.unpack_from("<I", value, 4)
    return value[8 + table_bytes + 8 :]


def _jpeg_2000_size(fragment: bytes) -> CodestreamSize:
    """Read the SIZ segment, ISO 15444-1 A.5.1."""
    right, bottom, left, top = struct.unpack_from(">4I", fragment, 8)
    (components,) = struct.unpack_from(">H", fragment, 40)
    return CodestreamSize(
        rows=bottom - top,
        columns=right - left,
        components=components,
        precision=(fragment[42] & 0x7F) + 1,
    )


def _jpeg_size(fragment: bytes) -> CodestreamSize | None:
    """Walk the segments to the start of frame, ITU-T T.81 B.2.2."""
    offset = len(_JPEG_START)
    while fragment[offset] == 0xFF:
        marker = fragment[offset + 1]
        if marker in _FRAME_MARKERS:
            precision, rows, columns, components = struct.unpack_from(">BHHB", fragment, offset + 4)
            return CodestreamSize(
                rows=rows, columns=columns, components=components, precision=precision
            )
        (length,) = struct.unpack_from(">H", fragment, offset + 2)
        offset += 2 + length
    return None
