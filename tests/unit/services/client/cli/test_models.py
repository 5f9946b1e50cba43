"""The commands of model versions and aliases, against the real API."""

import json
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from click.testing import Result

from services.api.model_versions.archive import describe, stream_archive
from services.client.client import CerviContourClient
from services.client.errors import ProblemError
from services.client.transport import RetryPolicy
from services.core.queue import TaskName
from tests.factories.model_versions import (
    add_dataset_version,
    add_run,
    add_version,
    write_weights,
)
from tests.factories.servers import HANG_UP, Scripted, ScriptedServer, Service

pytestmark = pytest.mark.enable_socket
Run = Callable[..., Result]


def new_version(service: Service, name: str, seed: int = 0) -> UUID:
    storage = service.app.state.dependencies.storage
    return add_version(service.unit_of_work(), storage, name, seed=seed)


@pytest.fixture
def run_id(service: Service) -> UUID:
    """A run that succeeded."""
    uow, storage = service.unit_of_work(), service.app.state.dependencies.storage
    return add_run(uow, storage, add_dataset_version(uow, storage))


def end_check(service: Service, code: str | None = None) -> None:
    """Do to the newest version what a worker does."""
    version_id = service.queue.resource_ids[-1]
    with service.unit_of_work() as uow:
        task = TaskName(service.queue.messages[-1].task)
        claim = uow.leases.claim(task, version_id, owner="worker", seconds=60)
        assert claim is not None
        if code is None:
            assert uow.leases.succeed(claim, {"checks": {}, "card": {}})
        else:
            assert uow.leases.fail(claim, code=code, detail="production is better", context={})
        uow.commit()


class TestPromoting:
    def test_a_run_becomes_a_version_under_the_terms_that_were_said(
        self, run: Run, run_id: UUID
    ) -> None:
        terms = ["--min-dice", "0.8", "--cases", "2", "--margin", "0", "--notes", "fine"]

        result = run("model", "promote", run_id, "--name", "cervix-1", *terms, "--json")

        assert result.exit_code == 0, result.output
        version = json.loads(result.stdout)
        assert (version["name"], version["state"], version["run_id"]) == (
            "cervix-1",
            "queued",
            str(run_id),
        )
        asked = version["request"]
        assert asked["minimum"]["mean_dice"] == 0.8
        assert (asked["evaluation_cases"], asked["margin"], asked["notes"]) == (2, 0.0, "fine")

    def test_a_run_below_the_minimum_is_refused(self, run: Run, run_id: UUID) -> None:
        result = run("model", "promote", run_id, "--min-dice", "0.99")

        assert result.exit_code == 1
        assert result.stderr.startswith("error: below_minimum: ")

    def test_a_version_that_fails_its_checks_is_told_to_who_waits(
        self, run: Run, run_id: UUID, service: Service, client: CerviContourClient
    ) -> None:
        version = client.models.promote(run_id)
        end_check(service, code="worse_than_production")
        seen: list[str] = []

        failed = client.models.wait_for(version.id, lambda v: seen.append(v.state))

        assert (failed.state, seen) == ("failed", ["failed"])
        assert "worse_than_production" in run("model", "list").stdout


