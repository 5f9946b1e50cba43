"""Every route there is: closed to strangers, and open to the roles that the table below names."""

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from services.api.access.roles import RouteWithoutRolesError, allow, check_routes
from services.api.problems import PROBLEM_MEDIA_TYPE
from services.core.actor import Role
from tests.factories.access import add_key, bearer
from tests.factories.api import Api

pytestmark = pytest.mark.anyio

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
PUBLIC = {"/health/live", "/health/ready", "/docs", "/openapi.json"}
"""Answered whoever asks; and files below /docs-assets."""

DETOURS = [
    "/", "//", "/nothing", "/v1", "/v1/", "/v1/series/", "//v1/series", "/v1//series",
    "/v1/series?x=1", "/%761/series", "/v1%2Fseries", "/./v1/series", "/V1/SERIES",
    "/docs/", "/docs/x", "//docs", "/openapi.json/", "/openapi.yaml", "/redoc",
    "/docs-assets", "/docs-assetsx/y", "/health", "/health/", "/health/live/",
    "/health/ready/", "/health/live/../../v1/series", "/docs-assets%2f..%2f..%2fv1/series/",
    "/metrics", "/docs/oauth2-redirect",
]  # fmt: skip

S, R, M = "submitter", "reviewer", "monitor"
"""An administrator is served by every route, and so is not in the table."""

ROLES: dict[str, set[str]] = {
    "GET /metrics": {M},
    "GET /v1/me": {S, R, M},
    "POST /v1/api-keys": set(),
    "GET /v1/api-keys": set(),
    "POST /v1/api-keys/{key_id}/renew": set(),
    "POST /v1/api-keys/{key_id}/revoke": set(),
    "POST /v1/autocontour": {S},
    "POST /v1/series": {S},
    "GET /v1/series": {S, R},
    "GET /v1/series/{series_id}": {S, R},
    "DELETE /v1/series/{series_id}": {S},
    "POST /v1/contour-jobs": {S},
    "GET /v1/contour-jobs": {S, R},
    "GET /v1/contour-jobs/{job_id}": {S, R},
    "POST /v1/contour-jobs/{job_id}/cancel": {S},
    "GET /v1/contour-jobs/{job_id}/rtstruct": {S, R},
    "DELETE /v1/contour-jobs/{job_id}": {S},
    "POST /v1/contour-jobs/{job_id}/reviews": {R},
    "GET /v1/contour-jobs/{job_id}/reviews": {R},
    "GET /v1/reviews/{review_id}": {R},
    "POST /v1/contour-jobs/{job_id}/edited-rtstructs": {R},
    "GET /v1/contour-jobs/{job_id}/edited-rtstructs": {R},
    "GET /v1/edited-rtstructs": {R},
    "GET /v1/edited-rtstructs/{edited_rtstruct_id}": {R},
    "GET /v1/edited-rtstructs/{edited_rtstruct_id}/rtstruct": {R},
    "DELETE /v1/edited-rtstructs/{edited_rtstruct_id}": set(),
    "GET /v1/reports/acceptability": {R},
    "GET /v1/reports/drift": {R},
    "POST /v1/datasets": set(),
    "GET /v1/datasets": set(),
    "GET /v1/datasets/{dataset_id}": set(),
    "PUT /v1/datasets/{dataset_id}/mapping": set(),
    "POST /v1/datasets/{dataset_id}/cases": set(),
    "POST /v1/datasets/{dataset_id}/folders": set(),
    "POST /v1/datasets/{dataset_id}/edited-rtstructs": set(),
    "POST /v1/datasets/{dataset_id}/versions": set(),
    "GET /v1/datasets/{dataset_id}/versions": set(),
    "GET /v1/dataset-versions/{version_id}": set(),
    "GET /v1/dataset-versions/{version_id}/cases": set(),
    "GET /v1/dataset-versions/{version_id}/cases.csv": set(),
    "POST /v1/dataset-versions/{version_id}/cancel": set(),
    "DELETE /v1/dataset-versions/{version_id}": set(),
    "POST /v1/experiments": set(),
    "GET /v1/experiments": set(),
    "GET /v1/experiments/{experiment_id}": set(),
    "POST /v1/experiments/{experiment_id}/cancel": set(),
    "GET /v1/experiments/{experiment_id}/runs": set(),
    "GET /v1/experiments/{experiment_id}/leaderboard": set(),
    "GET /v1/experiments/{experiment_id}/events": set(),
    "GET /v1/experiments/{experiment_id}/scores.csv": set(),
    "GET /v1/experiments/{experiment_id}/epochs.csv": set(),
    "GET /v1/runs/{run_id}": set(),
    "POST /v1/runs/{run_id}/cancel": set(),
    "POST /v1/runs/{run_id}/resume": set(),
    "POST /v1/runs/{run_id}/retry": set(),
    "GET /v1/runs/{run_id}/epochs": set(),
    "GET /v1/runs/{run_id}/scores": set(),
    "POST /v1/experiment-reports": set(),
    "GET /v1/experiment-reports": set(),
    "GET /v1/experiment-reports/{report_id}": set(),
    "GET /v1/experiment-reports/{report_id}/files/{name}": set(),
    "POST /v1/model-versions": set(),
    "GET /v1/model-versions": set(),
    "GET /v1/model-versions/{model_version_id}": set(),
    "POST /v1/model-versions/{model_version_id}/retire": set(),
    "GET /v1/model-versions/{model_version_id}/shadow-contours": set(),
    "GET /v1/model-versions/{model_version_id}/shadow-summary": set(),
    "POST /v1/model-versions/import": set(),
    "GET /v1/model-versions/{model_version_id}/export": set(),
    "GET /v1/model-aliases": set(),
    "PUT /v1/model-aliases/{alias}": set(),
    "POST /v1/model-aliases/{alias}/rollback": set(),
    "GET /v1/model-aliases/{alias}/history": set(),
    "DELETE /v1/datasets/{dataset_id}": set(),
    "DELETE /v1/datasets/{dataset_id}/sources/{source_id}": set(),
    "DELETE /v1/experiment-reports/{report_id}": set(),
    "DELETE /v1/model-versions/{model_version_id}": set(),
    "GET /v1/deletions": set(),
    "GET /v1/deletions/{deletion_id}": {S},
    "GET /v1/audit-entries": set(),
    "GET /v1/audit-entries/export": set(),
    "GET /v1/audit-entries/head": set(),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """A method of a route in the description."""

    method: str
    template: str

    @property
    def path(self) -> str:
        return filled(self.template)

    def __str__(self) -> str:
        return f"{self.method} {self.template}"


def filled(template: str) -> str:
    parts = template.split("/")
    return "/".join(str(uuid4()) if part.startswith("{") else part for part in parts)


def operations(api: Api) -> Iterator[Operation]:
    for template, described in api.app.openapi()["paths"].items():
        for method in described:
            yield Operation(method=method.upper(), template=template)


def paths_of(app: FastAPI) -> Iterator[str]:
    """Every path that the application routes, in the description or not."""
    for route in iter_route_contexts(app.routes):
        yield filled(str(getattr(route, "path", None) or getattr(route.original_route, "path", "")))


def stranger(api: Api, root_path: str = "") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=api.app, root_path=root_path)
    return httpx.AsyncClient(transport=transport, base_url="http://api")


