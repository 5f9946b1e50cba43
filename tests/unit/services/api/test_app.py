"""What every route has in common: problem details, correlation ids, health and a description."""

import errno
import sqlite3
from contextlib import closing
from typing import Any

import httpx
import pytest
from pydantic import BaseModel
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from services.api import bounded
from services.api.bounded import ParsersUnavailableError
from services.api.contour_jobs.schemas import ContourJobResponse
from services.api.correlation import SAFE_ID
from services.api.dataset_versions.schemas import DatasetCaseResponse, DatasetVersionResponse
from services.api.datasets.schemas import DatasetResponse
from services.api.edited_rtstructs.schemas import EditedRtstructResponse
from services.api.main import create_app
from services.api.problems import PROBLEM_MEDIA_TYPE, PROBLEMS
from services.api.reviews.schemas import ReviewResponse, ReviewWithGradesResponse
from services.api.series.schemas import PostedSeriesResponse, SeriesResponse
from services.core.errors import DatabaseUnavailableError, ServiceError, StorageFullError
from services.core.queue import QueueName
from services.core.settings import Settings
from services.core.tables.operations import WorkerHeartbeat
from tests.factories.api import STEADY_PROBES, Api
from tests.factories.uploads import FORM, make_form, make_series
from tests.fakes import BoundedThreads, FakeJobQueue

pytestmark = pytest.mark.anyio


