"""The operator's command line on a database of its own."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from services.admin.main import cli
from services.core.api_keys import draw_key, is_key, key_sha256
from services.core.database import create_database_engine, create_sessions, utc_now
from services.core.repositories.api_keys import ApiKeyRepository
from services.core.tables.access import ApiKey

Run = Callable[..., Result]


@pytest.fixture
def data_dir(tmp_path: Path, migrated_file: Path) -> Path:
    shutil.copy(migrated_file, tmp_path / "cervicontour.sqlite")
    return tmp_path


@pytest.fixture
def run(data_dir: Path) -> Run:
    def run(*arguments: object) -> Result:
        variables = {"CERVICONTOUR_DATA_DIR": str(data_dir)}
        return CliRunner().invoke(cli, ["key", *(str(a) for a in arguments)], env=variables)

    return run


def rows(data_dir: Path) -> list[ApiKey]:
    engine = create_database_engine(f"sqlite:///{data_dir / 'cervicontour.sqlite'}")
    with create_sessions(engine)() as session:
        found = ApiKeyRepository(session, utc_now).page(100)
    engine.dispose()
    return found


def expire(data_dir: Path) -> None:
    """Have every key be over."""
    engine = create_database_engine(f"sqlite:///{data_dir / 'cervicontour.sqlite'}")
    with create_sessions(engine).begin() as session:
        session.execute(sa.update(ApiKey).values(expires_at=utc_now()))
    engine.dispose()


class TestCreate:
    def test_the_key_alone_is_on_stdout(self, run: Run, data_dir: Path) -> None:
        result = run("create", "--name", "operators", "--role", "admin")
        assert result.exit_code == 0, result.output
        key = result.stdout.strip()
        assert is_key(key)
        (row,) = rows(data_dir)
        assert (row.key_sha256, row.created_by, row.name) == (
            key_sha256(key), "system", "operators",
        )  # fmt: skip
        assert row.expires_at is not None
        assert key not in result.stderr

    def test_a_key_may_last(self, run: Run, data_dir: Path) -> None:
        run("create", "--name", "x", "--role", "monitor", "--never-expires")
        assert rows(data_dir)[0].expires_at is None

    def test_a_file_of_ones_own(self, run: Run, data_dir: Path) -> None:
        path = data_dir / "key"
        result = run("create", "--name", "x", "--role", "monitor", "--file", path)
        key = path.read_text().strip()
        assert is_key(key)
        assert path.stat().st_mode & 0o777 == 0o600
        assert key not in result.output

    def test_a_file_that_is_there_is_not_touched_and_no_key_made(
        self, run: Run, data_dir: Path
    ) -> None:
        path = data_dir / "key"
        path.write_text("mine")
        result = run("create", "--name", "x", "--role", "monitor", "--file", path)
        assert result.exit_code == 1
        assert path.read_text() == "mine"
        assert rows(data_dir) == []

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--name", "x"], ["--role", "admin"], ["--name", " ", "--role", "admin"],
            ["--name", "\N{RIGHT-TO-LEFT OVERRIDE}x", "--role", "admin"],
            ["--name", "x" * 81, "--role", "admin"], ["--name", "a\nb", "--role", "admin"],
            ["--name", "x", "--role", "root"],
            ["--name", "x", "--role", "admin", "--days", 0],
            ["--name", "x", "--role", "admin", "--days", 5, "--never-expires"],
        ],
        ids=str,
    )  # fmt: skip
    def test_wrong_usage(self, run: Run, data_dir: Path, arguments: list[object]) -> None:
        assert run("create", *arguments).exit_code == 2
        assert rows(data_dir) == []


class TestLife:
    def test_keys_are_listed_renewed_and_revoked(self, run: Run, data_dir: Path) -> None:
        run("create", "--name", "pacs", "--role", "submitter", "--days", 3)
        (old,) = rows(data_dir)
        assert run("renew", old.id).exit_code == 0
        assert run("revoke", old.id).exit_code == 0
        lines = run("list").stdout.splitlines()
        assert len(lines) == 2
        assert "expires" in lines[0]
        assert "revoked" in lines[1]
        assert all("pacs" in line and "submitter" in line for line in lines)
        assert len({row.client_id for row in rows(data_dir)}) == 1

    def test_an_unknown_key(self, run: Run) -> None:
        result = run("revoke", "7d7b3f86-5f0a-4a1c-a3c3-6a6b0b6f9f10")
        assert result.exit_code == 1
        assert "api_key_not_found" in result.stderr


class TestImport:
    def test_again_changes_nothing(self, run: Run, data_dir: Path) -> None:
        key = draw_key()
        (data_dir / "secret").write_text(f"{key}\n")
        arguments = ["--name", "prometheus", "--role", "monitor", "--file", data_dir / "secret"]
        results = [run("import", *arguments) for _ in range(2)]
        assert [result.exit_code for result in results] == [0, 0]
        (row,) = rows(data_dir)
        assert (row.key_sha256, row.expires_at) == (key_sha256(key), None)
        assert not any(key in result.output for result in results)

    def test_a_revoked_key_does_not_come_back(self, run: Run, data_dir: Path) -> None:
        (data_dir / "secret").write_text(draw_key())
        arguments = ["--name", "prometheus", "--role", "monitor", "--file", data_dir / "secret"]
        run("import", *arguments)
        run("revoke", rows(data_dir)[0].id)
        result = run("import", *arguments)
        assert (result.exit_code, "key_known" in result.stderr) == (1, True)

    def test_another_role_is_no_repetition(self, run: Run, data_dir: Path) -> None:
        (data_dir / "secret").write_text(draw_key())
        run("import", "--name", "x", "--role", "monitor", "--file", data_dir / "secret")
        result = run("import", "--name", "x", "--role", "admin", "--file", data_dir / "secret")
        assert (result.exit_code, "key_known" in result.stderr) == (1, True)

    def test_a_key_that_is_over_is_not_said_to_let_in(self, run: Run, data_dir: Path) -> None:
        arguments = ["--name", "pacs", "--role", "submitter", "--file", data_dir / "secret"]
        run("create", *arguments, "--days", 1)
        assert run("import", *arguments).exit_code == 0
        assert rows(data_dir)[0].expires_at is not None  # it is no other key than it was
        expire(data_dir)
        result = run("import", *arguments)
        assert (result.exit_code, "key_expired" in result.stderr) == (1, True)
        assert str(rows(data_dir)[0].id) in result.stderr  # what to renew

    @pytest.mark.parametrize(
        "text",
        ["", "password", "cck_short", draw_key() + "\n" + draw_key()],
        ids=["nothing", "a word", "too short", "two keys"],
    )
    def test_what_is_no_key(self, run: Run, data_dir: Path, text: str) -> None:
        (data_dir / "secret").write_text(text)
        result = run("import", "--name", "x", "--role", "admin", "--file", data_dir / "secret")
        assert (result.exit_code, "not_a_key" in result.stderr) == (1, True)
        assert rows(data_dir) == []


def test_a_database_without_tables_is_one_line(tmp_path: Path) -> None:
    variables = {"CERVICONTOUR_DATA_DIR": str(tmp_path)}
    result = CliRunner().invoke(cli, ["key", "list"], env=variables)
    assert result.exit_code == 1
    assert "migrated" in result.stderr
