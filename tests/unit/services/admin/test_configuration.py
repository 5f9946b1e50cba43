from pathlib import Path

from click.testing import CliRunner

from services.admin.configuration import is_secret, reference
from services.admin.main import cli
from services.core.settings import Settings

DOCUMENT = Path(__file__).parents[4] / "docs" / "configuration.md"


def test_the_document_is_current() -> None:
    assert DOCUMENT.read_text() == reference(), "cervicontour-admin configuration > docs/..."


def test_the_command_prints_it() -> None:
    assert CliRunner().invoke(cli, ["configuration"]).output == reference()


def test_every_setting_has_its_variable_type_default_and_meaning() -> None:
    entries = reference().split("\n## ")[1:]

    assert len(entries) == len(Settings.model_fields)
    for entry, (name, field) in zip(entries, Settings.model_fields.items(), strict=True):
        assert entry.startswith(f"`CERVICONTOUR_{name.upper()}`\n")
        assert "; default: " in entry
        assert ("*secret*, file `" in entry) is is_secret(field)
