"""Nobody gets past here unknown: before a route is looked for, before a byte of a body is read."""

from dataclasses import replace

from sqlalchemy.exc import SQLAlchemyError
from starlette._utils import get_route_path  # what the router matches, to the letter
from starlette.types import ASGIApp, Receive, Scope, Send

from services.api.access.credentials import has_credentials
from services.api.access.errors import UnauthenticatedError
from services.api.access.gate import Gate
from services.api.access.roles import CURTAILED_PATHS, is_public
from services.api.error_handlers import problem_response
from services.core.actor import Actor
from services.core.errors import DatabaseUnavailableError, ServiceError, UnavailableError
from services.core.logging import get_logger

METRICS_PATH = "/metrics"

POLICY_VIOLATION = 1008
"""RFC 6455, 7.4.1: what a web socket is closed with."""

log = get_logger(__name__)


class AccessMiddleware:
    """Every request but those for public paths has an actor in `request.state`, or is refused."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] == "websocket":  # the service has none
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        elif scope["type"] != "http" or _is_open(scope):
            await self._app(scope, receive, send)
        else:
            await self._guarded(scope, receive, send)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope["state"]
        try:
            state["actor"] = await _admitted(scope)
        except ServiceError as error:
            # A load balancer that shows credentials hears of the database from the checks.
            if isinstance(error, UnavailableError) and get_route_path(scope) in CURTAILED_PATHS:
                await self._app(scope, receive, send)
                return
            watcher = _watcher(scope, error)
            if watcher is not None:
                state["actor"] = watcher
                await self._app(scope, receive, send)
                return
            _note_refusal(scope, error)
            response = problem_response(
                error.code,
                detail=error.message,
                context=error.context,
                path=scope["path"],
                correlation_id=state["correlation_id"],
            )
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)


async def _admitted(scope: Scope) -> Actor:
    gate: Gate = scope["app"].state.gate
    address: str | None = scope["state"]["address"]
    try:
        actor = await gate.admit(scope["headers"], address)
    except SQLAlchemyError as error:
        log.error("database failed", reason=type(error).__name__)  # noqa: TRY400  (as elsewhere)
        raise DatabaseUnavailableError("The database does not answer.") from error
    return replace(actor, address=address, correlation_id=scope["state"]["correlation_id"])


def _is_open(scope: Scope) -> bool:
    path = get_route_path(scope)
    if path in CURTAILED_PATHS:
        return not has_credentials(scope["headers"])
    return is_public(path)


def _watcher(scope: Scope, error: ServiceError) -> Actor | None:
    """Return who may read how it stands with the service while nobody can be looked up."""
    if not isinstance(error, DatabaseUnavailableError) or get_route_path(scope) != METRICS_PATH:
        return None
    return scope["app"].state.gate.find_watcher(scope["headers"])


def _note_refusal(scope: Scope, error: ServiceError) -> None:
    reason = error.code
    if isinstance(error, UnauthenticatedError):
        reason = error.reason
        scope["app"].state.dependencies.telemetry.count_failed_authentication(reason)
    if reason != "no_credentials":  # the request's own line tells enough of those
        log.warning("request refused", reason=reason)
