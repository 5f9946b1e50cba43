"""How a DICOM file is encoded: its transfer syntax, its data set, and where its pixels lie."""

import functools
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom import uid
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag

from ml.dicom.files import MAGIC, MAGIC_OFFSET

NATIVE_SYNTAXES = frozenset[str](
    {
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
        uid.DeflatedExplicitVRLittleEndian,
    }
)
JPEG_SYNTAXES = frozenset[str](
    {
        uid.JPEGLossless,
        uid.JPEGLosslessSV1,
        uid.JPEGLSLossless,
        uid.JPEG2000Lossless,
        uid.JPEG2000,
    }
)
"""Codestreams that end with FFD9; JPEG 2000 (.91) only where the image says it lost nothing."""
SUPPORTED_SYNTAXES = NATIVE_SYNTAXES | JPEG_SYNTAXES | {str(uid.RLELossless)}

_JPEG = "1.2.840.10008.1.2.4."
LOSSY_SYNTAXES = frozenset(
    f"{_JPEG}{number}" for number in (*range(50, 57), *range(59, 65), 81, 93, 112, 203)
)
"""PS3.6 A.4, near-lossless JPEG-LS (.81) included. Video (MPEG, HEVC) is merely unsupported."""

IMPLEMENTATION_CLASS_UID = uid.UID("2.25.257741083386104316087174530413471823217")
IMPLEMENTATION_VERSION = "CERVICONTOUR"
"""Of the file meta information that this program writes."""

MAX_INFLATED_BYTES = 96 * 2**20
"""A deflated data set may grow to this: 4096 x 4096 pixels and generous headers."""
MAX_FRAGMENTS = 4096
"""A single frame comes in one fragment; encoders that stream write a few dozen."""

NUMBER_CHARACTERS = b"0123456789+-.eE\\ \0\t\n\v\f\r"
"""Of decimal and integer strings; white space means nothing, and some writers end lines."""

PIXEL_DATA = 0x7FE00010
_PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, PIXEL_DATA})
UNDEFINED_LENGTH = 0xFFFFFFFF
_ITEM = 0xFFFEE000
_SEQUENCE_END = 0xFFFEE0DD
_LONG_FORMS = (b"OB", b"OW", b"UN", b"OF", b"OD")
_END_MARKER = b"\xff\xd9"
_END_MARKER_REACH = 10
"""Bytes before the end of a codestream within which its end marker lies: padding is short."""

