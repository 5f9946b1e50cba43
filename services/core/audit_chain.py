"""The hash chain of the audit trail, and whether it is whole. Needs the standard library alone.

An entry is a json object. Its `sha256` is the SHA-256, in lower case hexadecimals, of the
canonical form of all its other members: UTF-8, keys in the order of their code points, no white
space, no escape that JSON does not demand, integers only, moments as
YYYY-MM-DDTHH:MM:SS.ffffffZ in UTC. `previous_sha256` is the `sha256` of the entry before, 64 zeros
in the first; `sequence` begins with 1 and rises by 1. Whoever wrote down a head (sequence and hash)
can prove from any later export that nothing up to it was changed, taken out or put in.
"""

import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

NO_SHA256 = "0" * 64
"""What the first entry has for its predecessor's hash."""

_HEAD = re.compile(r"(\d{1,19}):([0-9a-f]{64})")

Entry = Mapping[str, Any]  # Any: json values


class ChainFault(StrEnum):
    """What can be wrong with a chain."""

    UNREADABLE = "unreadable"
    """No json object, or one without the members of an entry."""
    CHANGED = "changed"
    """An entry does not fit its hash, or not the entry before."""
    MISSING = "missing"
    REORDERED = "reordered"
    """An entry comes too late, or twice."""
    TRUNCATED = "truncated"
    """The chain ends before the head that was to be found."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChainHead:
    """The last entry of a chain, or of a part of it; 0 and zeros where there is none."""

    sequence: int
    sha256: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what str() wrote.

        Raises:
            ValueError: it is no sequence:sha256.
        """
        found = _HEAD.fullmatch(text.strip())
        if found is None:
            raise ValueError("a head is a number, a colon and 64 hexadecimals")
        return cls(sequence=int(found[1]), sha256=found[2])

    def __str__(self) -> str:
        return f"{self.sequence}:{self.sha256}"


EMPTY_CHAIN = ChainHead(sequence=0, sha256=NO_SHA256)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the verification of a chain, or of a part of it, came to."""

    head: ChainHead
    """Last entry up to which everything is whole."""
    first_sequence: int | None
    """Where the part begins; None where it is empty."""
    fault: ChainFault | None = None
    sequence: int | None = None
    """First entry that is not as it should be."""
    detail: str | None = None

    @property
    def is_whole(self) -> bool:
        """Tell whether nothing is wrong."""
        return self.fault is None


def canonical_moment(moment: dt.datetime) -> str:
    """Write an aware moment as entries have it."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def entry_sha256(entry: Entry) -> str:
    """Return the hash that an entry should have."""
    content = {name: value for name, value in entry.items() if name != "sha256"}
    canonical = json.dumps(
        content, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    )
    return hashlib.sha256(canonical.encode()).hexdigest()


def verify_chain(entries: Iterable[Entry], *, expected: Sequence[ChainHead] = ()) -> Verdict:
    """Tell whether entries are a chain without a gap, or the first place where they are not.

    What begins behind the first entry is taken for the end of a chain: of the entries before it
    only the hash of the last one is vouched for.

    Args:
        entries: in the order in which they were exported; only one is held at a time.
        expected: heads that were written down elsewhere and must be found as they were.
    """
    return _Verification(expected).run(iter(entries))


def read_export(lines: Iterable[bytes]) -> Iterator[Entry]:
    """Yield the entries of an export, one a line; what is no json object comes as an empty one.

    Neither is one whose value depends on who reads it: with a member twice, numbers that are no
    integers, or bytes that are not UTF-8. White space, the order of members and escapes mean
    nothing.
    """
    for line in lines:
        if line.strip():
            try:
                entry = json.loads(
                    line.decode(),
                    object_pairs_hook=_members,
                    parse_float=_refuse,
                    parse_constant=_refuse,
                )
            except (ValueError, RecursionError):
                entry = None
            yield entry if isinstance(entry, dict) else {}


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:  # Any: json values
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member comes twice")
    return members


def _refuse(text: str) -> None:
    raise ValueError(f"{text} is no integer")


def _sha256_if_any(entry: Entry) -> str | None:
    """Return the hash that an entry should have; None if it has no canonical form."""
    try:
        return entry_sha256(entry)
    except (ValueError, RecursionError):  # halves of surrogate pairs, numbers that are none, depth
        return None


class _Verification:
    def __init__(self, expected: Sequence[ChainHead]) -> None:
        self._expected = expected
        self._head: ChainHead | None = None
        self._first: int | None = None

    def run(self, entries: Iterator[Entry]) -> Verdict:
        for entry in entries:
            fault = self._fault_of(entry, entries)
            if fault is not None:
                return fault
            self._head = ChainHead(sequence=entry["sequence"], sha256=entry["sha256"])
            self._first = self._first or self._head.sequence
            if self._is_unexpected(self._head):
                return self._broken(
                    ChainFault.CHANGED,
                    self._head.sequence,
                    "the entry is whole, but not the one that was written down",
                )
        return self._end()

    def _fault_of(self, entry: Entry, others: Iterator[Entry]) -> Verdict | None:
        sequence = entry.get("sequence")
        due = None if self._head is None else self._head.sequence + 1
        sha256 = _sha256_if_any(entry)
        if type(sequence) is not int or not isinstance(entry.get("sha256"), str) or sha256 is None:
            return self._broken(ChainFault.UNREADABLE, due, "this is no entry")
        if due is not None and sequence != due:
            return self._out_of_order(due, sequence, others)
        if sha256 != entry["sha256"]:
            return self._broken(ChainFault.CHANGED, sequence, "the entry does not fit its hash")
        before = self._sha256_before(sequence)
        if before is not None and entry.get("previous_sha256") != before:
            return self._broken(
                ChainFault.CHANGED, sequence, "the entry does not follow the one before it"
            )
        return None

    def _sha256_before(self, sequence: int) -> str | None:
        if self._head is not None:
            return self._head.sha256
        return NO_SHA256 if sequence == 1 else None

    def _out_of_order(self, due: int, found: int, others: Iterator[Entry]) -> Verdict:
        comes_later = found > due and any(other.get("sequence") == due for other in others)
        if found < due or comes_later:
            return self._broken(ChainFault.REORDERED, due, f"entry {found} stands in its place")
        return self._broken(ChainFault.MISSING, due, f"entry {found} follows entry {due - 1}")

    def _is_unexpected(self, head: ChainHead) -> bool:
        return any(head.sequence == one.sequence and head != one for one in self._expected)

    def _end(self) -> Verdict:
        last = self._head or EMPTY_CHAIN
        due = max((one.sequence for one in self._expected), default=0)
        if last.sequence < due:
            return self._broken(
                ChainFault.TRUNCATED, last.sequence + 1, f"the chain ends before entry {due}"
            )
        if self._first is not None and any(
            0 < one.sequence < self._first for one in self._expected
        ):
            return self._broken(
                ChainFault.MISSING, self._first, "the chain begins behind what is to be found"
            )
        return Verdict(head=last, first_sequence=self._first)

    def _broken(self, fault: ChainFault, sequence: int | None, detail: str) -> Verdict:
        return Verdict(
            head=self._head or EMPTY_CHAIN,
            first_sequence=self._first,
            fault=fault,
            sequence=sequence,
            detail=detail,
        )
