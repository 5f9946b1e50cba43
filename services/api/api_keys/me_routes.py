"""Route /v1/me."""

from fastapi import APIRouter, Request

from services.api.access.roles import EVERYBODY, allow
from services.api.api_keys.schemas import MeResponse
from services.api.problems import problem_responses
from services.core.actor import Actor
from services.core.version import software_version

router = APIRouter(prefix="/v1/me", tags=["access"])


@router.get(
    "",
    dependencies=[allow(*EVERYBODY)],
    summary="Show who asks",
    responses=problem_responses(),
)
async def get_me(request: Request) -> MeResponse:
    """Show as whom the credentials are known, and the role they give."""
    actor: Actor = request.state.actor
    return MeResponse(
        id=actor.id,
        kind=actor.kind,
        name=actor.name,
        role=actor.role,
        software_version=software_version(),
    )
