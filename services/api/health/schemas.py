"""How the API tells whether it works."""

import datetime as dt
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class LiveResponse(BaseModel):
    """The process answers."""

    status: str = Field(examples=["live"])
    software_version: str


class ReadyStatus(StrEnum):
    """Whether a job posted now would be contoured."""

    READY = "ready"
    NOT_READY = "not_ready"


class CheckResponse(BaseModel):
    """One thing the service needs."""

    ok: bool
    detail: str | None = Field(description="Null for who shows no credentials.")


class WorkerResponse(BaseModel):
    """A worker that reported itself lately."""

    model_config = ConfigDict(
        from_attributes=True,
        protected_namespaces=(),  # model_version is the domain's word, not pydantic's
    )

    name: str
    queue: str
    device: str
    software_version: str
    weights_loaded: bool
    model_version: str | None
    weights_sha256: str | None
    seen_at: dt.datetime


class ReadyResponse(BaseModel):
    """Every dependency, and whether all of them are well."""

    status: ReadyStatus
    checks: dict[str, CheckResponse] = Field(
        description="database, broker, storage, inference_worker and weights; private_keys where "
        "series are de-identified."
    )
    workers: list[WorkerResponse] | None = Field(description="Null for who shows no credentials.")