class TestAliases:
    def test_production_is_changed_and_rolled_back_by_name(
        self, run: Run, service: Service
    ) -> None:
        first, second = new_version(service, "v1"), new_version(service, "v2", seed=1)

        changed = [run("model", "alias", "production", name) for name in ("v1", "v2")]
        shown = run("model", "aliases").stdout.splitlines()
        listed = run("model", "list").stdout
        back = run("model", "rollback", "production", "--reason", "small bladders")

        assert [r.stdout for r in changed] == [
            f"production is {first}\n",
            f"production is {second}\n",
        ]
        assert shown[1].split() == ["production", str(second), "2"]
        assert shown[2].split() == ["shadow", "none", "0"]
        assert next(line for line in listed.splitlines() if "v2" in line).split()[4] == "production"
        assert back.stdout == f"production is {first}\n"

    def test_an_alias_may_mean_no_version(self, run: Run, service: Service) -> None:
        new_version(service, "v1")
        run("model", "alias", "shadow", "v1")

        assert run("model", "alias", "shadow", "none").stdout == "shadow is none\n"

    def test_a_change_that_was_made_by_a_lost_request_is_no_error(
        self, service: Service, client: CerviContourClient, retries: RetryPolicy
    ) -> None:
        wanted, old = new_version(service, "v1"), new_version(service, "v0", seed=1)
        client.models.set_alias("production", wanted)
        now = [found.model_dump(mode="json") for found in client.models.aliases()]
        before = [{**found, "model_version_id": str(old)} for found in now]
        problem = {
            "code": "alias_changed",
            "detail": "production was changed meanwhile",
            "context": {"model_version_id": str(wanted)},
        }
        answers = [
            Scripted(body=json.dumps({"items": before}).encode()),
            HANG_UP,
            Scripted(status=409, body=json.dumps(problem).encode()),
            Scripted(body=json.dumps({"items": now}).encode()),
        ]
        with (
            ScriptedServer(*answers) as server,
            CerviContourClient(server.url, retries=retries) as lossy,
        ):
            assert lossy.models.set_alias("production", wanted).model_version_id == wanted

        sent = [json.loads(seen.body)["replaces"] for seen in server.seen if seen.method == "PUT"]
        assert sent == [str(old), str(old)]

    def test_a_change_of_somebody_else_is_not_overruled(
        self, service: Service, client: CerviContourClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mine, theirs = new_version(service, "v1"), new_version(service, "v2", seed=1)
        client.models.set_alias("production", theirs)
        monkeypatch.setattr(client.models, "_current", lambda _: None)  # as it was a moment ago

        with pytest.raises(ProblemError) as caught:
            client.models.set_alias("production", mine)

        assert caught.value.code == "alias_changed"

    def test_a_version_in_use_is_not_retired(self, run: Run, service: Service) -> None:
        new_version(service, "v1")
        new_version(service, "v2", seed=1)
        run("model", "alias", "production", "v1")

        assert run("model", "retire", "v1").stderr.startswith("error: model_version_in_use: ")
        assert run("model", "retire", "v2").stdout.endswith("v2: retired\n")

    def test_a_version_nobody_made_is_told(self, run: Run) -> None:
        by_name = run("model", "alias", "production", "v9")
        by_id = run("model", "alias", "production", uuid4())

        for result in (by_name, by_id):
            assert result.exit_code == 1
            assert result.stderr.startswith("error: model_version_not_found: ")


def test_a_version_leaves_as_a_file_that_is_known_here(
    run: Run, service: Service, tmp_path: Path
) -> None:
    new_version(service, "v1")
    path = tmp_path / "v1.zip"

    exported = run("model", "export", "v1", "--out", path)
    imported = run("model", "import", path)

    assert exported.stdout == f"{path}\n"
    assert imported.stderr.startswith("error: model_version_exists: ")


def test_a_file_of_another_service_is_imported_and_checked(
    run: Run, service: Service, tmp_path: Path
) -> None:
    (tmp_path / "weights").mkdir()
    write_weights(tmp_path / "weights", seed=5)
    manifest = describe("foreign", "cervix", tmp_path / "weights")
    path = tmp_path / "foreign.zip"
    path.write_bytes(b"".join(stream_archive(manifest, tmp_path / "weights")))

    result = run("model", "import", path, "--name", "ours", "--json")
    end_check(service)

    assert result.exit_code == 0, result.output
    version = json.loads(result.stdout)
    assert (version["name"], version["origin"], version["state"]) == ("ours", "import", "queued")
    assert version["weights_sha256"] == manifest.weights.sha256
    assert "ours  succeeded" in run("model", "list").stdout


def test_what_is_no_export_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "v1.zip").write_bytes(b"PK")

    result = run("model", "import", tmp_path / "v1.zip")

    assert (result.exit_code, result.stderr.split(": ")[1]) == (1, "not_a_zip")
