"""`make audit`: what pip-audit says, and a clear word when it could not ask."""

from pathlib import Path

import pytest

from scripts.audit import main


def tool(tmp_path: Path, says: str, code: int) -> str:
    path = tmp_path / "pip-audit"
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(("says", "code"), [("No known vulnerabilities found", 0), ("CVE-1", 1)])
def test_findings_decide_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], says: str, code: int
) -> None:
    assert main(tool(tmp_path, says, code), ["a.txt", "b.txt"]) == code
    assert says in capsys.readouterr().out


def test_no_database_is_no_clean_bill(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(tool(tmp_path, "ConnectionError: no route", 1), ["a.txt"]) == 2
    assert "nothing is known" in capsys.readouterr().err
