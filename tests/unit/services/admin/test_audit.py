"""The operator learns whether the trail is whole, from the database and from an export."""

import json
import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from services.admin.audit import group
from services.core.audit import Action, ResourceKind
from services.core.audit_chain import NO_SHA256
from services.core.database import create_database_engine, create_sessions
from services.core.unit_of_work import UnitOfWork
from tests.fakes import FakeJobQueue


@pytest.fixture
def engine(migrated_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> sa.Engine:
    url = f"sqlite:///{tmp_path / 'trail.sqlite'}"
    shutil.copy(migrated_file, tmp_path / "trail.sqlite")
    monkeypatch.setenv("CERVICONTOUR_DATABASE_URL", url)
    engine = create_database_engine(url)
    uow = UnitOfWork(create_sessions(engine), FakeJobQueue())
    for number in range(3):
        with uow:
            uow.audit.record(Action.SERIES_SUBMITTED, ResourceKind.SERIES, f"s-{number}")
            uow.commit()
    return engine


@pytest.fixture
def export(engine: sa.Engine, tmp_path: Path) -> Path:
    uow = UnitOfWork(create_sessions(engine), FakeJobQueue())
    with uow:
        lines = [json.dumps(entry) + "\n" for entry in uow.audit.slice(1, 3)]
    (tmp_path / "export.jsonl").write_text("".join(lines))
    return tmp_path / "export.jsonl"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(group, arguments)


def tamper(engine: sa.Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for table in ("audit_entry", "audit_head"):
            for event in ("update", "delete"):
                connection.execute(sa.text(f"DROP TRIGGER {table}_refuses_{event}"))
        for statement in statements:
            connection.execute(sa.text(statement))


class TestDatabase:
    def test_a_whole_trail_and_its_head(self, engine: sa.Engine) -> None:
        head = run("head").output.strip()

        result = run("verify", "--expect-head", head)

        assert (result.exit_code, result.output) == (0, f"whole: 3 entries, head {head}\n")

    @pytest.mark.parametrize(
        ("statement", "answer"),
        [
            ("UPDATE audit_entry SET actor_name = 'x' WHERE sequence = 2", "changed at entry 2"),
            ("DELETE FROM audit_entry WHERE sequence = 2", "missing at entry 2"),
            ("DELETE FROM audit_entry WHERE sequence = 3", "truncated at entry 3"),
            ("DELETE FROM audit_entry", "truncated at entry 1"),
        ],
    )
    def test_what_was_done_to_it(self, engine: sa.Engine, statement: str, answer: str) -> None:
        tamper(engine, statement)

        result = run("verify")

        assert result.exit_code == 1
        assert result.output.startswith(answer)

    def test_a_new_one_has_no_entries(self, engine: sa.Engine) -> None:
        tamper(
            engine,
            f"UPDATE audit_head SET sequence = 0, sha256 = '{NO_SHA256}'",
            "DELETE FROM audit_entry",
        )

        result = run("verify")

        assert (result.exit_code, result.output) == (0, "there are no entries\n")

    def test_an_end_cut_off_with_the_head_shows_by_what_was_written_down(
        self, engine: sa.Engine
    ) -> None:
        head = run("head").output.strip()
        tamper(
            engine,
            "UPDATE audit_head SET sequence = 2,"
            " sha256 = (SELECT sha256 FROM audit_entry WHERE sequence = 2)",
            "DELETE FROM audit_entry WHERE sequence = 3",
        )

        assert run("verify").exit_code == 0
        assert run("verify", "--expect-head", head).output.startswith("truncated at entry 3")


class TestFile:
    def test_a_whole_one(self, export: Path) -> None:
        head = run("head").output.strip()

        result = run("verify", "--file", str(export), "--expect-head", head)

        assert (result.exit_code, result.output) == (0, f"whole: 3 entries, head {head}\n")

    def test_the_end_of_one(self, export: Path) -> None:
        export.write_text("".join(export.read_text().splitlines(keepends=True)[1:]))

        assert run("verify", "--file", str(export)).output.startswith("whole: 2 entries from 2 on")

    def test_a_changed_one(self, export: Path) -> None:
        export.write_text(export.read_text().replace("s-1", "s-9"))

        result = run("verify", "--file", str(export))

        assert (result.exit_code, result.output[:18]) == (1, "changed at entry 2")

    def test_damage_is_told_without_a_traceback(self, export: Path) -> None:
        first, *others = export.read_bytes().splitlines(keepends=True)
        for damaged in (
            b"\xff" * 9,
            b"[" * 100_000,
            others[0].replace(b"{", b'{"action": "x",', 1),
        ):
            export.write_bytes(first + damaged + b"\n")

            result = run("verify", "--file", str(export))

            assert (result.exit_code, result.output[:21]) == (1, "unreadable at entry 2")

    def test_one_without_entries_is_no_export(self, export: Path) -> None:
        head = run("head").output.strip()
        export.write_text("\n")

        alone = run("verify", "--file", str(export))
        expected = run("verify", "--file", str(export), "--expect-head", head)

        assert (alone.exit_code, alone.output) == (1, "there are no entries\n")
        assert expected.exit_code == 1
        assert expected.output.startswith("truncated at entry 1")

    def test_a_head_is_a_number_and_a_hash(self, export: Path) -> None:
        assert run("verify", "--file", str(export), "--expect-head", "3:abc").exit_code == 2