PARSE_ERRORS = (
    AttributeError,
    BytesLengthException,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What pydicom's reader was seen to raise on damaged or hostile bytes; all but one of its own
errors derive from the others. A failing disk raises OSError, which is not the sender's fault and
passes."""


ByteStream = io.BufferedReader | io.BytesIO
"""A file, or an inflated data set."""

StopWhen = Callable[[BaseTag, str | None, int], bool]
"""What pydicom's reader asks before every element: tag, kind, length."""


class MalformedFileError(Exception):
    """A file that should be DICOM cannot be read as DICOM."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelElement:
    """The pixel data element of a data set."""

    offset: int
    """Of its value, in the (inflated) data set stream."""
    length: int | None
    """Bytes of its value as declared; None if undefined: encapsulated."""
    is_integer: bool
    """False for Float and Double Float Pixel Data."""


@contextmanager
def naming_parse_errors() -> Iterator[None]:
    """Raise one of PARSE_ERRORS where pydicom raises an OSError of its own.

    It does so for sequences that end too early; a failing disk gives its error a number.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            raise
        raise ValueError(str(error)) from error


def open_dataset(path: Path) -> tuple[ByteStream, Dataset]:
    """Return a stream at the first data element, and the file meta information.

    A file without preamble gets the transfer syntax that its first element shows.

    Raises:
        MalformedFileError: no usable meta information, or more inflated bytes than allowed.
    """
    stream = path.open("rb")
    try:
        with naming_parse_errors():
            return _enter_dataset(stream)
    except PARSE_ERRORS as error:
        stream.close()
        raise MalformedFileError(f"{type(error).__name__}: {error}") from error
    except MalformedFileError:
        stream.close()
        raise


def _enter_dataset(stream: ByteStream) -> tuple[ByteStream, Dataset]:
    head = stream.read(MAGIC_OFFSET + len(MAGIC))
    if head[MAGIC_OFFSET:] != MAGIC:
        stream.seek(0)
        if head[:1] != b"\x02":
            meta = Dataset()
            is_explicit = head[4:6].isalpha() and head[4:6].isupper()
            meta.TransferSyntaxUID = (
                uid.ExplicitVRLittleEndian if is_explicit else uid.ImplicitVRLittleEndian
            )
            return stream, meta
    meta = read_dataset(
        stream, is_implicit_VR=False, is_little_endian=True, stop_when=once_each(_is_past_meta)
    )
    syntax = raw_text(meta, "TransferSyntaxUID")
    if len(syntax) != 1:
        raise MalformedFileError("no transfer syntax")
    if syntax[0] != uid.DeflatedExplicitVRLittleEndian:
        return stream, meta
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(stream.read(), MAX_INFLATED_BYTES)
    if inflater.unconsumed_tail:
        raise MalformedFileError(f"inflates to more than {MAX_INFLATED_BYTES} bytes")
    if not inflater.eof:
        raise MalformedFileError("the deflated data set has no end")
    stream.close()
    return io.BytesIO(inflated), meta


def read_elements(
    stream: ByteStream, syntax: str, keywords: tuple[str, ...], *, until: int | None = None
) -> Dataset:
    """Return the named top-level elements, unconverted, and leave the stream at the pixels.

    until: the first tag that is not read any more, instead of the pixels.

    Raises:
        MalformedFileError: the bytes are no data set.
    """
    try:
        with naming_parse_errors():
            dataset = read_dataset(
                stream,
                is_implicit_VR=syntax == uid.ImplicitVRLittleEndian,
                is_little_endian=syntax != uid.ExplicitVRBigEndian,
                stop_when=once_each(_is_pixel_element if until is None else _is_at_least(until)),
                specific_tags=[_tag(keyword) for keyword in keywords],
            )
    except PARSE_ERRORS as error:
        raise MalformedFileError(f"{type(error).__name__}: {error}") from error
    if is_cut(dataset):  # half a UID is another one: the file might be taken for no image
        raise MalformedFileError("the file ends within an element")
    return dataset


@functools.cache
def _tag(keyword: str) -> BaseTag:
    # Kept: looking up all that a header needs took longer than reading it.
    return Tag(keyword)


def find_pixel_element(stream: ByteStream, syntax: str) -> PixelElement | None:
    """Describe the pixel element at the stream's position; None where the data set ends first."""
    order = ">" if syntax == uid.ExplicitVRBigEndian else "<"
    head = stream.read(8)
    if len(head) < 8:
        return None
    group, element = struct.unpack(order + "HH", head[:4])
    (length,) = struct.unpack(order + "I", head[4:])
    if head[4:6] in _LONG_FORMS:
        (length,) = struct.unpack(order + "I", stream.read(4))
    return PixelElement(
        offset=stream.tell(),
        length=None if length == UNDEFINED_LENGTH else length,
        is_integer=(group << 16 | element) == PIXEL_DATA,
    )


def measure_pixels(
    stream: ByteStream, element: PixelElement, syntax: str, native_bytes: int
) -> int | None:
    """Return how many bytes of pixel data are there; None if some of them are missing."""
    if syntax in NATIVE_SYNTAXES:
        end = stream.seek(0, io.SEEK_END)
        declared = element.length or 0
        enough = declared >= native_bytes and end - element.offset >= native_bytes
        return native_bytes if enough else None
    if element.length is not None:
        return None
    stream.seek(element.offset)
    try:
        return _measure_fragments(stream, ends_with_marker=syntax in JPEG_SYNTAXES)
    except struct.error:
        return None


def once_each(stop: StopWhen) -> StopWhen:
    """Return a callback that refuses repeated elements, of which pydicom keeps the last alone.

    It raises ValueError. Elements within the items of sequences never get here.
    """
    seen: set[int] = set()

    def check(tag: BaseTag, vr: str | None, length: int) -> bool:
        if stop(tag, vr, length):
            return True
        if tag in seen:
            raise ValueError("an element is repeated")
        if seen or length:  # where kinds are in doubt, the first is shown beforehand, as if empty
            seen.add(tag)
        return False

    return check


def is_cut(dataset: Dataset) -> bool:
    """Tell whether a file ends within one of the data set's elements that are not yet converted.

    pydicom takes what is there; what has no declared length it refuses where its end is missing.
    """
    return any(
        isinstance(element, RawDataElement)
        and element.length != UNDEFINED_LENGTH
        and len(element.value or b"") < element.length
        for element in dataset.values()
    )


def raw_text(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Return the values of a text element as they stand in the file, outer blanks removed.

    Raises:
        ValueError: bytes beyond ASCII, or no text at all.
    """
    raw = raw_value(dataset, keyword)
    text = raw.decode("ascii")
    values = tuple(part.strip(" \0") for part in text.split("\\"))
    return () if values == ("",) else values


def raw_value(dataset: Dataset, keyword: str) -> bytes:
    """Return the bytes of an element; none where it is absent or empty.

    Raises:
        ValueError: the element holds a sequence.
    """
    tag = _tag(keyword)
    if tag not in dataset:
        return b""
    # pydicom takes an element without bytes for one to be read later, and would convert it.
    value = dataset.get_item(tag, keep_deferred=True).value
    if value is None:
        return b""
    if isinstance(value, str):  # elements this program made itself
        return value.encode("ascii")
    if not isinstance(value, bytes):
        raise ValueError(f"{keyword} is no plain value")  # noqa: TRY004  # bad data, not a bug
    return value


def _measure_fragments(stream: ByteStream, *, ends_with_marker: bool) -> int | None:
    """Walk the items after the offset table; None unless a delimiter follows whole fragments."""
    start = stream.tell()
    fragment_bytes, tail = 0, b""
    for number in range(MAX_FRAGMENTS + 1):
        group, element, length = struct.unpack("<HHI", stream.read(8))
        tag = group << 16 | element
        if tag == _SEQUENCE_END:
            is_whole = not ends_with_marker or _END_MARKER in tail
            return stream.tell() - start if fragment_bytes and is_whole else None
        if tag != _ITEM:
            return None
        reach = min(length, _END_MARKER_REACH)
        stream.seek(length - reach, io.SEEK_CUR)
        tail = stream.read(reach)
        if len(tail) < reach:
            return None
        fragment_bytes += length if number else 0
    return None


def _is_past_meta(tag: BaseTag, vr: str | None, length: int) -> bool:  # noqa: ARG001  # pydicom's callback
    return tag >> 16 != 2


def _is_pixel_element(tag: BaseTag, vr: str | None, length: int) -> bool:  # noqa: ARG001  # pydicom's callback
    return tag in _PIXEL_TAGS


def _is_at_least(first: int) -> StopWhen:
    def stop(tag: BaseTag, vr: str | None, length: int) -> bool:  # noqa: ARG001  # pydicom's callback
        return tag >= first

    return stop
