"""Data sets as trees of elements that can be written however wrong they are.

pydicom refuses to write most of what a hostile sender sends, so the writer is our own: explicit
or implicit VR, little endian, with any length in front of any value.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element

UNDEFINED = 0xFFFFFFFF
LONG_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
"""Whose length takes four bytes after two reserved ones, PS3.5 7.1.2."""
_HEADER_BYTES = {True: 12, False: 8}

Items = list["Elements"]
Elements = list["Element"]


@dataclass(kw_only=True, slots=True)
class Element:
    """One element; what its header says need not be true."""

    tag: int
    vr: str
    value: bytes = b""
    items: Items | None = None
    """Of a sequence, instead of the value."""
    length: int | None = None
    """What the header says; the truth without it."""
    item_length: int | None = None
    """What the headers of the items say."""
    ends: bool = True
    """Whether sequences of undefined length are closed."""

    @property
    def is_text(self) -> bool:
        return self.vr in {"CS", "DS", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UI", "DA", "UT"}


@dataclass(kw_only=True, slots=True)
class File:
    """A file: the two parts of its meta information that matter, and its data set."""

    syntax: bytes
    sop_class: bytes
    elements: Elements
    is_implicit: bool = False
    prefix: bytes = field(default=bytes(128) + b"DICM")

    def encode(self) -> bytes:
        meta = [
            Element(tag=0x00020001, vr="OB", value=b"\0\1"),
            Element(tag=0x00020002, vr="UI", value=self.sop_class),
            Element(tag=0x00020003, vr="UI", value=b"2.25.1\0\0"),
            Element(tag=0x00020010, vr="UI", value=self.syntax),
        ]
        content = b"".join(encode(element) for element in meta)
        size = Element(tag=0x00020000, vr="UL", value=struct.pack("<I", len(content)))
        body = b"".join(encode(e, is_implicit=self.is_implicit) for e in self.elements)
        return self.prefix + encode(size) + content + body


def tree_of(dataset: Dataset) -> Elements:
    """Return the elements of a data set that was read or made by pydicom."""
    return [_element_of(element) for element in dataset]


def _element_of(element: DataElement) -> Element:
    vr = str(element.VR)
    if vr == "SQ":
        return Element(tag=int(element.tag), vr=vr, items=[tree_of(item) for item in element.value])
    target = DicomBytesIO()
    target.is_little_endian, target.is_implicit_VR = True, False
    write_data_element(target, element)
    return Element(
        tag=int(element.tag), vr=vr, value=target.getvalue()[_HEADER_BYTES[vr in LONG_VRS] :]
    )


def walk(elements: Elements) -> Iterator[tuple[Elements, int]]:
    """Yield every element of every level as its list and place."""
    for place, element in enumerate(elements):
        yield elements, place
        for item in element.items or ():
            yield from walk(item)


def size_of(elements: Elements, known: dict[int, int] | None = None) -> int:
    """Return about how many bytes elements take; items that are one list are counted once each."""
    known = {} if known is None else known
    if id(elements) not in known:
        known[id(elements)] = sum(
            12 + len(element.value) + sum(size_of(item, known) for item in element.items or ())
            for element in elements
        )
    return known[id(elements)]


def encode(element: Element, *, is_implicit: bool = False) -> bytes:
    value = element.value
    length = len(value) if element.length is None else element.length
    if element.items is not None:
        value = _encode_items(element.items, element, is_implicit=is_implicit)
        length = UNDEFINED if element.length is None else element.length
    return _header(element, length, is_implicit=is_implicit) + value


def _header(element: Element, length: int, *, is_implicit: bool) -> bytes:
    tag = struct.pack("<HH", element.tag >> 16 & 0xFFFF, element.tag & 0xFFFF)
    if is_implicit:
        return tag + struct.pack("<I", length & UNDEFINED)
    vr = element.vr.encode("latin-1")[:2].ljust(2)
    if element.vr in LONG_VRS:
        return tag + vr + b"\0\0" + struct.pack("<I", length & UNDEFINED)
    return tag + vr + struct.pack("<H", length & 0xFFFF)


def _encode_items(items: Sequence[Elements], of: Element, *, is_implicit: bool) -> bytes:
    parts: list[bytes] = []
    for item in items:
        content = b"".join(encode(element, is_implicit=is_implicit) for element in item)
        length = len(content) if of.item_length is None else of.item_length
        parts.append(struct.pack("<HHI", 0xFFFE, 0xE000, length) + content)
        if length == UNDEFINED and of.ends:
            parts.append(struct.pack("<HHI", 0xFFFE, 0xE00D, 0))
    if of.ends:
        parts.append(struct.pack("<HHI", 0xFFFE, 0xE0DD, 0))
    return b"".join(parts)