def failing_with(api: Api, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("services.api.series.service.SeriesService.page", fail)


class BoundedAfterTries(BoundedThreads):
    """Gets ready at the third time it is asked."""

    tries = 0

    async def warm(self) -> None:
        self.tries += 1
        if self.tries < 3:
            raise ParsersUnavailableError


class TestStart:
    async def test_processes_that_do_not_start_at_once_do_not_stop_it(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bounded, "START_PAUSE_SECONDS", 0.0)
        settings.data_dir.mkdir()
        work = BoundedAfterTries()
        app = create_app(settings, FakeJobQueue(), work, probes=STEADY_PROBES)
        async with app.router.lifespan_context(app):
            assert work.tries == 4  # uploads and datasets, twice


class TestProblems:
    @pytest.mark.parametrize(
        ("method", "path", "status", "code"),
        [
            ("GET", "/nothing", 404, "not_found"),
            ("PUT", "/v1/series", 405, "method_not_allowed"),
            ("GET", "/v1/series/not-a-uuid", 422, "validation_error"),
        ],
    )
    async def test_the_frameworks_own_errors_are_problems(
        self, api: Api, method: str, path: str, status: int, code: str
    ) -> None:
        response = await api.client.request(method, path)
        problem = response.json()
        assert (response.status_code, problem["code"]) == (status, code)
        assert response.headers["Content-Type"] == PROBLEM_MEDIA_TYPE
        assert problem.keys() == {
            "type", "title", "status", "detail", "instance", "code", "context", "correlation_id",
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("error", "status", "code"),
        [
            (RuntimeError("secret DOE^JANE"), 500, "internal_error"),
            (ServiceError("an error nobody listed"), 500, "internal_error"),
            (IntegrityError("secret", {}, Exception()), 500, "internal_error"),
            (DataError("secret", {}, Exception()), 422, "value_not_storable"),
            (OperationalError("secret", {}, Exception()), 503, "database_unavailable"),
            (PoolTimeoutError("secret"), 503, "database_unavailable"),
            (DatabaseUnavailableError("away"), 503, "database_unavailable"),
            (StorageFullError("full"), 507, "storage_full"),
            (OSError(errno.ENOSPC, "secret"), 507, "storage_full"),
            (OSError(errno.EIO, "secret"), 503, "storage_unavailable"),
        ],
    )  # fmt: skip
    async def test_failures_say_nothing_they_should_not(
        self, api: Api, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, code: str
    ) -> None:
        failing_with(api, monkeypatch, error)
        response = await api.client.get("/v1/series")
        assert (response.status_code, response.json()["code"]) == (status, code)
        assert "secret" not in response.text
        assert response.json()["correlation_id"] == response.headers["X-Correlation-ID"]
        assert ("Retry-After" in response.headers) == (status == 503)

    async def test_a_full_storage_keeps_no_row(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise StorageFullError("full")

        monkeypatch.setattr("services.core.storage.FilesystemStorage.publish", fail)
        for route in ("/v1/series", "/v1/autocontour"):
            response = await api.client.post(
                route, content=make_form(make_series()), headers={"Content-Type": FORM}
            )
            assert (response.status_code, response.json()["code"]) == (507, "storage_full")
        assert api.is_empty()
        assert not api.queue.messages

    async def test_a_sender_that_left_is_no_failure_of_the_service(
        self, api: Api, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def receive() -> dict[str, str]:
            return {"type": "http.disconnect"}

        async def send(_: object) -> None:
            pytest.fail("there is nobody to answer")

        scope: dict[str, Any] = {
            "type": "http", "method": "POST", "path": "/v1/series", "raw_path": b"/v1/series",
            "query_string": b"", "headers": [
                (b"content-type", FORM.encode()),
                (b"authorization", api.client.headers["Authorization"].encode()),
            ],
            "http_version": "1.1", "scheme": "http", "server": ("api", 80), "root_path": "",
        }  # fmt: skip
        await api.app(scope, receive, send)
        (line,) = request_lines(caplog)
        assert line["status"] == 499
        assert api.is_empty()


class TestCorrelation:
    @pytest.mark.parametrize(
        "sent",
        [
            "0f8fad5b-d9cb-469f-a165-70867728950e",  # a UUID
            "0F8FAD5B-D9CB-469F-A165-70867728950E",
            "4bf92f3577b34da6a3ce929d0e0e4736",  # a trace id of W3C
            "01ARZ3NDEKTSV4RRFFQ69G5FAV",  # a ULID
        ],
    )
    async def test_an_id_that_a_program_drew_is_kept(self, api: Api, sent: str) -> None:
        response = await api.client.get("/health/live", headers={"X-Correlation-ID": sent})
        assert response.headers["X-Correlation-ID"] == sent

    @pytest.mark.parametrize(
        "sent",
        [
            "", "short", "a" * 65, "DOE^JANE 1234", "x" * 8 + "{}", "MUELLER_ANNA_19610203",
            "19610203", "0001234567", "1.2.840.10008.1.2.1", "from-the-tps", "a" * 26, "a" * 33,
            "0f8fad5bd9cb-469f-a165-70867728950e", "4bf92f3577b34da6a3ce929d0e0e4736 MUELLER",
        ],
    )  # fmt: skip
    async def test_any_other_is_replaced(self, api: Api, sent: str) -> None:
        response = await api.client.get("/health/live", headers={"X-Correlation-ID": sent})
        assert response.headers["X-Correlation-ID"] != sent
        assert SAFE_ID.fullmatch(response.headers["X-Correlation-ID"])

    async def test_log_lines_carry_it_and_no_name(
        self, api: Api, caplog: pytest.LogCaptureFixture
    ) -> None:
        await api.client.get("/patients/DOE^JANE", headers={"X-Correlation-ID": "0f" * 16})
        (line,) = request_lines(caplog)
        assert line["correlation_id"] == "0f" * 16
        assert (line["route"], line["status"]) == ("unmatched", 404)
        assert "DOE" not in str(line)


def request_lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    lines = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    return [line for line in lines if line["event"] == "request"]


def heartbeat(**values: object) -> WorkerHeartbeat:
    defaults: dict[str, object] = {
        "name": "w1", "queue": QueueName.INFERENCE, "device": "cpu", "software_version": "1",
        "weights_loaded": True, "model_version": "demo", "weights_sha256": "0" * 64,
    }  # fmt: skip
    return WorkerHeartbeat(**(defaults | values))


async def ready(api: Api, *workers: WorkerHeartbeat) -> tuple[int, dict[str, Any]]:
    with api.unit_of_work() as uow:
        for worker in workers:
            uow.workers.report(worker)
        uow.commit()
    response = await api.client.get("/health/ready")
    return response.status_code, response.json()


class TestHealth:
    async def test_live_asks_nobody(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        api.queue.is_down = True
        (api.data_dir / "cervicontour.sqlite").unlink()
        response = await api.client.get("/health/live")
        assert (response.status_code, response.json()["status"]) == (200, "live")

    async def test_ready_with_a_worker_that_holds_the_weights(self, api: Api) -> None:
        status, body = await ready(api, heartbeat())
        assert (status, body["status"]) == (200, "ready")
        assert all(check["ok"] for check in body["checks"].values())
        assert [worker["name"] for worker in body["workers"]] == ["w1"]

    @pytest.mark.parametrize(
        ("workers", "missing"),
        [
            ([], {"inference_worker", "weights"}),
            ([heartbeat(queue=QueueName.TRAINING)], {"inference_worker", "weights"}),
            ([heartbeat(weights_loaded=False)], {"weights"}),
        ],
    )
    async def test_not_ready_without_one(
        self, api: Api, workers: list[WorkerHeartbeat], missing: set[str]
    ) -> None:
        status, body = await ready(api, *workers)
        assert (status, body["status"]) == (503, "not_ready")
        assert {name for name, check in body["checks"].items() if not check["ok"]} == missing

    async def test_not_ready_without_the_broker(self, api: Api) -> None:
        api.queue.is_down = True
        status, body = await ready(api, heartbeat())
        assert status == 503
        assert body["checks"]["broker"] == {"ok": False, "detail": "the broker does not answer"}
        assert body["checks"]["database"]["ok"]

    async def test_not_ready_without_the_storage(self, api: Api) -> None:
        (api.data_dir / "incoming").write_bytes(b"in the way")
        status, body = await ready(api, heartbeat())
        assert status == 503
        assert not body["checks"]["storage"]["ok"]

    async def test_strangers_who_ask_wait_for_no_writer(self, api: Api) -> None:
        database = sqlite3.connect(api.data_dir / "cervicontour.sqlite", isolation_level=None)
        transport = httpx.ASGITransport(app=api.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as stranger:
            with closing(database) as writer:
                writer.execute("BEGIN IMMEDIATE")
                told = (await stranger.get("/health/ready")).json()
        assert told["checks"]["database"]["ok"]

    async def test_not_ready_without_tables(self, api: Api) -> None:
        with closing(sqlite3.connect(api.data_dir / "cervicontour.sqlite")) as connection:
            connection.execute("DROP TABLE worker_heartbeat")
        response = await api.client.get("/health/ready")
        assert response.status_code == 503
        assert not response.json()["checks"]["database"]["ok"]


class TestDescription:
    async def test_the_page_needs_nothing_from_outside(self, api: Api) -> None:
        page = await api.client.get("/docs")
        assert page.status_code == 200
        assert "://" not in page.text
        for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"):
            assert f"/docs-assets/{name}" in page.text
            asset = await api.client.get(f"/docs-assets/{name}")
            assert (asset.status_code, len(asset.content) > 1000) == (200, True)

    async def test_the_description_is_rendered_once_however_many_ask(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = await api.client.get("/openapi.json")

        def dumps(*_: object, **__: object) -> str:
            pytest.fail("the description was rendered again")

        monkeypatch.setattr("json.dumps", dumps)
        again = await api.client.get("/openapi.json")

        assert again.content == first.content
        assert again.headers["ETag"] == first.headers["ETag"]

    async def test_who_has_the_description_already_is_told_so(self, api: Api) -> None:
        etag = (await api.client.get("/openapi.json")).headers["ETag"]

        known = await api.client.get("/openapi.json", headers={"If-None-Match": etag})
        other = await api.client.get("/openapi.json", headers={"If-None-Match": '"another"'})

        assert (known.status_code, known.content) == (304, b"")
        assert (known.headers["ETag"], known.headers["Cache-Control"]) == (etag, "no-cache")
        assert other.status_code == 200

    async def test_packed_and_plain_descriptions_are_the_same(self, api: Api) -> None:
        packed = await api.client.get("/openapi.json", headers={"Accept-Encoding": "gzip"})
        plain = await api.client.get("/openapi.json", headers={"Accept-Encoding": "identity"})

        assert packed.headers["Content-Encoding"] == "gzip"
        assert "Content-Encoding" not in plain.headers
        assert int(packed.headers["Content-Length"]) < int(plain.headers["Content-Length"]) / 5
        assert packed.json() == plain.json() == api.app.openapi()

    async def test_behind_a_prefix_the_description_names_it(self, api: Api) -> None:
        transport = httpx.ASGITransport(app=api.app, root_path="/contours")
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            described = (await client.get("/contours/openapi.json")).json()

        assert described["servers"] == [{"url": "/contours"}]

    async def test_every_route_is_described_with_its_failures(self, api: Api) -> None:
        schema = (await api.client.get("/openapi.json")).json()
        documented: set[str] = set()
        for path, operations in schema["paths"].items():
            for method, operation in operations.items():
                assert operation["summary"], (method, path)
                assert operation["tags"], (method, path)
                assert operation["description"], (method, path)
                documented |= codes_of(operation)
                assert "internal_error" in codes_of(operation)
        outside = {"not_found", "method_not_allowed", "bad_request"}
        outside |= {"request_head_too_large", "request_head_timeout"}  # before there is a route
        assert documented | outside == set(PROBLEMS), "every code belongs to a route"
        assert "HTTPValidationError" not in schema["components"]["schemas"]

    @pytest.mark.parametrize(
        "model",
        [
            SeriesResponse,
            PostedSeriesResponse,
            ContourJobResponse,
            DatasetResponse,
            DatasetVersionResponse,
            DatasetCaseResponse,
            ReviewResponse,
            ReviewWithGradesResponse,
            EditedRtstructResponse,
        ],
    )
    def test_examples_are_complete(self, model: type[BaseModel]) -> None:
        (example,) = model.model_json_schema()["examples"]
        assert example.keys() == model.model_fields.keys()
        assert model.model_validate(example)


def codes_of(operation: dict[str, Any]) -> set[str]:
    codes: set[str] = set()
    for status, response in operation["responses"].items():
        problem = response["content"].get(PROBLEM_MEDIA_TYPE) if "content" in response else None
        if problem is None:
            continue
        assert problem["schema"] == {"$ref": "#/components/schemas/Problem"}
        for code, example in problem["examples"].items():
            assert example["value"]["status"] == int(status) == PROBLEMS[code].status
            codes.add(code)
    return codes
