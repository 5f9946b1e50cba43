"""A version serves only after its files, its network and its contours were checked."""

import hashlib
import json
from collections.abc import Callable

import pytest

from services.core.errors import StoredFilesMissingError
from services.core.lifecycle import AliasName, JobState
from services.core.storage import CARD_NAME, WEIGHTS_NAME, FilesystemStorage, StoredKind
from services.core.unit_of_work import UnitOfWork
from services.worker import model_checks
from services.worker.context import WorkerContext
from services.worker.networks import load_network
from tests.factories.model_checks import (
    TINY_PHANTOM,
    add_import,
    add_promotion,
    assert_no_files,
    knowing,
    run_check,
    serving,
)
from tests.factories.model_versions import (
    EVALUATION,
    add_dataset_version,
    add_version,
    set_alias,
    version_of,
)
from tests.fakes import loader_by_name


@pytest.fixture(autouse=True)
def _tiny_phantom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_checks, "PHANTOM", TINY_PHANTOM)


class TestPromotion:
    def test_a_real_network_is_checked_and_published_under_its_name(
        self, worker: WorkerContext, uow: UnitOfWork, storage: FilesystemStorage
    ) -> None:
        version_id = add_promotion(uow, storage, margin=1.0)

        version = run_check(serving(worker, load_network), uow, version_id)

        assert version.state is JobState.SUCCEEDED, version.error_detail
        checks = version.checks
        assert checks is not None
        assert all(check["ok"] for check in checks.values())
        assert checks.keys() >= {"checksum", "loads", "structures", "contours", "production"}
        assert checks["contours"]["cases"] == ["phantom-7", "phantom-8"]
        assert checks["contours"]["production_version"] == "resaunet-demo-g2"
        folder = storage.folder(StoredKind.MODEL_VERSIONS, version_id)
        card = json.loads((folder / CARD_NAME).read_text())
        assert card["model_version"] == "candidate"
        assert card == version.card
        assert card["weights_sha256"] == version.weights_sha256
        with uow:
            served = uow.model_versions.get_served(version_id)
        assert serving(worker, load_network).networks.get(served).model_version == "candidate"

    def test_the_values_are_those_of_the_contours(
        self, worker: WorkerContext, uow: UnitOfWork, storage: FilesystemStorage
    ) -> None:
        version_id = add_promotion(uow, storage)
        able = serving(worker, loader_by_name(knowing(0.5), candidate=knowing(1.0)))

        version = run_check(able, uow, version_id)

        assert version.state is JobState.SUCCEEDED
        assert version.checks is not None
        contours = version.checks["contours"]
        assert contours["candidate"]["mean_dice"] == 1.0
        assert set(contours["candidate"]["structures"].values()) == {1.0}
        assert 0 < contours["production"]["mean_dice"] < 1
        assert contours["production_version"] == "test-network"

    def test_worse_than_production_is_refused_with_the_values(
        self, worker: WorkerContext, uow: UnitOfWork, storage: FilesystemStorage
    ) -> None:
        version_id = add_promotion(uow, storage)
        able = serving(worker, loader_by_name(knowing(1.0), candidate=knowing(0.5)))

        version = run_check(able, uow, version_id)

        assert (version.state, version.error_code) == (JobState.FAILED, "worse_than_production")
        assert version.error_context is not None
        assert version.error_context["production"] == 1.0
        assert version.error_context["candidate"] < 0.95
        assert version.checks is not None
        assert not version.checks["production"]["ok"]
        assert version.checks["contours"]["ok"]
        assert_no_files(storage, version_id)

    def test_within_the_margin_it_passes(
        self, worker: WorkerContext, uow: UnitOfWork, storage: FilesystemStorage
    ) -> None:
        version_id = add_promotion(uow, storage, margin=1.0)
        able = serving(worker, loader_by_name(knowing(1.0), candidate=knowing(0.5)))

        assert run_check(able, uow, version_id).state is JobState.SUCCEEDED

    def test_production_is_the_version_of_the_alias(
        self, worker: WorkerContext, uow: UnitOfWork, storage: FilesystemStorage
    ) -> None:
        set_alias(uow, AliasName.PRODUCTION, add_version(uow, storage, "good", seed=9))
        version_id = add_promotion(uow, storage)
        able = serving(
            worker, loader_by_name(knowing(0.1), good=knowing(1.0), candidate=knowing(0.5))
        )

        version = run_check(able, uow, version_id)

        assert version.error_code == "worse_than_production"
        assert version.checks is not None
        assert version.checks["contours"]["production_version"] == "good"

    def test_below_the_minimum_is_refused(
        self, worker: WorkerContext, uow: UnitOfWork, storage: FilesystemStorage
    ) -> None:
        minimum = {"mean_dice": 0.1, "structures": {"Bladder": 0.99}}
        version_id = add_promotion(uow, storage, minimum=minimum)
        able = serving(worker, loader_by_name(knowing(0.5), candidate=knowing(0.5)))

        version = run_check(able, uow, version_id)

        assert (version.state, version.error_code) == (JobState.FAILED, "below_minimum")
        assert version.error_context is not None
        assert version.error_context["values"].keys() == {"Bladder"}
        assert_no_files(storage, version_id)

    def test_weights_that_are_not_the_run_s_are_refused(
        self, worker: WorkerContext, uow: UnitOfWork, storage: FilesystemStorage
    ) -> None:
        version_id = add_promotion(uow, storage)
        run_id = version_of(uow, version_id).run_id
        assert run_id is not None
        path = storage.file(StoredKind.RUNS, run_id, WEIGHTS_NAME)
        path.write_bytes(path.read_bytes()[:-1] + b"x")

        version = run_check(serving(worker, load_network), uow, version_id)

        assert (version.state, version.error_code) == (JobState.FAILED, "weights_changed")
        assert version.checks is not None
        assert version.checks.keys() == {"checksum"}
        assert_no_files(storage, version_id)

    def test_a_dataset_without_test_cases_judges_nothing(
        self, worker: WorkerContext, uow: UnitOfWork, storage: FilesystemStorage
    ) -> None:
        version_id = add_promotion(uow, storage, has_test_cases=False)

        version = run_check(serving(worker, load_network), uow, version_id)

        assert (version.state, version.error_code) == (JobState.FAILED, "no_test_cases")

    def test_files_of_the_run_that_are_gone_are_told(
        self, worker: WorkerContext, uow: UnitOfWork, storage: FilesystemStorage
    ) -> None:
        version_id = add_promotion(uow, storage)
        run_id = version_of(uow, version_id).run_id
        assert run_id is not None
        storage.delete(StoredKind.RUNS, run_id)

        version = run_check(serving(worker, load_network), uow, version_id)

        assert (version.state, version.error_code) == (JobState.FAILED, "stored_files_missing")


