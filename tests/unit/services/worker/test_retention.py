"""Every kind of files has a retention that somebody decided, and the documentation tells it."""

from pathlib import Path

import pytest

from services.core.settings import Settings
from services.core.storage import StoredKind
from services.worker.clearing import NEEDED_AMONG
from services.worker.retention import OTHER_RETENTION, RETENTION, retention_table

DOCUMENT = Path(__file__).parents[4] / "docs" / "retention.md"


@pytest.mark.parametrize("kind", StoredKind)
def test_every_kind_has_a_decision(kind):
    assert kind in RETENTION
    assert RETENTION[kind].reason


@pytest.mark.parametrize("kind", StoredKind)
def test_files_of_every_kind_are_looked_through(kind):
    assert kind in NEEDED_AMONG


def test_settings_that_are_named_exist():
    named = {kept.setting for kept in (*RETENTION.values(), *OTHER_RETENTION.values())}
    assert named - {None} <= Settings.model_fields.keys()


def test_the_documentation_shows_the_same_table():
    assert retention_table() in DOCUMENT.read_text()
