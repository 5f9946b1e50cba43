"""GET /metrics: parsable, true, and there when nothing else is."""

import threading
from collections.abc import Iterable

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.exc import OperationalError

from services.api.probes import ProbeTimes
from services.api.telemetry import Telemetry
from services.core.actor import Role
from services.core.database import utc_now
from services.core.lifecycle import JobState
from services.core.queue import QueueName, TaskName
from services.core.storage_facts import BACKUP_STAMP
from services.core.tables.operations import WorkerHeartbeat
from tests.factories.access import add_key, bearer
from tests.factories.api import Api, finish_job
from tests.factories.uploads import FORM, make_form, make_series

pytestmark = pytest.mark.anyio

GIBIBYTE = 1 << 30


class Scrape:
    """One answer, by name and labels."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self.families = {family.name: family for family in families}
        self._samples = [s for family in self.families.values() for s in family.samples]

    def value(self, name: str, **labels: str) -> float:
        (value,) = self.values(name, **labels)
        return value

    def values(self, name: str, **labels: str) -> list[float]:
        return [
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]


async def scrape(api: Api) -> Scrape:
    answer = await api.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return Scrape(text_string_to_metric_families(answer.text))


async def post_job(api: Api) -> None:
    body = make_form(make_series())
    answer = await api.client.post("/v1/autocontour", content=body, headers={"Content-Type": FORM})
    assert answer.status_code == 202


def fold(api: Api) -> None:
    with api.unit_of_work() as uow:
        uow.tallies.fold()
        uow.commit()


def report(api: Api, name: str = "inference@host", **values: object) -> None:
    defaults: dict[str, object] = {
        "queue": QueueName.INFERENCE,
        "device": "cpu",
        "software_version": "0.1.0",
        "weights_loaded": True,
        "model_version": "demo",
        "weights_sha256": "0" * 64,
    }
    with api.unit_of_work() as uow:
        uow.workers.report(WorkerHeartbeat(name=name, **(defaults | values)))
        uow.commit()


class TestWork:
    async def test_a_queued_job_is_counted_where_it_waits(self, api: Api) -> None:
        await post_job(api)

        found = await scrape(api)

        waiting = {"queue": "inference", "task": "contour_job.run", "state": "queued"}
        assert found.value("cervicontour_jobs", **waiting) == 1
        assert found.value("cervicontour_oldest_job_age_seconds", **waiting) > 0
        assert found.value("cervicontour_jobs", task="run.train", state="queued") == 0

    async def test_a_finished_job_is_counted_once_its_end_is_folded(self, api: Api) -> None:
        await post_job(api)
        finish_job(api)
        fold(api)

        found = await scrape(api)

        ended = {"task": "contour_job.run", "state": "succeeded", "error_code": ""}
        assert found.value("cervicontour_jobs_ended_total", **ended) == 1
        assert found.value("cervicontour_jobs", task="contour_job.run", state="queued") == 0
        total = {"task": "contour_job.run", "stage": "total"}
        assert found.value("cervicontour_job_seconds_count", **total) == 1
        assert found.value("cervicontour_job_seconds_bucket", **total, le="+Inf") == 1

    async def test_a_count_outlives_its_rows(self, api: Api) -> None:
        await post_job(api)
        with api.unit_of_work() as uow:
            uow.leases.request_cancel(TaskName.CONTOUR_JOB_RUN, *api.queue.resource_ids)
            uow.commit()
        fold(api)
        first = await scrape(api)
        fold(api)

        again = await scrape(api)

        cancelled = {"task": "contour_job.run", "state": JobState.CANCELLED.value}
        for found in (first, again):
            assert found.value("cervicontour_jobs_ended_total", **cancelled) == 1


class TestWorkers:
    async def test_workers_are_told_with_their_network_and_memory(self, api: Api) -> None:
        began = utc_now()
        report(
            api,
            device="cuda",
            gpu_memory_used_bytes=3 * GIBIBYTE,
            gpu_memory_total_bytes=24 * GIBIBYTE,
        )

        found = await scrape(api)

        assert found.value("cervicontour_workers", queue="inference") == 1
        assert found.value("cervicontour_workers", queue="training") == 0
        age = found.value("cervicontour_worker_heartbeat_age_seconds", queue="inference")
        assert 0 <= age <= (utc_now() - began).total_seconds()
        assert found.value("cervicontour_gpu_memory_used_bytes") == 3 * GIBIBYTE
        info = found.families["cervicontour_worker_info"].samples[0].labels
        assert info["device"] == "cuda"
        model = found.families["cervicontour_production_model_info"].samples[0].labels
        assert model == {"model_version": "demo", "weights_sha256": "0" * 64}

    async def test_a_processor_has_no_gpu_memory(self, api: Api) -> None:
        report(api)

        found = await scrape(api)

        assert found.families["cervicontour_gpu_memory_used_bytes"].samples == []

    async def test_ready_is_what_the_health_route_says(self, api: Api) -> None:
        before = await scrape(api)
        assert (await api.client.get("/health/ready")).status_code == 503
        report(api)

        after = await scrape(api)

        assert (await api.client.get("/health/ready")).status_code == 200
        assert before.value("cervicontour_ready") == 0
        assert after.value("cervicontour_ready") == 1


class TestRequests:
    async def test_requests_are_counted_by_template(self, api: Api) -> None:
        await api.client.get("/v1/contour-jobs/0c2b3c2e-0000-4000-8000-000000000000")
        await api.client.get("/DOE^JANE")
        await api.client.request("BREW", "/v1/series")

        found = await scrape(api)

        name = "cervicontour_http_requests_total"
        assert found.value(name, route="/v1/contour-jobs/{job_id}", status="404") == 1
        assert found.value(name, route="unmatched", status="404") == 1
        assert found.value(name, method="other") == 1
        assert not [
            s for s in found.families["cervicontour_http_requests"].samples if "DOE" in str(s)
        ]

    async def test_bytes_of_bodies_are_counted(self, api: Api) -> None:
        body = make_form(make_series())
        await api.client.post("/v1/series", content=body, headers={"Content-Type": FORM})

        found = await scrape(api)

        assert found.value("cervicontour_received_bytes_total", route="/v1/series") == len(body)
        assert found.value("cervicontour_uploads_in_flight") == 0

    async def test_refused_credentials_are_counted_by_reason(self, api: Api) -> None:
        telemetry: Telemetry = api.app.state.dependencies.telemetry
        telemetry.count_failed_authentication("unknown_key")

        found = await scrape(api)

        assert found.value("cervicontour_failed_authentications_total", reason="unknown_key") == 1


class TestStorage:
    async def test_a_backup_is_known_by_its_stamp(self, api: Api) -> None:
        without = await scrape(api)
        stamp = api.data_dir / BACKUP_STAMP
        stamp.write_text("1764205570\n")

        with_stamp = await scrape(api)

        name = "cervicontour_backup_last_success_timestamp_seconds"
        assert (without.value(name), with_stamp.value(name)) == (0, 1764205570)
        free = with_stamp.value("cervicontour_storage_free_bytes")
        assert 0 < free < with_stamp.value("cervicontour_storage_total_bytes")


class TestAccess:
    @pytest.mark.parametrize("role", list(Role))
    async def test_monitors_and_administrators_read_figures(self, api: Api, role: Role) -> None:
        key = add_key(api.unit_of_work, role)

        answer = await api.client.get("/metrics", headers=bearer(key))

        assert answer.status_code == (200 if role in {Role.MONITOR, Role.ADMIN} else 403)

    async def test_strangers_are_counted_and_refused(self, api: Api) -> None:
        assert (await api.client.get("/metrics", headers=bearer("guess"))).status_code == 401

        found = await scrape(api)

        name = "cervicontour_failed_authentications_total"
        assert found.value(name, reason="no_key_and_no_token") == 1

    async def test_a_known_monitor_is_answered_while_no_key_can_be_looked_up(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise OperationalError("SELECT", {}, Exception())

        known, unknown = (add_key(api.unit_of_work, Role.MONITOR) for _ in range(2))
        await api.client.get("/metrics", headers=bearer(known))
        monkeypatch.setattr("services.api.access.keys.KeyAuthenticator._look_up", fail)

        async def status(path: str, key: str) -> int:
            return (await api.client.get(path, headers=bearer(key))).status_code

        assert await status("/metrics", known) == 200
        assert await status("/metrics", unknown) == 503
        assert await status("/v1/series", known) == 503


class TestTrouble:
    async def test_without_a_database_what_needs_none_is_answered(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise OperationalError("SELECT", {}, Exception())

        monkeypatch.setattr("services.core.repositories.backlog.BacklogRepository.all", fail)

        found = await scrape(api)

        assert found.value("cervicontour_up", component="database") == 0
        assert found.value("cervicontour_up", component="storage") == 1
        assert found.value("cervicontour_ready") == 0
        assert "cervicontour_jobs" not in found.families
        assert "cervicontour_event_loop_lag_seconds" in found.families

    async def test_a_broker_that_is_away_is_told(self, api: Api) -> None:
        api.queue.is_down = True

        found = await scrape(api)

        assert found.value("cervicontour_up", component="broker") == 0

    async def test_a_storage_that_hangs_holds_up_no_scrape(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        is_repaired = threading.Event()
        monkeypatch.setattr(
            "services.core.storage_facts.StorageFacts.room", lambda _: is_repaired.wait()
        )
        times = ProbeTimes(fresh_seconds=0, timeout_seconds=0.01)
        monkeypatch.setattr(api.app.state.metrics._looks.stored, "_times", times)
        try:
            for _ in range(3):
                found = await scrape(api)
                assert found.families["cervicontour_storage_free_bytes"].samples == []
                name = "cervicontour_backup_last_success_timestamp_seconds"
                assert found.families[name].samples == []  # and not that there was none
                assert found.value("cervicontour_up", component="database") == 1
        finally:
            is_repaired.set()