def is_refused(response: httpx.Response) -> bool:
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.headers["Content-Type"] == PROBLEM_MEDIA_TYPE
    is_head = response.request.method == "HEAD"  # whose answers have no body
    code = "unauthenticated" if is_head else response.json()["code"]
    return (response.status_code, code) == (401, "unauthenticated")


class TestStrangers:
    async def test_no_route_but_the_public_ones_answers(self, api: Api) -> None:
        paths = set(paths_of(api.app))
        assert len(paths) > 50
        async with stranger(api) as client:
            for path in paths - PUBLIC:
                for method in METHODS:
                    response = await client.request(method, f"http://api{path}")
                    assert is_refused(response), (method, path)

    async def test_nothing_is_reached_by_a_detour(self, api: Api) -> None:
        async with stranger(api) as client:
            for path in DETOURS:
                for method in METHODS:
                    response = await client.request(method, httpx.URL(f"http://api{path}"))
                    if "docs-assets%2f" in path:  # below the public folder, and no file of it
                        assert response.status_code in (404, 405)
                    else:
                        assert is_refused(response), (method, path)

    async def test_public_paths_answer(self, api: Api) -> None:
        async with stranger(api) as client:
            for path in (*PUBLIC, "/docs-assets/swagger-ui.css"):
                response = await client.get(path)
                assert response.status_code in (200, 503), path

    async def test_behind_a_prefix_the_same_is_public(self, api: Api) -> None:
        async with stranger(api, root_path="/gateway") as client:
            assert (await client.get("/gateway/health/live")).status_code == 200
            for path in ("/gateway/v1/series", "/gateway", "/v1/series", "/health/live/gateway"):
                assert is_refused(await client.get(path)), path

    async def test_not_a_byte_of_a_body_is_read(self, api: Api) -> None:
        sent: list[dict[str, object]] = []

        async def receive() -> dict[str, object]:
            pytest.fail("the body was asked for")

        async def send(message: dict[str, object]) -> None:
            sent.append(message)

        for method, path in (("POST", "/v1/experiments"), ("POST", "/v1/autocontour")):
            scope = {
                "type": "http", "method": method, "path": path, "raw_path": path.encode(),
                "query_string": b"", "headers": [(b"content-type", b"application/json")],
                "http_version": "1.1", "scheme": "http", "server": ("api", 80), "root_path": "",
                "client": ("192.0.2.1", 1),
            }  # fmt: skip
            await api.app(scope, receive, send)  # pyright: ignore[reportArgumentType]
        assert [m["status"] for m in sent if m["type"] == "http.response.start"] == [401, 401]

    async def test_a_web_socket_is_closed(self, api: Api) -> None:
        sent: list[dict[str, object]] = []

        async def send(message: dict[str, object]) -> None:
            sent.append(message)

        scope = {"type": "websocket", "path": "/v1/series", "headers": [], "root_path": ""}
        await api.app(scope, lambda: None, send)  # pyright: ignore[reportArgumentType]
        assert sent == [{"type": "websocket.close", "code": 1008}]

    async def test_the_state_of_the_service_is_told_without_its_parts(self, api: Api) -> None:
        async with stranger(api) as client:
            told = (await client.get("/health/ready")).json()
        known = (await api.client.get("/health/ready")).json()
        assert told["workers"] is None
        assert {check["detail"] for check in told["checks"].values()} == {None}
        assert known["workers"] == []
        assert told["checks"].keys() == known["checks"].keys()
        assert all(check["detail"] for check in known["checks"].values())

    async def test_wrong_credentials_are_not_taken_for_none(self, api: Api) -> None:
        response = await api.client.get("/health/ready", headers=bearer("cck_" + "x" * 43))
        assert is_refused(response)


