import datetime as dt
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from services.core import audit_chain
from services.core.audit_chain import (
    EMPTY_CHAIN,
    NO_SHA256,
    ChainFault,
    ChainHead,
    canonical_moment,
    entry_sha256,
    read_export,
    verify_chain,
)


def chain(length: int) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    before = NO_SHA256
    for sequence in range(1, length + 1):
        entry: dict[str, Any] = {
            "sequence": sequence,
            "at": "2026-01-01T12:00:00.000000Z",
            "actor_name": "Zoë",
            "facts": {"b": sequence, "a": None, "c": True},
            "previous_sha256": before,
        }
        entry["sha256"] = before = entry_sha256(entry)
        entries.append(entry)
    return entries


def export(entries: list[dict[str, Any]], **options: Any) -> list[bytes]:
    lines = [json.dumps(entry, **{"ensure_ascii": False, **options}) for entry in entries]
    return [f"{line}\n".encode() for line in lines]


def head(entries: list[dict[str, Any]]) -> ChainHead:
    return ChainHead(sequence=entries[-1]["sequence"], sha256=entries[-1]["sha256"])


class TestCanonicalForm:
    def test_the_hash_is_of_sorted_compact_utf_8_without_the_hash(self) -> None:
        entry = {"b": "Zoë", "a": {"y": [1, None], "x": False}, "sha256": "whatever"}

        canonical = '{"a":{"x":false,"y":[1,null]},"b":"Zoë"}'.encode()
        assert entry_sha256(entry) == hashlib.sha256(canonical).hexdigest()

    def test_moments_are_in_utc_with_six_digits(self) -> None:
        east = dt.timezone(dt.timedelta(hours=2))

        moment = dt.datetime(2026, 3, 1, 1, 2, 3, tzinfo=east)

        assert canonical_moment(moment) == "2026-02-28T23:02:03.000000Z"


class TestChainHead:
    def test_it_reads_what_it_writes(self) -> None:
        written = ChainHead(sequence=4711, sha256="ab" * 32)

        assert ChainHead.parse(f" {written}\n") == written

    @pytest.mark.parametrize("text", ["", "4711", "4711:ab", "x:" + "a" * 64, "1:" + "A" * 64])
    def test_anything_else_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="a head is"):
            ChainHead.parse(text)


