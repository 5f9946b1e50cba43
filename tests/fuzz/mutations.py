"""What a hostile sender does to a file: to its elements, and to its bytes."""

import struct
import zlib
from collections.abc import Callable
from random import Random

from pydicom import uid

from tests.fuzz.elements import LONG_VRS, UNDEFINED, Element, Elements, File, walk

VRS = (
    "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "OB", "OD", "OF", "OL",
    "OV", "OW", "PN", "SH", "SL", "SQ", "SS", "ST", "SV", "TM", "UC", "UI", "UL", "UN", "UR", "US",
    "UT", "UV", "ZZ", "\0\0", "??",
)  # fmt: skip
TEXTS = (
    b"", b" ", b"\0", b"\\", b"\\\\\\", b"NaN", b"nan\\nan\\nan", b"inf", b"-inf", b"1e308", b"-1e308",
    b"1e-320", b"0", b"-0", b"-1", b"1", b"4294967296", b"99999999999999999999999999", b"0x10", b"1_0",
    b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80", b"\xe2\x80\xaeevil", b"=1+1", b"@SUM(A1)",
    b"\x1b[31mred\x1b[0m", b"\x1b$B", b"<script>alert(1)</script>", b"../../etc/passwd", b"%s%n{0}",
    b"1.2.3", b"1..2", b"." * 64, b"CT", b"MR", b"OB", b"1\\2\\3", b"1.0\\0.0", b"\xd9\xa1\xd9\xa2",
    b"A" * 70, b"9" * 5000, b"1\\" * 30_000, b"A" * 65_534, b"\x00" * 1000, b"ISO 2022 IR 87", b"GB18030",
)  # fmt: skip
NUMBERS = (0, 1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 255, 256, 4096, 4097, 32767, 32768, 65535)
LENGTHS = (
    0,
    1,
    2,
    3,
    7,
    0x7FFF,
    0xFFFE,
    0xFFFF,
    0x10000,
    0x7FFFFFFF,
    0xFFFFFFF0,
    0xFFFFFFFE,
    UNDEFINED,
)
SYNTAXES = tuple(
    str(syntax).encode().ljust(len(syntax) + len(syntax) % 2, b"\0")
    for syntax in (
        uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian,
        uid.DeflatedExplicitVRLittleEndian, uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless,
        uid.JPEGLossless, uid.JPEGBaseline8Bit, uid.MPEG2MPML, uid.UID("1.2.3.4"),
    )
)  # fmt: skip
DEPTHS = (2, 10, 60, 64, 65, 200, 400, 1000, 5000)
COUNTS = (2, 50, 1000, 5000)

TreeMutation = Callable[[File, Random], None]
ByteMutation = Callable[[bytes, Random], bytes]


def _place(file: File, draw: Random) -> tuple[Elements, int]:
    places = list(walk(file.elements))
    return draw.choice(places) if places else (file.elements, 0)


def _element(file: File, draw: Random) -> Element:
    elements, place = _place(file, draw)
    if not elements:
        elements.append(Element(tag=0x00080060, vr="CS"))
    return elements[place]


def delete(file: File, draw: Random) -> None:
    elements, place = _place(file, draw)
    del elements[place : place + 1]


def duplicate(file: File, draw: Random) -> None:
    elements, place = _place(file, draw)
    elements[place:place] = elements[place : place + 1] * draw.choice((1, 2, 100))


def swap_order(file: File, draw: Random) -> None:
    elements, place = _place(file, draw)
    other = draw.randrange(len(elements) or 1)
    if elements:
        elements[place], elements[other] = elements[other], elements[place]


def swap_vr(file: File, draw: Random) -> None:
    _element(file, draw).vr = draw.choice(VRS)


def set_text(file: File, draw: Random) -> None:
    element = _element(file, draw)
    texts = [e for elements, at in walk(file.elements) if (e := elements[at]).is_text]
    if texts:
        element = draw.choice(texts)
    element.value, element.items = draw.choice(TEXTS), None
    if element.vr not in LONG_VRS:
        element.value = element.value[:65_534]


def set_number(file: File, draw: Random) -> None:
    shorts = [e for elements, at in walk(file.elements) if (e := elements[at]).vr in ("US", "SS")]
    element = draw.choice(shorts) if shorts else _element(file, draw)
    element.value, element.items = struct.pack("<H", draw.choice(NUMBERS)), None


def set_bytes(file: File, draw: Random) -> None:
    element = _element(file, draw)
    element.value, element.items = draw.randbytes(draw.choice((0, 1, 2, 4, 8, 63, 4000))), None


def lie_about_length(file: File, draw: Random) -> None:
    _element(file, draw).length = draw.choice(LENGTHS)


def lie_about_items(file: File, draw: Random) -> None:
    sequences = [e for elements, at in walk(file.elements) if (e := elements[at]).items is not None]
    if sequences:
        element = draw.choice(sequences)
        element.item_length = draw.choice(LENGTHS)
        element.ends = draw.random() < 0.5


