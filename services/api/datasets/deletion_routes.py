"""Routes that delete datasets and their sources."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from services.api.access.roles import allow
from services.api.datasets.deletion import DatasetDeletionService
from services.api.dependencies import DependenciesDep
from services.api.problems import ROW_CODES, problem_responses
from services.api.removal import DELETION_RESPONSES, DeletionResponse, answer_deletion
from services.core.actor import Role

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])


def _service(dependencies: DependenciesDep) -> DatasetDeletionService:
    return DatasetDeletionService(dependencies.new_unit_of_work, dependencies.storage)


ServiceDep = Annotated[DatasetDeletionService, Depends(_service)]


@router.delete(
    "/{dataset_id}",
    dependencies=[allow(Role.ADMIN)],
    summary="Delete a dataset",
    responses={
        **DELETION_RESPONSES,
        **problem_responses("dataset_not_found", "dataset_in_use", *ROW_CODES),
    },
)
def delete_dataset(dataset_id: UUID, service: ServiceDep, response: Response) -> DeletionResponse:
    """Delete name, sources, uploads and all versions with their cases; again shows the same.

    Experiments, models and reports made of it stay, and mounted folders, which are only read.
    """
    return answer_deletion(service.delete(dataset_id), response)


@router.delete(
    "/{dataset_id}/sources/{source_id}",
    dependencies=[allow(Role.ADMIN)],
    summary="Delete a source of a dataset",
    responses={
        **DELETION_RESPONSES,
        **problem_responses(
            "dataset_not_found",
            "dataset_removed",
            "dataset_source_not_found",
            "dataset_source_in_use",
            "dataset_in_use",
            *ROW_CODES,
        ),
    },
)
def delete_dataset_source(
    dataset_id: UUID,
    source_id: UUID,
    service: ServiceDep,
    response: Response,
    *,
    with_versions: Annotated[
        bool, Query(description="Delete the versions that were read from it, too.")
    ] = False,
) -> DeletionResponse:
    """Delete the files of a source; the next version is read from what is left.

    Versions that were read from it hold its cases: they must go first, or with it.
    """
    deletion = service.delete_source(dataset_id, source_id, with_versions=with_versions)
    return answer_deletion(deletion, response)
