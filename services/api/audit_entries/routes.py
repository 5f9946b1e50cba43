"""Routes under /v1/audit-entries."""

import datetime as dt
import json
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse

from services.api.access.roles import allow
from services.api.audit_entries.schemas import AuditEntryPage, AuditHeadResponse
from services.api.audit_entries.service import AuditService
from services.api.dependencies import DependenciesDep
from services.api.moments import Moment
from services.api.paging import DEFAULT_PAGE_SIZE, PageSize, cut_ordered_page
from services.api.problems import ROW_CODES, problem_responses
from services.api.texts import SoughtText
from services.core.actor import Role
from services.core.audit import Action, ResourceKind
from services.core.repositories.audit import AuditFilter

EXPORT_MEDIA_TYPE = "application/jsonl"
MAX_SEQUENCE = 2**63 - 1

router = APIRouter(prefix="/v1/audit-entries", tags=["audit"])


def _service(dependencies: DependenciesDep) -> AuditService:
    return AuditService(dependencies.new_unit_of_work)


def _period(
    since: Annotated[Moment | None, Query(description="Only from this moment on.")] = None,
    until: Annotated[Moment | None, Query(description="Only before this moment.")] = None,
) -> tuple[dt.datetime | None, dt.datetime | None]:
    return since, until


def _filter(
    period: Annotated[tuple[dt.datetime | None, dt.datetime | None], Depends(_period)],
    actor_id: Annotated[SoughtText | None, Query(description="Only of this one.")] = None,
    action: Annotated[Action | None, Query(description="Only this.")] = None,
    resource_kind: Annotated[ResourceKind | None, Query(description="Only done to these.")] = None,
    resource_id: Annotated[SoughtText | None, Query(description="Only to this.")] = None,
) -> AuditFilter:
    since, until = period
    return AuditFilter(
        actor_id=actor_id,
        action=action,
        resource_kind=resource_kind,
        resource_id=resource_id,
        since=since,
        until=until,
    )


ServiceDep = Annotated[AuditService, Depends(_service)]
SequenceCursor = Annotated[
    int | None,
    Query(alias="cursor", ge=1, le=MAX_SEQUENCE, description="`next_cursor` of the page before."),
]


@router.get(
    "",
    dependencies=[allow(Role.ADMIN)],
    summary="List audit entries",
    responses=problem_responses(*ROW_CODES),
)
def list_audit_entries(
    service: ServiceDep,
    wanted: Annotated[AuditFilter, Depends(_filter)],
    cursor: SequenceCursor = None,
    page_size: PageSize = DEFAULT_PAGE_SIZE,
) -> AuditEntryPage:
    """List who did what, newest first; the listing becomes an entry itself."""
    rows = service.page(wanted, page_size + 1, cursor)
    items, next_cursor = cut_ordered_page(rows, page_size, lambda entry: entry.sequence)
    return AuditEntryPage.of(list(items), next_cursor)


@router.get(
    "/export",
    dependencies=[allow(Role.ADMIN)],
    summary="Export the audit trail",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "One entry a line, in the order of the chain, each with its hash.",
            "content": {EXPORT_MEDIA_TYPE: {"schema": {"type": "string"}}},
        },
        **problem_responses(*ROW_CODES),
    },
)
def export_audit_entries(
    service: ServiceDep,
    from_sequence: Annotated[
        int, Query(ge=1, le=MAX_SEQUENCE, description="First entry; the whole chain by default.")
    ] = 1,
) -> StreamingResponse:
    """Stream the chain for `cervicontour-admin audit verify --file`, up to this export's entry."""
    entries = service.export(from_sequence)
    lines = (json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
    return StreamingResponse(
        lines,
        media_type=EXPORT_MEDIA_TYPE,
        headers={"Content-Disposition": 'attachment; filename="audit-entries.jsonl"'},
    )


@router.get(
    "/head",
    dependencies=[allow(Role.ADMIN)],
    summary="Show the end of the audit trail",
    responses=problem_responses(*ROW_CODES),
)
def get_audit_head(service: ServiceDep) -> AuditHeadResponse:
    """Show the last entry's number and hash.

    Written down where nobody of this service can change it, it proves later that no entry up to
    it was changed or removed.
    """
    return AuditHeadResponse.of(service.head())
