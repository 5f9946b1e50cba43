"""Datasets as the API shows them."""

import datetime as dt
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from services.api.datasets.service import AddedCases, AddedSources, ListedDataset, ShownDataset
from services.api.mappings import MappingBody
from services.core.lifecycle import DatasetSourceKind, JobState
from services.core.mounted_folders import MAX_PATH_BYTES
from services.core.tables.datasets import Dataset, DatasetSource, DatasetVersion

MAX_NAMED_RTSTRUCTS = 1000
"""Edited RTSTRUCTs that one request may name; all of them need no names."""

DatasetName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9._ -]{0,78}[A-Za-z0-9._-])?$",
        description="Letters, digits, dots, lines and spaces; no other dataset's.",
        examples=["Cervix 2026"],
    ),
]
FolderPath = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_PATH_BYTES,
        description="Path below the folder that is mounted for datasets; read, never written.",
        examples=["clinic-a/2025"],
    ),
]

_ID = "6f1c8f64-19a5-4a7a-9d3f-3c1f4b7d2f10"
_VERSION_ID = "0a9b5d4e-7a2f-4c7e-8f52-8a1d6c3b9e21"
_MAPPING: JsonDict = {
    "ignore": ["PTV"],
    "patient_pattern": None,
    "structures": {"Bladder": ["Blase"]},
    "labels": {},
}
_SOURCE: JsonDict = {
    "id": "9d1f2f5e-6a35-4a54-8a55-0d6f2a1b7c33",
    "kind": "folder",
    "content": "clinic-a/2025",
    "file_count": None,
    "byte_count": None,
    "created_at": "2026-11-24T08:30:00Z",
}
_EXAMPLE: JsonDict = {
    "id": _ID,
    "name": "Cervix 2026",
    "mapping": _MAPPING,
    "created_at": "2026-11-24T08:30:00Z",
    "source_counts": {"folder": 1},
    "sources": [_SOURCE],
    "versions": [
        {
            "id": _VERSION_ID,
            "number": 1,
            "state": "succeeded",
            "case_count": 156,
            "refused_count": 3,
            "created_at": "2026-11-24T08:31:00Z",
            "href": f"/v1/dataset-versions/{_VERSION_ID}",
        }
    ],
    "links": {
        "self": f"/v1/datasets/{_ID}",
        "versions": f"/v1/datasets/{_ID}/versions",
    },
}


class DatasetRequest(BaseModel):
    """A dataset to make."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "Cervix 2026", "folder": "clinic-a/2025"}]},
    )

    name: DatasetName
    folder: FolderPath | None = None
    mapping: MappingBody = Field(default_factory=dict)


class FolderRequest(BaseModel):
    """A further folder with cases."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"folder": "clinic-b"}]}
    )

    folder: FolderPath


class EditedRtstructsRequest(BaseModel):
    """Contours that clinicians corrected."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{}]})

    edited_rtstruct_ids: Annotated[
        list[UUID] | None,
        Field(
            min_length=1,
            max_length=MAX_NAMED_RTSTRUCTS,
            description="None given: all that were compared and are no sources yet.",
        ),
    ] = None


class DatasetSourceResponse(BaseModel):
    """Where cases come from."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SOURCE]})

    id: UUID
    kind: DatasetSourceKind
    content: str = Field(
        description="Path below the mounted folder, SHA-256 of an upload's files, or id of an "
        "edited RTSTRUCT."
    )
    file_count: int | None = Field(description="Of an upload.")
    byte_count: int | None
    created_at: dt.datetime

    @classmethod
    def of(cls, source: DatasetSource) -> Self:
        """Show a row."""
        return cls.model_validate(_columns(source, cls))


class VersionSummary(BaseModel):
    """A version of a dataset in short."""

    id: UUID
    number: int
    state: JobState
    case_count: int | None
    refused_count: int | None
    created_at: dt.datetime
    href: str

    @classmethod
    def of(cls, version: DatasetVersion) -> Self:
        """Show a row."""
        href = f"/v1/dataset-versions/{version.id}"
        return cls.model_validate(_columns(version, cls) | {"href": href})


class DatasetLinks(BaseModel):
    """Where to go from a dataset."""

    self: str
    versions: str

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Name the routes of a dataset."""
        path = f"/v1/datasets/{dataset.id}"
        return cls(self=path, versions=f"{path}/versions")


class DatasetResponse(BaseModel):
    """A dataset with its sources and last versions."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: UUID
    name: str
    mapping: dict[str, Any] = Field(  # Any: nested json values
        description="What the names of regions mean in the versions made from now on."
    )
    created_at: dt.datetime
    source_counts: dict[DatasetSourceKind, int]
    sources: list[DatasetSourceResponse] = Field(description="At most 200, the last added first.")
    versions: list[VersionSummary] = Field(description="The last ten, the newest first.")
    links: DatasetLinks

    @classmethod
    def of(cls, shown: ShownDataset) -> Self:
        """Show a dataset."""
        return cls.model_validate(
            _columns(shown.dataset, cls)
            | {
                "source_counts": dict(shown.source_counts),
                "sources": [DatasetSourceResponse.of(source) for source in shown.sources],
                "versions": [VersionSummary.of(version) for version in shown.versions],
                "links": DatasetLinks.of(shown.dataset),
            }
        )


class DatasetSummary(BaseModel):
    """A dataset in a list."""

    id: UUID
    name: str
    created_at: dt.datetime
    last_version: VersionSummary | None
    links: DatasetLinks

    @classmethod
    def of(cls, listed: ListedDataset) -> Self:
        """Show a dataset in short."""
        last = listed.last_version
        return cls.model_validate(
            _columns(listed.dataset, cls)
            | {
                "last_version": None if last is None else VersionSummary.of(last),
                "links": DatasetLinks.of(listed.dataset),
            }
        )


class DatasetPage(BaseModel):
    """A page of datasets, newest first."""

    items: list[DatasetSummary]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last.")


class AddedSourcesResponse(BaseModel):
    """The sources that a request named."""

    sources: list[DatasetSourceResponse]
    new_count: int = Field(description="Those that were no sources before.")

    @classmethod
    def of(cls, added: AddedSources) -> Self:
        """Show what was added."""
        sources = [DatasetSourceResponse.of(source) for source in added.sources]
        return cls(sources=sources, new_count=added.new_count)


class AddedCasesResponse(BaseModel):
    """An upload of cases, and what was found in it by the heads of its files."""

    source: DatasetSourceResponse
    ct_images: int
    ct_series: int
    structure_sets: int
    unreadable_files: int = Field(
        description="That should be DICOM and are not; kept, for a CT series in whose folder one "
        "lies is not whole."
    )
    other_dicom_objects: int = Field(description="Plans, doses, other images; not kept.")
    other_files: int = Field(description="Not kept.")

    @classmethod
    def of(cls, added: AddedCases) -> Self:
        """Show what became of an upload."""
        counts = {
            name: getattr(added.counts, name) for name in cls.model_fields.keys() - {"source"}
        }
        return cls.model_validate(counts | {"source": DatasetSourceResponse.of(added.source)})


def _columns(row: object, model: type[BaseModel]) -> dict[str, Any]:  # Any: of many types
    """Return the fields of a model that a row has."""
    return {name: getattr(row, name) for name in model.model_fields if hasattr(row, name)}
