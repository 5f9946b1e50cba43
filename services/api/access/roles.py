"""Which roles a route serves, said where the route is declared."""

from collections.abc import Iterable, Iterator

from fastapi import FastAPI, Request, Security, params
from fastapi.openapi.models import HTTPBearer
from fastapi.routing import APIRoute, iter_route_contexts
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase

from services.api.access.errors import RoleNotAllowedError
from services.core.actor import Actor, Role

SCHEME = "bearer"
"""Of the OpenAPI description: what /docs asks for under Authorize."""
PUBLIC_PATHS = frozenset({"/health/live", "/docs", "/openapi.json"})
"""Answer whoever asks; whatever is not here, or below PUBLIC_FOLDERS, wants credentials."""
PUBLIC_FOLDERS = ("/docs-assets/",)
"""Files that a browser fetches before anybody can have authorized it."""
CURTAILED_PATHS = frozenset({"/health/ready"})
"""Answer strangers too, but tell them less: load balancers have no secret."""
EVERYBODY = tuple(Role)


class RouteWithoutRolesError(RuntimeError):
    """A route does not say whom it serves."""

    def __init__(self, paths: Iterable[str]) -> None:
        super().__init__(f"routes without roles, see services.api.access.roles: {sorted(paths)}")


class RoleGuard(SecurityBase):
    """Refuses actors whose role is none of a route's."""

    def __init__(self) -> None:
        self.model = HTTPBearer(description="An API key, or a token of the identity provider.")
        self.scheme_name = SCHEME

    async def __call__(self, request: Request, roles: SecurityScopes) -> None:
        """Return if the route serves the actor; raises RoleNotAllowedError."""
        actor: Actor = request.state.actor
        if actor.role is None or actor.role.value not in roles.scopes:
            raise RoleNotAllowedError(actor.role or Role.MONITOR, roles.scopes)


GUARD = RoleGuard()


def allow(*roles: Role) -> params.Security:
    """Have a route serve these roles, and administrators, whom every route serves.

    `dependencies=[allow(Role.SUBMITTER)]` in a route's decorator.
    """
    return Security(GUARD, scopes=[role.value for role in Role if role in (*roles, Role.ADMIN)])


def is_public(path: str) -> bool:
    """Tell whether a path answers without credentials."""
    return path in PUBLIC_PATHS or path.startswith(PUBLIC_FOLDERS)


def check_routes(app: FastAPI) -> None:
    """Return if every route is public or says once whom it serves.

    Raises:
        RouteWithoutRolesError: one does not.
    """
    wrong = [path for path, guards in _guards(app) if guards != 1 and not _is_open(path)]
    if wrong:
        raise RouteWithoutRolesError(wrong)


def _is_open(path: str) -> bool:
    return path in CURTAILED_PATHS or is_public(path) or is_public(f"{path}/")


def _guards(app: FastAPI) -> Iterator[tuple[str, int]]:
    """Yield the path of every route, and how often it says whom it serves."""
    for route in iter_route_contexts(app.routes):
        original = route.original_route
        # an included router cannot say it for its routes: it would be told nowhere near them
        dependencies = original.dependencies if isinstance(original, APIRoute) else []
        yield (
            str(getattr(route, "path", None) or getattr(original, "path", "?")),
            sum(dependency.dependency is GUARD for dependency in dependencies),
        )