class TestImport:
    def test_it_contours_a_phantom_where_there_are_no_cases(
        self, worker: WorkerContext, uow: UnitOfWork, storage: FilesystemStorage
    ) -> None:
        version_id = add_import(uow, storage)
        able = serving(worker, loader_by_name(knowing(1.0), candidate=knowing(0.1)))

        version = run_check(able, uow, version_id)

        assert version.state is JobState.SUCCEEDED  # a phantom says little of real patients
        assert version.checks is not None
        assert version.checks["contours"]["cases"] == ["phantom-910001"]
        assert version.checks["contours"]["candidate"]["mean_dice"] < 0.5
        assert storage.folder(StoredKind.MODEL_VERSIONS, version_id).is_dir()
        with pytest.raises(StoredFilesMissingError):
            storage.folder(StoredKind.MODEL_UPLOADS, version_id)

    def test_with_a_dataset_it_is_judged_like_a_run(
        self, worker: WorkerContext, uow: UnitOfWork, storage: FilesystemStorage
    ) -> None:
        dataset_version_id = add_dataset_version(uow, storage)
        version_id = add_import(uow, storage, dataset_version_id=dataset_version_id)
        able = serving(worker, loader_by_name(knowing(1.0), candidate=knowing(0.1)))

        version = run_check(able, uow, version_id)

        assert (version.state, version.error_code) == (JobState.FAILED, "worse_than_production")
        assert_no_files(storage, version_id)

    @pytest.mark.parametrize(
        "change",
        [
            lambda card: card["run_config"]["network"].update(width=0.25),
            lambda card: card.update(colour="red"),
            lambda card: card.pop("intended_use"),
        ],
    )
    def test_a_card_that_makes_no_network_is_refused(
        self,
        worker: WorkerContext,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        change: Callable[[dict], object],
    ) -> None:
        version_id = add_import(uow, storage)
        path = storage.file(StoredKind.MODEL_UPLOADS, version_id, CARD_NAME)
        card = json.loads(path.read_text())
        change(card)
        path.write_text(json.dumps(card))

        version = run_check(serving(worker, load_network), uow, version_id)

        assert (version.state, version.error_code) == (JobState.FAILED, "weights_unusable")
        assert version.checks is not None
        assert not version.checks["loads"]["ok"]
        assert_no_files(storage, version_id)

    def test_a_card_that_is_not_the_manifest_s_is_refused(
        self, worker: WorkerContext, uow: UnitOfWork, storage: FilesystemStorage
    ) -> None:
        version_id = add_import(uow, storage)
        path = storage.file(StoredKind.MODEL_UPLOADS, version_id, CARD_NAME)
        sent = hashlib.sha256(path.read_bytes()).hexdigest()
        with uow:
            uow.model_versions.get(version_id).request = EVALUATION | {"card_sha256": sent}
            uow.commit()
        path.write_bytes(path.read_bytes() + b" ")

        version = run_check(serving(worker, load_network), uow, version_id)

        assert (version.state, version.error_code) == (JobState.FAILED, "weights_changed")
        assert version.checks is not None
        assert not version.checks["card"]["ok"]

    def test_an_absent_card_is_refused(
        self, worker: WorkerContext, uow: UnitOfWork, storage: FilesystemStorage
    ) -> None:
        version_id = add_import(uow, storage)
        storage.file(StoredKind.MODEL_UPLOADS, version_id, CARD_NAME).unlink()

        version = run_check(serving(worker, load_network), uow, version_id)

        assert (version.state, version.error_code) == (JobState.FAILED, "weights_unusable")

    def test_numbers_that_json_lacks_are_no_obstacle(
        self, worker: WorkerContext, uow: UnitOfWork, storage: FilesystemStorage
    ) -> None:
        version_id = add_import(uow, storage)
        path = storage.file(StoredKind.MODEL_UPLOADS, version_id, CARD_NAME)
        text = path.read_text().replace('"metrics": {}', '"metrics": {"a": NaN, "b": 1e999}')
        path.write_text(text)

        version = run_check(serving(worker, load_network), uow, version_id)

        assert version.state is JobState.SUCCEEDED, version.error_detail
        assert version.card is not None
        assert version.card["metrics"] == {"a": None, "b": None}
