"""What is shown with a hash is shown as it was hashed, in a second without a fraction, too."""

import datetime as dt
from uuid import uuid4

import pytest

from services.api.audit_entries.schemas import AuditEntryResponse
from services.api.removal import DeletionResponse
from services.core.actor import ActorKind, Role
from services.core.audit import Action, ResourceKind
from services.core.audit_chain import entry_sha256
from services.core.lifecycle import DeletionCause
from services.core.repositories.audit import exported
from services.core.repositories.deletions import deletion_record
from services.core.tables.audit import AuditEntry, Deletion

MOMENTS = [
    dt.datetime(2026, 11, 24, 8, 30, tzinfo=dt.UTC),
    dt.datetime(2026, 11, 24, 8, 30, 0, 104_000, tzinfo=dt.UTC),
    dt.datetime(2026, 11, 24, 8, 30, 0, 104_205, tzinfo=dt.UTC),
]


@pytest.mark.parametrize("moment", MOMENTS, ids=["second", "millisecond", "microsecond"])
def test_a_deletion(moment: dt.datetime) -> None:
    deletion = Deletion(
        id=uuid4(), resource_kind=ResourceKind.SERIES, resource_id=uuid4(),
        cause=DeletionCause.REQUESTED, actor_kind=ActorKind.API_KEY, actor_id="key:1",
        created_at=moment, completed_at=moment, folders=[], rows={"series": 1}, remaining={},
    )  # fmt: skip
    deletion.sha256 = entry_sha256(deletion_record(deletion))

    shown = DeletionResponse.of(deletion).model_dump(mode="json")

    assert entry_sha256({name: shown[name] for name in shown.keys() - {"links"}}) == shown["sha256"]


@pytest.mark.parametrize("moment", MOMENTS, ids=["second", "millisecond", "microsecond"])
def test_an_entry_of_the_trail(moment: dt.datetime) -> None:
    values = {
        "sequence": 1, "at": moment, "actor_kind": ActorKind.API_KEY, "actor_id": "key:1",
        "actor_name": "planning", "role": Role.SUBMITTER, "address": None, "correlation_id": None,
        "action": Action.RTSTRUCT_READ, "resource_kind": ResourceKind.CONTOUR_JOB,
        "resource_id": "1", "facts": {}, "previous_sha256": "0" * 64,
    }  # fmt: skip
    entry = AuditEntry(**values, sha256=entry_sha256(exported(values)))

    shown = AuditEntryResponse.model_validate(entry).model_dump(mode="json")

    assert entry_sha256(shown) == shown["sha256"]


def test_both_say_that_it_is_a_moment() -> None:
    at = AuditEntryResponse.model_json_schema(mode="serialization")["properties"]["at"]
    done = DeletionResponse.model_json_schema(mode="serialization")["properties"]["completed_at"]
    assert at["format"] == done["anyOf"][0]["format"] == "date-time"