class TestRoles:
    async def test_each_role_has_its_routes_and_no_other(self, api: Api) -> None:
        found = {str(operation): operation for operation in operations(api)}
        closed = {name for name, o in found.items() if o.template not in PUBLIC}
        assert closed == ROLES.keys()  # a new route needs a line in the table
        for role in Role:
            headers = bearer(add_key(api.unit_of_work, role))
            for name, roles in ROLES.items():
                operation = found[name]
                response = await api.client.request(
                    operation.method, operation.path, headers=headers
                )
                is_allowed = role is Role.ADMIN or role.value in roles
                assert (response.status_code != 403) == is_allowed, (role, name, response.text)
                assert response.status_code not in (401, 500)
                if not is_allowed:
                    assert response.json()["code"] == "role_not_allowed"

    def test_the_description_says_what_the_table_says(self, api: Api) -> None:
        paths = api.app.openapi()["paths"]
        for operation in operations(api):
            described = paths[operation.template][operation.method.lower()]
            if operation.template in PUBLIC:
                assert "x-roles" not in described
                continue
            assert set(described["x-roles"]) == {*ROLES[str(operation)], "admin"}
            assert described["security"] == [{"bearer": []}]
            assert described["responses"].keys() >= {"401", "403", "429", "503"}

    def test_the_documentation_offers_to_authorize(self, api: Api) -> None:
        schemes = api.app.openapi()["components"]["securitySchemes"]
        assert (schemes["bearer"]["type"], schemes["bearer"]["scheme"]) == ("http", "bearer")


class TestCheckRoutes:
    @staticmethod
    def app(*, is_guarded: bool) -> FastAPI:
        router = APIRouter()
        guards = [allow(Role.MONITOR)] if is_guarded else []
        router.add_api_route("/metrics", lambda: None, dependencies=guards)
        app = FastAPI(docs_url=None, redoc_url=None)
        app.include_router(router, prefix="/v1")
        return app

    def test_a_route_that_names_its_roles_passes(self) -> None:
        check_routes(self.app(is_guarded=True))

    def test_a_route_without_roles_is_refused(self) -> None:
        with pytest.raises(RouteWithoutRolesError, match="/v1/metrics"):
            check_routes(self.app(is_guarded=False))

    @pytest.mark.parametrize(
        "route",
        [Route("/x", PlainTextResponse("")), Mount("/x", PlainTextResponse(""))],
        ids=["a plain route", "a mounted application"],
    )
    def test_what_cannot_name_roles_is_refused(self, route: Route | Mount) -> None:
        app = self.app(is_guarded=True)
        app.router.routes.append(route)
        with pytest.raises(RouteWithoutRolesError, match="/x"):
            check_routes(app)

    def test_roles_that_were_said_twice_are_refused(self) -> None:
        app = FastAPI(docs_url=None, redoc_url=None)
        twice = [allow(Role.MONITOR), allow(Role.REVIEWER)]
        app.add_api_route("/x", lambda: None, dependencies=twice)
        with pytest.raises(RouteWithoutRolesError):
            check_routes(app)
