"""Reports on experiments as the API shows them."""

import datetime as dt
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from services.api.experiments.report_service import ShownReport
from services.api.work import WorkResponse, work_values

PAGE_FILE = "report.html"
"""One self-contained page."""


def _without_repetitions(ids: list[UUID]) -> list[UUID]:
    if len(set(ids)) < len(ids):
        raise ValueError("an experiment is named twice")
    return ids


class ReportRequestBody(BaseModel):
    """Experiments to lay side by side."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "experiment_ids": [
                        "7d7b3f86-5f0a-4a1c-a3c3-6a6b0b6f9f10",
                        "2b9f5c64-3f9e-4a53-9c7e-0f6f2a4b8d11",
                    ]
                }
            ]
        },
    )

    experiment_ids: Annotated[
        list[UUID], Field(min_length=1, max_length=4), AfterValidator(_without_repetitions)
    ]
    title: str | None = Field(None, min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")


class ReportLinks(BaseModel):
    """Where to go from a report."""

    self: str
    experiments: list[str]
    page: str | None = Field(description="One self-contained HTML page; null while there is none.")
    files: dict[str, str] = Field(description="Tables, figures and rows, by name.")


class ReportResponse(WorkResponse):
    """Tables, figures and statistics over the runs of experiments."""

    title: str
    is_automatic: bool = Field(description="Whether the end of an experiment asked for it.")
    summary: dict[str, Any] | None = Field(  # Any: nested json values
        description="Means, intervals and paired comparisons."
    )
    purged_at: dt.datetime | None = Field(description="When its files were removed.")
    links: ReportLinks

    @classmethod
    def of(cls, shown: ShownReport) -> Self:
        """Show a row."""
        report = shown.report
        path = f"/v1/experiment-reports/{report.id}"
        names = report.file_names or []
        return cls(
            **work_values(report),
            title=report.title,
            is_automatic=report.is_automatic,
            summary=report.summary,
            purged_at=report.purged_at,
            links=ReportLinks(
                self=path,
                experiments=[f"/v1/experiments/{i}" for i in shown.experiment_ids],
                page=f"{path}/files/{PAGE_FILE}" if PAGE_FILE in names else None,
                files={name: f"{path}/files/{name}" for name in names},
            ),
        )


class ReportPage(BaseModel):
    """A page of reports, newest first."""

    items: list[ReportResponse]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last.")