class TestVerifyChain:
    def test_a_whole_chain(self) -> None:
        entries = chain(5)

        verdict = verify_chain(entries, expected=[head(entries[:2]), head(entries)])

        assert verdict.is_whole
        assert (verdict.first_sequence, verdict.head) == (1, head(entries))

    def test_an_empty_one_is_whole(self) -> None:
        assert verify_chain([]).head == EMPTY_CHAIN
        assert verify_chain([], expected=[EMPTY_CHAIN]).is_whole

    def test_the_end_of_one_is_whole_but_not_what_was_before_it(self) -> None:
        entries = chain(5)

        assert verify_chain(entries[2:], expected=[head(entries)]).first_sequence == 3
        unseen = verify_chain(entries[2:], expected=[head(entries[:1])])
        assert (unseen.fault, unseen.sequence) == (ChainFault.MISSING, 3)

    @pytest.mark.parametrize("name", ["at", "actor_name", "facts", "previous_sha256", "sha256"])
    def test_a_changed_member(self, name: str) -> None:
        entries = chain(5)
        entries[2][name] = "changed"

        verdict = verify_chain(entries)

        assert (verdict.fault, verdict.sequence) == (ChainFault.CHANGED, 3)
        assert verdict.head == head(entries[:2])

    def test_an_entry_that_was_hashed_again_breaks_the_next(self) -> None:
        entries = chain(5)
        entries[2]["actor_name"] = "somebody else"
        entries[2]["sha256"] = entry_sha256(entries[2])

        verdict = verify_chain(entries)

        assert (verdict.fault, verdict.sequence) == (ChainFault.CHANGED, 4)

    def test_a_chain_that_was_hashed_again_is_not_the_one_written_down(self) -> None:
        written_down = head(chain(5))
        forged = chain(6)[1:]
        before = NO_SHA256
        for sequence, entry in enumerate(forged, start=1):
            entry |= {"sequence": sequence, "previous_sha256": before}
            entry["sha256"] = before = entry_sha256(entry)

        assert verify_chain(forged).is_whole
        verdict = verify_chain(forged, expected=[written_down])
        assert (verdict.fault, verdict.sequence) == (ChainFault.CHANGED, 5)

    def test_a_missing_entry(self) -> None:
        entries = chain(5)

        verdict = verify_chain(entries[:2] + entries[3:])

        assert (verdict.fault, verdict.sequence) == (ChainFault.MISSING, 3)

    def test_entries_in_another_order(self) -> None:
        first, second, third, fourth = chain(4)

        verdict = verify_chain([first, third, second, fourth])

        assert (verdict.fault, verdict.sequence) == (ChainFault.REORDERED, 2)

    def test_an_entry_that_comes_twice(self) -> None:
        first, second, third = chain(3)

        verdict = verify_chain([first, second, second, third])

        assert (verdict.fault, verdict.sequence) == (ChainFault.REORDERED, 3)

    def test_an_end_that_was_cut_off(self) -> None:
        entries = chain(5)

        verdict = verify_chain(entries[:3], expected=[head(entries)])

        assert (verdict.fault, verdict.sequence) == (ChainFault.TRUNCATED, 4)
        assert verify_chain(entries[:3]).is_whole  # nobody can tell without the head

    def test_the_first_entry_has_no_predecessor(self) -> None:
        (entry,) = chain(1)
        entry["previous_sha256"] = "1" * 64
        entry["sha256"] = entry_sha256(entry)

        assert verify_chain([entry]).fault is ChainFault.CHANGED

    @pytest.mark.parametrize(
        "line",
        [
            b"{",
            b"[]",
            b"null",
            b'{"sequence": "1"}',
            b'{"sequence": 1}',
            b'{"sequence": 3, "sha256": "", "facts": NaN}',
            b'{"sequence": 3, "sha256": "", "facts": -Infinity}',
            b'{"sequence": 3, "sha256": "", "facts": 1.5}',
            b'{"sequence": 3, "sha256": "", "facts": "\\ud800"}',
            b'{"sequence": 3, "sha256": "", "facts": "\xff"}',
            b'{"sequence": 3, "sha256": "", "facts": ' + b"1" * 5000 + b"}",
            b'{"sequence": true, "sha256": ""}',
            b"[" * 100_000,
            b'{"sequence": 3, "sha256": "", "facts": ' + b"[" * 900 + b"]" * 900 + b"}",
            b'{"a":' * 100_000,
        ],
    )
    def test_a_line_that_is_no_entry(self, line: bytes) -> None:
        verdict = verify_chain(read_export([*export(chain(2)), b"", line]))

        assert verdict.fault in {ChainFault.UNREADABLE, ChainFault.CHANGED}
        assert (verdict.head.sequence, verdict.sequence) == (2, 3)

    def test_a_member_that_comes_twice_hides_nothing(self) -> None:
        first, second, third = export(chain(3))
        second = second.replace(b"{", b'{"actor_name": "Dr. Innocent", ', 1)
        third = third.replace(b'"a":', b'"a": 1, "a":', 1)

        assert verify_chain(read_export([first, second])).fault is ChainFault.UNREADABLE
        assert verify_chain(read_export([first, third])).fault is ChainFault.UNREADABLE

    def test_how_a_line_is_written_means_nothing(self) -> None:
        entries = [dict(reversed(entry.items())) for entry in chain(3)]

        verdict = verify_chain(read_export(export(entries, ensure_ascii=True, indent=None)))

        assert verdict.is_whole

    def test_an_entry_of_the_database_without_canonical_form(self) -> None:
        entries = chain(3)
        entries[1]["facts"] = {"a": float("nan")}

        verdict = verify_chain(entries)

        assert (verdict.fault, verdict.sequence) == (ChainFault.UNREADABLE, 2)


def test_it_needs_nothing_but_the_standard_library(tmp_path: Path) -> None:
    """Who audits copies one file to a machine of his own."""
    (tmp_path / "chain.py").write_bytes(Path(audit_chain.__file__).read_bytes())
    script = "import chain; assert chain.verify_chain([]).is_whole"

    # -S: without site-packages; -E: without this test's own paths
    command = [sys.executable, "-S", "-E", "-c", script]
    subprocess.run(command, cwd=tmp_path, check=True)
