from uuid import uuid4

from ml.data.importing.refusals import Note, NoteCode
from ml.data.importing.run import CaseOutcome, Status
from services.core.lifecycle import CaseStatus
from services.worker.case_rows import case_rows

VERSION_ID = uuid4()


class TestCaseRows:
    def test_a_refusal_keeps_code_message_and_facts(self) -> None:
        outcome = CaseOutcome(
            name="p/rs.dcm",
            status=Status.REFUSED,
            code="missing_ct",
            message="there is none",
            facts={"files": ["a"]},
            notes=(Note(code=NoteCode.UNUSUAL_HU, message="m", facts={"hu": (1, 2)}),),
        )

        (row,) = case_rows(VERSION_ID, [outcome], None)

        assert (row.position, row.name, row.status) == (0, "p/rs.dcm", CaseStatus.REFUSED)
        assert (row.code, row.message, row.facts) == (
            "missing_ct",
            "there is none",
            {"files": ["a"]},
        )
        assert row.notes == [{"code": "unusual_hu", "message": "m", "facts": {"hu": [1, 2]}}]
        assert (row.case_id, row.patient, row.part) == (None, None, None)

    def test_only_what_every_database_keeps_is_written(self) -> None:
        outcome = CaseOutcome(
            name="x" * 2000 + "/a\0\udcff.dcm",
            status=Status.REFUSED,
            message="a\0b",
            facts={"k\0": [float("nan"), float("inf"), 1.5, {"n": "\udcff"}]},
            unmatched_names=("\0",),
        )

        (row,) = case_rows(VERSION_ID, [outcome], None)

        assert row.name == "x" * (1024 - 8) + "/a\N{REPLACEMENT CHARACTER}?.dcm"
        assert row.message == "a\N{REPLACEMENT CHARACTER}b"
        assert row.facts == {"k\N{REPLACEMENT CHARACTER}": [None, None, 1.5, {"n": "?"}]}
        assert row.unmatched_names == ["\N{REPLACEMENT CHARACTER}"]