def nest(file: File, draw: Random) -> None:
    """Put a sequence in a sequence in a sequence; closed, or open to the end."""
    depth = draw.choice(DEPTHS)
    ends = draw.random() < 0.5
    tag = draw.choice((0x00081140, 0x30060010, 0x00400275, 0x00091001))
    vr = draw.choice(("SQ", "SQ", "UN"))
    item = struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED)
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode() + b"\0\0" + b"\xff" * 4
    if file.is_implicit:
        head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + b"\xff" * 4
    tail = struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0) if ends else b""
    raw = (head + item) * depth + tail * depth
    elements, place = _place(file, draw)
    # An element whose header is part of its bytes: the outermost one.
    nested = Element(tag=tag, vr=vr, value=raw[len(head) :], length=UNDEFINED)
    if vr == "SQ" or file.is_implicit or vr == "UN":
        elements.insert(place, nested)


def multiply_items(file: File, draw: Random) -> None:
    sequences = [e for elements, at in walk(file.elements) if (e := elements[at]).items]
    if sequences:
        element = draw.choice(sequences)
        element.items = (element.items or [])[:1] * draw.choice(COUNTS)
    else:
        elements, place = _place(file, draw)
        empty: list[Elements] = [[] for _ in range(draw.choice(COUNTS))]
        elements.insert(place, Element(tag=0x00081140, vr="SQ", items=empty))


def add_elements(file: File, draw: Random) -> None:
    elements, place = _place(file, draw)
    first = draw.choice((0x00090000, 0x00110000, 0x00081000, 0x60000000))
    vr = draw.choice(VRS)
    elements[place:place] = [
        Element(tag=first + number, vr=vr, value=draw.choice(TEXTS)[:20])
        for number in range(draw.choice(COUNTS))
    ]


def move_into_sequence(file: File, draw: Random) -> None:
    elements, place = _place(file, draw)
    if elements:
        element = elements[place]
        elements[place] = Element(tag=element.tag, vr="SQ", items=[[element]])


def change_syntax(file: File, draw: Random) -> None:
    file.syntax = draw.choice(SYNTAXES)
    file.is_implicit = draw.random() < 0.5


def change_class(file: File, draw: Random) -> None:
    classes = (
        uid.RTStructureSetStorage,
        uid.CTImageStorage,
        uid.EnhancedCTImageStorage,
        uid.RTDoseStorage,
    )
    for element in file.elements:
        if element.tag == 0x00080016:
            element.value = str(draw.choice(classes)).encode()


def drop_preamble(file: File, draw: Random) -> None:
    file.prefix = draw.choice(
        (b"", bytes(128), b"PK\x03\x04" + bytes(124) + b"DICM", bytes(128) + b"DICX")
    )


TREE_MUTATIONS: tuple[TreeMutation, ...] = (
    delete, duplicate, swap_order, swap_vr, set_text, set_text, set_text, set_number, set_number,
    set_bytes, lie_about_length, lie_about_length, lie_about_items, nest, multiply_items, add_elements,
    move_into_sequence, change_syntax, change_class, drop_preamble,
)  # fmt: skip


def flip(data: bytes, draw: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 3, 10, 100))):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def truncate(data: bytes, draw: Random) -> bytes:
    return data[: draw.randrange(len(data))]


def cut_out(data: bytes, draw: Random) -> bytes:
    start = draw.randrange(len(data))
    return data[:start] + data[start + draw.choice((1, 2, 4, 100, 1000)) :]


def repeat(data: bytes, draw: Random) -> bytes:
    start = draw.randrange(len(data))
    piece = data[start : start + draw.choice((8, 64, 512))]
    return data[:start] + piece * draw.choice((2, 20, 500)) + data[start:]


def overwrite_length(data: bytes, draw: Random) -> bytes:
    at = draw.randrange(max(1, len(data) - 4))
    return data[:at] + struct.pack("<I", draw.choice(LENGTHS)) + data[at + 4 :]


def insert(data: bytes, draw: Random) -> bytes:
    at = draw.randrange(len(data))
    return data[:at] + draw.choice((*TEXTS, draw.randbytes(16))) + data[at:]


def splice(data: bytes, draw: Random) -> bytes:
    start, other = draw.randrange(len(data)), draw.randrange(len(data))
    return data[:start] + data[other:]


def deflate(data: bytes, draw: Random) -> bytes:
    """Announce and deflate what follows the meta information, or a bomb."""
    at = data.find(b"1.2.840.10008.1.2")
    if at < 0:
        return data
    end = data.find(b"\x08\x00", at)
    syntax = SYNTAXES[3]
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    content = bytes(200 << 20) if draw.random() < 0.02 else data[end:]
    packed = packer.compress(content) + packer.flush()
    if draw.random() < 0.3:
        packed = flip(packed, draw)
    return data[: at - 2] + struct.pack("<H", len(syntax)) + syntax + packed


BYTE_MUTATIONS: tuple[ByteMutation, ...] = (
    flip, flip, flip, truncate, cut_out, repeat, overwrite_length, overwrite_length, insert, splice,
    deflate,
)  # fmt: skip
