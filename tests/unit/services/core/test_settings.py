import typing
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from services.core import settings
from services.core.actor import Role
from services.core.settings import Device, Settings, load_settings

IT = {"it": "admin"}

SECRET_NAMES = [
    name
    for name, field in Settings.model_fields.items()
    if SecretStr in (field.annotation, *typing.get_args(field.annotation))
]


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
            {"upload_time_limit_seconds": 7200.0, "stale_upload_hours": 2.0},
            {"batch_size": 0},
            {"device": "abacus"},
            {"data_dir": 7},
            {"oidc_audience": "x"},
            {"oidc_issuer": "https://id.example"},
            {"oidc_issuer": "http://id.example", "oidc_audience": "x", "oidc_role_map": IT},
            {
                "oidc_issuer": "https://id.example",
                "oidc_audience": "x",
                "oidc_role_map": {"a": "b"},
            },
            {
                "oidc_issuer": "https://id.example",
                "oidc_audience": "x",
                "oidc_role_map": IT,
                "oidc_jwks_url": "file:///etc/passwd",
            },
            {"requests_per_minute": -1},
            {"trusted_proxies": "*"},
            {"trusted_proxies": ["*"]},
            {"trusted_proxies": ["0.0.0.0/0"]},
            {"trusted_proxies": ["::/0"]},
            {"trusted_proxies": ["proxy.hospital.example"]},
        ],
    )
    def test_values_that_do_not_fit_are_refused(self, values: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            Settings(**values)  # pyright: ignore[reportArgumentType] (wrong types on purpose)

    def test_roles_of_an_identity_provider_are_json(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CERVICONTOUR_OIDC_ISSUER", "https://id.example")
        monkeypatch.setenv("CERVICONTOUR_OIDC_AUDIENCE", "cervicontour")
        monkeypatch.setenv("CERVICONTOUR_OIDC_ROLE_MAP", '{"physicists": "reviewer"}')

        assert load_settings().oidc_role_map == {"physicists": Role.REVIEWER}

    def test_proxies_are_json(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CERVICONTOUR_TRUSTED_PROXIES", '["10.1.2.3", "fd00::/64"]')

        proxies = [str(network) for network in load_settings().trusted_proxies]
        assert proxies == ["10.1.2.3/32", "fd00::/64"]

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

    @pytest.mark.parametrize("name", SECRET_NAMES)
    def test_every_secret_comes_from_a_file_and_is_not_shown(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / f"cervicontour_{name}").write_text("scheme://the-password\n")
        monkeypatch.setenv("CERVICONTOUR_SECRETS_DIR", str(tmp_path))

        found = load_settings()

        assert getattr(found, name).get_secret_value() == "scheme://the-password"
        for shown in (repr(found), str(found), found.model_dump_json(), repr(found.model_dump())):
            assert "the-password" not in shown

    def test_an_error_does_not_show_what_was_given(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "cervicontour_database_url").write_text("scheme://the-password")
        monkeypatch.setenv("CERVICONTOUR_SECRETS_DIR", str(tmp_path))
        monkeypatch.setenv("CERVICONTOUR_LEASE_SECONDS", "1")

        with pytest.raises(ValidationError) as caught:
            load_settings()

        assert "the-password" not in str(caught.value)

    @pytest.mark.parametrize(("mode", "warnings"), [(0o400, 0), (0o440, 0), (0o444, 1), (0o602, 1)])
    def test_files_open_to_everybody_are_warned_about(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        mode: int,
        warnings: int,
    ) -> None:
        path = tmp_path / "cervicontour_broker_url"
        path.write_text("redis://:the-password@host")
        path.chmod(mode)
        monkeypatch.setenv("CERVICONTOUR_SECRETS_DIR", str(tmp_path))

        load_settings()

        assert len(caplog.records) == warnings
        assert all(str(path) in record.getMessage() for record in caplog.records)
        assert "the-password" not in caplog.text
