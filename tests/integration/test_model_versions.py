"""Versions and aliases under contention, and their sums, on both databases."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar
from uuid import UUID, uuid4

from ml.structures import CERVIX
from services.core.lifecycle import AliasName, JobState, ModelVersionOrigin
from services.core.queue import TaskName
from services.core.repositories.shadow_contours import MeanAgreement
from services.core.tables.model_versions import ModelAliasChange, ModelVersion
from tests.factories.model_versions import EVALUATION
from tests.integration.deployment import Deployment

Answer = TypeVar("Answer")
AT_ONCE = 4


def make_version(name: str, weights_sha256: str | None = None) -> ModelVersion:
    return ModelVersion(
        id=uuid4(),
        name=name,
        origin=ModelVersionOrigin.IMPORT,
        request=EVALUATION,
        weights_sha256=weights_sha256 or uuid4().hex * 2,
        structure_set="cervix",
        correlation_id="request-1",
        max_attempts=3,
    )


def add_version(deployment: Deployment, version: ModelVersion) -> UUID:
    with deployment.unit_of_work() as uow:
        added = uow.model_versions.add(version)
        uow.commit()
        return added.id


def at_once(action: Callable[[int], Answer]) -> Sequence[Answer]:
    barrier = Barrier(AT_ONCE)

    def run(number: int) -> Answer:
        barrier.wait()
        return action(number)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(run, range(AT_ONCE)))


def test_of_versions_of_one_name_made_at_once_there_is_one(deployment: Deployment) -> None:
    name = uuid4().hex

    ids = at_once(lambda _: add_version(deployment, make_version(name)))

    assert len(set(ids)) == 1


def test_of_versions_of_the_same_weights_made_at_once_there_is_one(deployment: Deployment) -> None:
    weights_sha256 = uuid4().hex * 2

    ids = at_once(lambda _: add_version(deployment, make_version(uuid4().hex, weights_sha256)))

    assert len(set(ids)) == 1


def test_of_changes_of_an_alias_made_at_once_one_wins(deployment: Deployment) -> None:
    versions = [add_version(deployment, make_version(uuid4().hex)) for _ in range(AT_ONCE)]
    with deployment.unit_of_work() as uow:
        seen = uow.model_aliases.get(AliasName.SHADOW)

    def change(number: int) -> bool:
        with deployment.unit_of_work() as uow:
            wanted = ModelAliasChange(model_version_id=versions[number], is_rollback=False)
            changed = uow.model_aliases.change(seen, wanted)
            uow.commit()
        return changed

    won = at_once(change)

    assert sorted(won) == [False, False, False, True]
    with deployment.unit_of_work() as uow:
        now = uow.model_aliases.get(AliasName.SHADOW)
        assert now.model_version_id == versions[won.index(True)]
        assert now.revision == seen.revision + 1
        assert uow.model_aliases.change(
            now, ModelAliasChange(model_version_id=None, is_rollback=False)
        )
        uow.commit()


def test_agreement_is_averaged_by_the_database(deployment: Deployment) -> None:
    version_id = add_version(deployment, make_version(uuid4().hex))
    for dice, distance in ((0.5, 2), (1.0, None)):
        job_id = deployment.post_job(send=False)
        with deployment.unit_of_work() as uow:
            shadow = uow.shadow_contours.add(job_id, version_id, correlation_id="c", max_attempts=1)
            claim = uow.leases.claim(
                TaskName.SHADOW_CONTOUR_RUN, shadow.id, owner="worker", seconds=60
            )
            assert claim is not None
            scores = {name: {"dice": dice, "hd95_mm": distance} for name in CERVIX.names}
            assert uow.leases.succeed(claim, {"scores": scores})
            uow.contour_jobs.request_cancel(job_id)
            uow.commit()

    with deployment.unit_of_work() as uow:
        summary = uow.shadow_contours.summary(version_id, CERVIX.names, ("dice", "hd95_mm"))

    assert summary.counts == {JobState.SUCCEEDED: 2}
    assert summary.agreement["CTV-UV"] == {
        "dice": MeanAgreement(mean=0.75, jobs=2),
        "hd95_mm": MeanAgreement(mean=2.0, jobs=1),
    }
