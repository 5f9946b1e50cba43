from pathlib import Path

import pytest
from pydantic import ValidationError

from services.core import settings
from services.core.settings import Device, Settings, load_settings


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(settings.os.environ):
        if name.startswith("CERVICONTOUR_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(settings, "DEFAULT_SECRETS_DIR", tmp_path / "absent")


class TestSettings:
    def test_defaults_need_no_server(self, tmp_path: Path) -> None:
        found = Settings(data_dir=tmp_path)

        assert found.database_url.get_secret_value() == (
            f"sqlite+pysqlite:///{tmp_path}/cervicontour.sqlite"
        )
        assert found.broker_url.get_secret_value() == "filesystem://"
        assert found.broker_dir == tmp_path / "broker"

    def test_data_dir_becomes_absolute(self) -> None:
        assert Settings(data_dir=Path("var")).data_dir == Path.cwd() / "var"

    def test_variables_are_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CERVICONTOUR_DEVICE", "cuda")

        assert load_settings().device is Device.CUDA

    def test_values_never_change(self) -> None:
        with pytest.raises(ValidationError):
            Settings().batch_size = 1

    def test_addresses_are_not_printed(self) -> None:
        assert "sqlite" not in repr(Settings())

    @pytest.mark.parametrize(
        "values",
        [
            {"lease_seconds": 2.0, "heartbeat_seconds": 1.0},
            {"sweep_seconds": 20.0, "worker_silent_seconds": 30.0},
            {"batch_size": 0},
            {"device": "abacus"},
            {"data_dir": 7},
        ],
    )
    def test_values_that_do_not_fit_are_refused(self, values: dict[str, float]) -> None:
        with pytest.raises(ValidationError):
            Settings(**values)  # pyright: ignore[reportArgumentType] (wrong types on purpose)

    def test_every_field_explains_itself(self) -> None:
        assert all(field.description for field in Settings.model_fields.values())


class TestSecrets:
    def test_a_secret_file_gives_a_value(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "cervicontour_database_url").write_text("postgresql+psycopg://x\n")
        monkeypatch.setenv("CERVICONTOUR_SECRETS_DIR", str(tmp_path))

        assert load_settings().database_url.get_secret_value() == "postgresql+psycopg://x"

    def test_the_mounted_folder_is_found(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "cervicontour_broker_url").write_text("redis://x")
        monkeypatch.setattr(settings, "DEFAULT_SECRETS_DIR", tmp_path)

        assert load_settings().broker_url.get_secret_value() == "redis://x"

    def test_a_variable_wins_over_a_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "cervicontour_broker_url").write_text("redis://file")
        monkeypatch.setenv("CERVICONTOUR_SECRETS_DIR", str(tmp_path))
        monkeypatch.setenv("CERVICONTOUR_BROKER_URL", "redis://variable")

        assert load_settings().broker_url.get_secret_value() == "redis://variable"
