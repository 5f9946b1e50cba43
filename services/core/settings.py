"""Every knob of the deployment, read once by a composition root and passed on."""

import logging
import os
import stat
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    Field,
    IPvAnyNetwork,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

from services.core.actor import Role
from services.core.addresses import is_safe_address

SECRETS_DIR_VARIABLE = "CERVICONTOUR_SECRETS_DIR"
"""Environment variable with the folder of secret files, one a setting, named like its variable."""

DEFAULT_SECRETS_DIR = Path("/run/secrets")
"""Where Docker and Compose mount secrets."""

MEBIBYTE = 1024 * 1024

EVERYBODY = stat.S_IROTH | stat.S_IWOTH
"""Permissions that no secret file should give."""

log = logging.getLogger(__name__)  # the standard library's: nothing is set up before settings are


class Device(StrEnum):
    """What the network runs on."""

    CPU = "cpu"
    CUDA = "cuda"


class LogLevel(StrEnum):
    """Least severe log line that is written."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"


def _default_database_url(values: dict[str, Any]) -> SecretStr:  # Any: fields validated so far
    return SecretStr(f"sqlite+pysqlite:///{_data_dir(values) / 'cervicontour.sqlite'}")


def _data_dir(values: dict[str, Any]) -> Path:  # Any: fields validated so far
    # A data_dir that failed validation is absent here; its own error is what gets reported.
    return values.get("data_dir", Path())


def _not_everybody(network: IPvAnyNetwork) -> IPvAnyNetwork:
    if network.prefixlen == 0:
        raise ValueError("whoever trusts every address believes whatever a client says of its own")
    return network


class Settings(BaseSettings):
    """Settings of API and workers, from CERVICONTOUR_* variables and secret files."""

    model_config = SettingsConfigDict(
        env_prefix="CERVICONTOUR_",
        frozen=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,  # the addresses hold passwords, and errors end up in logs
    )

    data_dir: Annotated[Path, AfterValidator(Path.absolute)] = Path("var")
    """Folder of uploads, results and, on the embedded default, database and messages; API and
    workers must see the same one."""
    database_url: SecretStr = Field(default_factory=_default_database_url)
    """SQLAlchemy address; PostgreSQL (postgresql+psycopg://) in production, SQLite by default."""
    broker_url: SecretStr = SecretStr("filesystem://")
    """Celery broker; redis:// in production, a folder under data_dir by default."""
    log_level: LogLevel = LogLevel.INFO
    """Least severe log line that is written."""
    datasets_dir: Annotated[Path, AfterValidator(Path.absolute)] | None = None
    """Folder below which folders of cases may be registered as datasets, read only; mounted into
    API and workers at the same place. Without it cases come by upload alone."""

    weights_path: Path | None = None
    """Checkpoint that contours (.safetensors, card beside it); the packaged demo without it."""
    device: Device = Device.CPU
    """What the network runs on; a worker with cuda and no GPU refuses to start."""
    batch_size: PositiveInt = 8
    """Slices in one pass through the network; bounds the memory of a job."""
    thread_count: PositiveInt | None = None
    """CPU threads of one worker's network; every core without it."""

    max_body_bytes: PositiveInt = MEBIBYTE
    """Bytes of a request body that is no upload; a review of every slice of four structures has
    100 KB."""
    body_idle_seconds: PositiveFloat = 30.0
    """A sender of such a body that sends nothing for so long, or then less than 1 KiB a second, is
    answered body_timeout."""

    deidentify_stored_series: bool = False
    """Whether CT series are stored without their patient (PS3.15 basic profile), and RTSTRUCTs
    linked back for the sender. Off by default: answers then show the UIDs that people look for,
    and no result depends on the keys in private/, which must be backed up once this is on."""

    max_upload_bytes: PositiveInt = 2048 * MEBIBYTE
    """Bytes of one upload as sent; a 1000-slice CT of 512 x 512 is 525 MB."""
    max_files: PositiveInt = 3000
    """Files in one upload; above any planning CT."""
    max_file_bytes: PositiveInt = 64 * MEBIBYTE
    """Bytes of one unpacked file; a CT slice of 2048 x 2048 is 8 MB."""
    max_unpacked_bytes: PositiveInt = 4096 * MEBIBYTE
    """Bytes of all unpacked files of one upload; stops zip bombs."""
    max_model_bytes: PositiveInt = 1024 * MEBIBYTE
    """Bytes of an imported model version, as sent and unpacked; the largest network has 147 MB."""

    max_dataset_upload_bytes: PositiveInt = 32 * 1024 * MEBIBYTE
    """Bytes of one upload of cases to a dataset as sent; 200 cases of 150 slices are 16 GB."""
    max_dataset_files: PositiveInt = 100_000
    """Files in one upload of cases."""
    max_dataset_unpacked_bytes: PositiveInt = 64 * 1024 * MEBIBYTE
    """Bytes of all unpacked files of one upload of cases; the disk needs room for both."""

    api_key_days: PositiveInt = 365
    """How long a new API key is valid when nobody says otherwise."""
    oidc_issuer: str | None = None
    """Issuer of bearer tokens, as they name it; https, or http on this machine. Without it API keys
    alone let clients in."""
    oidc_audience: str | None = None
    """Audience that a token must name: this service as the identity provider knows it."""
    oidc_jwks_url: str | None = None
    """Address of the issuer's public keys; its discovery document tells it otherwise."""
    oidc_roles_claim: str = "roles"
    """Claim with a user's roles, a text or a list of texts; dots lead into nested claims, as in
    realm_access.roles."""
    oidc_role_map: dict[str, Role] = Field(default_factory=dict[str, Role])
    """From values of that claim to submitter, reviewer, admin or monitor, as json. Other values
    mean nothing; of several the one that may do most counts."""
    requests_per_minute: NonNegativeInt = 6000
    """Of one client; a minute's worth may come at once, 0 for no limit. Each API process counts for
    itself. A client that watches a job asks 60 to 200 times a minute."""
    failed_logins_per_minute: NonNegativeInt = 60
    """Credentials that may be tried and refused from one address (one /64 network of IPv6) before
    others from there have to wait; 0 for no limit. Each API process counts for itself. Behind a
    proxy all clients have its address unless trusted_proxies names it."""
    trusted_proxies: tuple[Annotated[IPvAnyNetwork, AfterValidator(_not_everybody)], ...] = ()
    """Addresses or networks of the hospital's own proxies as json, such as ["10.1.2.3"]. Of a
    connection from there the client's address is what its X-Forwarded-For says; from anywhere else
    that header counts for nothing. Not the whole network of the clients: each could name any
    address. Start uvicorn with --no-proxy-headers, as the image does: it believes every program of
    its own machine otherwise."""
    max_concurrent_uploads: NonNegativeInt = 16
    """Uploads of one client under way at a time; 0 for no limit. Each API process counts for
    itself."""

    parse_time_limit_seconds: PositiveFloat = 30.0
    """An upload that is unpacked and parsed for longer is refused as parse_time_limit; one of many
    bytes has a second more for every 2 MiB it was sent in."""
    max_parse_memory_bytes: PositiveInt = 1024 * MEBIBYTE
    """Memory of one process that unpacks and parses uploads (three are kept, a fourth with
    deidentify_stored_series), beyond the 100 MB that it starts with; an upload that needs more is
    refused as parse_failed."""

    lease_seconds: PositiveFloat = 60.0
    """A job whose worker was silent this long goes to another worker."""
    heartbeat_seconds: PositiveFloat = 1.0
    """How often a job in work writes its progress, extends its lease and looks for a cancel."""
    sweep_seconds: PositiveFloat = 5.0
    """How often a worker reports itself, re-sends lost messages and takes over lost jobs."""
    resend_seconds: PositiveFloat = 60.0
    """A queued job whose message is this old is sent again."""
    alive_file: Path | None = None
    """File that a worker touches every sweep_seconds, for a health check that costs nothing: asking
    a worker through the broker starts another Python each time."""
    worker_silent_seconds: PositiveFloat = 30.0
    """A worker that reported itself longer ago than this counts as gone."""
    max_attempts: PositiveInt = 3
    """Starts of one job before it fails as worker_lost; stops jobs that kill their worker."""
    job_time_limit_seconds: PositiveInt = 1800
    """A job that takes longer fails as time_limit."""
    job_kill_grace_seconds: PositiveInt = 60
    """After its time limit a job has this long to end by itself before its process is killed."""
    data_time_limit_seconds: PositiveInt = 6 * 3600
    """Work on datasets, comparisons and reports that takes longer fails as time_limit."""
    visibility_timeout_seconds: PositiveInt = 12 * 3600
    """Redis delivers a message again that was not acknowledged for so long; a training that takes
    longer is found under way and the message dropped."""
    jobs_per_process: PositiveInt = 100
    """Jobs after which a worker renews its process; bounds what native libraries may leak."""
    retention_seconds: PositiveFloat = 60.0
    """How often a worker looks for files to remove."""

    edited_retention_days: PositiveFloat = 365.0
    """Edited RTSTRUCTs, and the series they belong to, are removed this long after their upload;
    what was collected into a dataset by then stays there."""
    result_retention_days: PositiveFloat = 30.0
    """Uploads and results are removed this long after the job ended; rows stay."""
    unused_series_retention_days: PositiveFloat = 7.0
    """A series that no job was ever asked for is removed this long after it was
    last posted."""
    idempotency_retention_hours: PositiveFloat = 24.0
    """How long an Idempotency-Key replays the first answer."""
    stale_upload_hours: PositiveFloat = 6.0
    """Files nobody refers to are removed at this age; longer than any upload takes."""
    upload_idle_seconds: PositiveFloat = 60.0
    """An upload of which nothing came for so long is refused as upload_stalled."""
    upload_time_limit_seconds: PositiveFloat = 5 * 3600.0
    """An upload that takes longer is refused as upload_stalled; below stale_upload_hours."""

    @model_validator(mode="after")
    def _issuer_is_complete(self) -> Self:
        if self.oidc_issuer is None:
            if self.oidc_audience or self.oidc_jwks_url or self.oidc_role_map:
                raise ValueError("oidc_issuer must be given with the other settings of oidc")
            return self
        if not self.oidc_audience or not self.oidc_role_map:
            raise ValueError("oidc_issuer needs oidc_audience and oidc_role_map")
        for url in (self.oidc_issuer, self.oidc_jwks_url):
            if url is not None and not is_safe_address(url):
                raise ValueError("oidc_issuer and oidc_jwks_url are https, or on this machine")
        return self

    @model_validator(mode="after")
    def _times_fit_together(self) -> Self:
        if self.heartbeat_seconds * 3 > self.lease_seconds:
            raise ValueError("lease_seconds must be at least three times heartbeat_seconds")
        if self.sweep_seconds * 2 > self.worker_silent_seconds:
            raise ValueError("worker_silent_seconds must be at least twice sweep_seconds")
        if self.upload_time_limit_seconds >= self.stale_upload_hours * 3600:
            raise ValueError("upload_time_limit_seconds must be below stale_upload_hours")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (no .env files)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (the folder is only known at run time)
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments, then variables, then secret files."""
        secrets = SecretsSettingsSource(settings_cls, secrets_dir=_secrets_dir())
        return init_settings, env_settings, secrets

    @property
    def broker_dir(self) -> Path:
        """Folder of messages when the broker is filesystem://."""
        return self.data_dir / "broker"


def load_settings() -> Settings:
    """Read the settings of this process; a variable wins over a secret file.

    Raises:
        pydantic.ValidationError: a value that does not fit, or a secrets folder that is no folder.
    """
    _warn_of_open_files(_secrets_dir())
    return Settings()


def _warn_of_open_files(folder: Path | None) -> None:
    prefix = str(Settings.model_config.get("env_prefix", "")).lower()
    if folder is None or not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.name.lower().startswith(prefix) and path.stat().st_mode & EVERYBODY:
            log.warning("everybody on this machine may read or change the secret file %s", path)


def _secrets_dir() -> Path | None:
    named = os.environ.get(SECRETS_DIR_VARIABLE)
    if named is not None:
        return Path(named)
    return DEFAULT_SECRETS_DIR if DEFAULT_SECRETS_DIR.is_dir() else None
