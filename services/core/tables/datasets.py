"""Cases to learn from: where they come from, and versions of them that never change."""

import datetime as dt
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from services.core.database import JSON_TYPE, Base, UtcDateTime, text_enum
from services.core.lifecycle import CasePart, CaseStatus, DatasetSourceKind
from services.core.tables.leased import Json, Leased, Sha256, lease_indexes


class Dataset(Base):
    """A collection of cases under a name; its versions are what trains."""

    __tablename__ = "dataset"
    __table_args__ = (sa.Index(None, "created_at", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    name: Mapped[str] = mapped_column(sa.String(80), unique=True)
    mapping: Mapped[Json] = mapped_column(JSON_TYPE, default=dict)
    """Names of structures, as a mapping file has them; applied by the next version."""
    created_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    purged_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    """When it was deleted; the row stays for the experiments on its versions."""


class DatasetSource(Base):
    """Files that a dataset's next version is read from."""

    __tablename__ = "dataset_source"
    __table_args__ = (sa.UniqueConstraint("dataset_id", "kind", "content"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    """Also the key of uploaded files in storage."""
    dataset_id: Mapped[UUID] = mapped_column(sa.ForeignKey("dataset.id"), index=True)
    kind: Mapped[DatasetSourceKind] = mapped_column(text_enum(DatasetSourceKind))
    content: Mapped[str] = mapped_column(sa.String(255))
    """Path below the mounted folder, sha256 of an upload, or id of an edited RTSTRUCT."""
    file_count: Mapped[int | None]
    """Of an upload."""
    byte_count: Mapped[int | None] = mapped_column(sa.BigInteger)
    created_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)


class DatasetVersion(Leased):
    """The cases of a dataset as they were read once; indexed by a worker, then frozen."""

    __tablename__ = "dataset_version"
    __table_args__ = (*lease_indexes(), sa.UniqueConstraint("dataset_id", "number"))

    dataset_id: Mapped[UUID] = mapped_column(sa.ForeignKey("dataset.id"), index=True)
    number: Mapped[int]
    """From 1, in the dataset."""
    request: Mapped[Json] = mapped_column(JSON_TYPE)
    """How it was to be read: sources, mapping, split, what is allowed."""
    content_sha256: Mapped[str | None] = mapped_column(Sha256)
    """Of cases, structure set and split; equal for equal content."""
    structure_set: Mapped[str] = mapped_column(sa.String(32))
    facts: Mapped[Json | None] = mapped_column(JSON_TYPE)
    """Patients, cases and slices of every part; cases of every structure; what is lacking."""
    case_count: Mapped[int | None]
    refused_count: Mapped[int | None]
    purged_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    """When its files were removed."""


class DatasetCase(Base):
    """What became of one candidate of a dataset version."""

    __tablename__ = "dataset_case"

    version_id: Mapped[UUID] = mapped_column(sa.ForeignKey("dataset_version.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    """In the order of reading, from 0."""
    name: Mapped[str] = mapped_column(sa.String(1024))
    """Where it was found, as the sender named it; may name a patient and is never logged."""
    status: Mapped[CaseStatus] = mapped_column(text_enum(CaseStatus))
    case_id: Mapped[str | None] = mapped_column(sa.String(128))
    patient: Mapped[str | None] = mapped_column(sa.String(128))
    """Pseudonym."""
    part: Mapped[CasePart | None] = mapped_column(text_enum(CasePart))
    code: Mapped[str | None] = mapped_column(sa.String(64))
    """Why it was refused."""
    message: Mapped[str | None] = mapped_column(sa.Text)
    facts: Mapped[Json] = mapped_column(JSON_TYPE, default=dict)
    """Of the refusal, or slices and volumes of the case."""
    notes: Mapped[list[Json]] = mapped_column(JSON_TYPE, default=list)
    """What was assumed of an imported case."""
    unmatched_names: Mapped[list[str]] = mapped_column(JSON_TYPE, default=list)
    """Names of regions that mean no structure."""
