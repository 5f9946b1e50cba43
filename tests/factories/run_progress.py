"""Experiments asked for over HTTP, and what workers do to their runs without any training."""

from typing import Any
from uuid import UUID

import httpx

from services.core.queue import TaskName
from services.core.repositories.leases import Claim
from services.core.tables.experiments import RunEpoch
from tests.factories.api import Api
from tests.factories.experiments import add_dataset_version


def start(api: Api, run_id: str) -> Claim:
    with api.unit_of_work() as uow:
        claim = uow.leases.claim(TaskName.RUN_TRAIN, UUID(run_id), owner="worker", seconds=60)
        uow.commit()
    assert claim is not None
    return claim


def record_epochs(api: Api, claim: Claim, count: int, dice: float = 0.5) -> None:
    for number in range(1, count + 1):
        epoch = RunEpoch(
            run_id=claim.resource_id,
            epoch=number,
            training_loss=1 / number,
            validation_loss=2 / number,
            validation_dice={"Bladder": dice, "Rectum": None},
            mean_dice=dice,
            learning_rate=1e-3,
            seconds=10.0,
            is_best=True,
            is_best_dice=number == 1,
        )
        with api.unit_of_work() as uow:
            uow.runs.record_epoch(claim, epoch, 3)
            uow.commit()


def succeed(api: Api, claim: Claim, dice: float) -> None:
    columns = {
        "validation_loss": 0.2,
        "validation_dice": {"Bladder": dice, "Rectum": None},
        "mean_dice": dice,
        "test_dice": dice - 0.1,
    }
    with api.unit_of_work() as uow:
        assert uow.leases.succeed(claim, columns)
        uow.commit()


def fail(api: Api, claim: Claim) -> None:
    with api.unit_of_work() as uow:
        assert uow.leases.fail(claim, code="non_finite_loss", detail="nan", context={})
        uow.commit()


def version_of(api: Api, **values: Any) -> str:
    return str(add_dataset_version(api.unit_of_work(), **values).id)


async def post_experiment(
    api: Api, version_id: str, headers: dict[str, str] | None = None, **values: Any
) -> httpx.Response:
    body = {"kind": "training", "dataset_version_id": version_id} | values
    return await api.client.post("/v1/experiments", json=body, headers=headers)


async def runs_of(api: Api, experiment_id: str) -> list[dict[str, Any]]:
    found = await api.client.get(f"/v1/experiments/{experiment_id}/runs?limit=200")
    return found.json()["items"]
