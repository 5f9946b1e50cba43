"""Model versions: made of runs, listed, shown, retired, and watched as shadows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from ml.config import RunConfig
from ml.structures import CERVIX
from services.api.idempotency import KeyedRoute, RequestKey, WorkRequest, text_sha256
from services.api.model_versions.errors import (
    AlreadyPromotedError,
    ModelVersionExistsError,
    ModelVersionInUseError,
    RunNotSucceededError,
)
from services.core.audit import Action, ResourceKind
from services.core.errors import DatasetNotReadyError, DatasetPurgedError, ModelVersionNotReadyError
from services.core.lifecycle import AliasName, JobState, ModelVersionOrigin
from services.core.model_errors import BelowMinimumError, StructuresDifferError
from services.core.queue import TaskName
from services.core.repositories.model_versions import VersionSources
from services.core.repositories.paging import PageCursor
from services.core.repositories.shadow_contours import ShadowSummary
from services.core.tables.experiments import Run
from services.core.tables.leased import Json
from services.core.tables.model_versions import ModelVersion, ShadowContour
from services.core.unit_of_work import UnitOfWork

SUMMARISED_MEASURES = ("dice", "hd95_mm", "surface_dice_2mm")
"""Of the scores of a shadow."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Minimum:
    """What weights must reach: Dice, as means over cases."""

    mean_dice: float | None = None
    """Mean over structures."""
    structures: dict[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """How a worker judges weights."""

    minimum: Minimum
    cases: int
    """Test cases that are contoured by the candidate and by production."""
    margin: float
    """Mean Dice by which production may be better on them."""
    notes: str | None

    def to_dict(self) -> Json:
        """Return what the row keeps."""
        return {
            "minimum": {
                "mean_dice": self.minimum.mean_dice,
                "structures": self.minimum.structures,
            },
            "evaluation_cases": self.cases,
            "margin": self.margin,
            "notes": self.notes,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownVersion:
    """A version and the aliases that mean it."""

    version: ModelVersion
    aliases: Sequence[AliasName]


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionDetails:
    """A version with where it came from."""

    shown: ShownVersion
    sources: VersionSources


class ModelVersionService:
    """Model versions in the words of the domain."""

    def __init__(self, new_unit_of_work: Callable[[], UnitOfWork]) -> None:
        self._new_unit_of_work = new_unit_of_work

    def promote(
        self, run_id: UUID, name: str | None, evaluation: Evaluation, request: WorkRequest
    ) -> ShownVersion:
        """Queue a version of a run's weights, or return what the same keyed request made.

        Raises:
            RunNotFoundError: no row has the id.
            RunNotSucceededError: the run has no weights.
            AlreadyPromotedError: it has a version that did not fail.
            ModelVersionExistsError: another version has the name or the weights.
            StructuresDifferError: it finds other structures than the service contours.
            BelowMinimumError: its test scores do not reach the minimum.
            DatasetPurgedError: its cases are gone.
            IdempotencyKeyReusedError: the key came with a different request.
        """
        key = RequestKey(
            route=KeyedRoute.MODEL_VERSIONS,
            key=request.idempotency_key,
            request_sha256=text_sha256(f"{run_id} {name} {evaluation}"),
        )
        with self._new_unit_of_work() as uow:
            version_id = key.find(uow)
            if version_id is None:
                version = _promote(uow, run_id, name, evaluation, request)
                version_id = key.remember(uow, version.id)
                if version_id == version.id:
                    uow.audit.record(
                        Action.MODEL_VERSION_PROMOTED,
                        ResourceKind.MODEL_VERSION,
                        version_id,
                        run_id=str(run_id),
                        weights_sha256=version.weights_sha256,
                    )
                    uow.commit()
                    return ShownVersion(version=version, aliases=())
        return self.get(version_id).shown

    def get(self, version_id: UUID) -> VersionDetails:
        """Return a version; raises ModelVersionNotFoundError."""
        with self._new_unit_of_work() as uow:
            version = uow.model_versions.get(version_id)
            return VersionDetails(
                shown=_shown(uow, version), sources=uow.model_versions.sources_of(version)
            )

    def page(
        self, limit: int, after: PageCursor | None, *, state: JobState | None
    ) -> list[ShownVersion]:
        """List versions, newest first, from behind a cursor."""
        with self._new_unit_of_work() as uow:
            versions = uow.model_versions.page(limit, after, state=state)
            held = uow.model_aliases.names_of([version.id for version in versions])
        return [ShownVersion(version=v, aliases=held.get(v.id, ())) for v in versions]

    def retire(self, version_id: UUID) -> ShownVersion:
        """Have a version take no alias any more; again changes nothing.

        Raises:
            ModelVersionNotFoundError: no row has the id.
            ModelVersionNotReadyError: it never could take one.
            ModelVersionInUseError: an alias means it.
        """
        with self._new_unit_of_work() as uow:
            version = uow.model_versions.get(version_id, locked=True)
            check_is_ready(version)
            shown = _shown(uow, version)
            if shown.aliases:
                raise ModelVersionInUseError(version_id, [str(name) for name in shown.aliases])
            uow.model_versions.retire(version)
            uow.audit.record(Action.MODEL_VERSION_RETIRED, ResourceKind.MODEL_VERSION, version_id)
            uow.commit()
        return shown

    def shadow_page(
        self, version_id: UUID, limit: int, after: PageCursor | None, *, state: JobState | None
    ) -> list[ShadowContour]:
        """List what a version contoured as a shadow; raises ModelVersionNotFoundError."""
        with self._new_unit_of_work() as uow:
            uow.model_versions.get(version_id)
            return uow.shadow_contours.page(version_id, limit, after, state=state)

    def shadow_summary(self, version_id: UUID) -> ShadowSummary:
        """Sum up what a version contoured as a shadow; raises ModelVersionNotFoundError."""
        with self._new_unit_of_work() as uow:
            uow.model_versions.get(version_id)
            return uow.shadow_contours.summary(version_id, CERVIX.names, SUMMARISED_MEASURES)


def check_is_ready(version: ModelVersion) -> None:
    """Return if a version passed its checks.

    Raises:
        ModelVersionNotReadyError: it did not, or not yet.
    """
    if version.state is not JobState.SUCCEEDED:
        raise ModelVersionNotReadyError(version.id, version.state)


def check_structures(config: RunConfig) -> None:
    """Return if a network of this configuration finds what the service contours.

    Raises:
        StructuresDifferError: it does not.
    """
    classes = config.network.class_count
    if config.structure_set != CERVIX.name or classes != CERVIX.class_count:
        found = f"{config.structure_set}, {classes - 1} classes"
        raise StructuresDifferError(expected=CERVIX.name, found=found)


def check_dataset(uow: UnitOfWork, version_id: UUID) -> None:
    """Return if a dataset version has cases to judge weights on.

    Raises:
        DatasetVersionNotFoundError: no row has the id.
        DatasetNotReadyError: it is not indexed.
        DatasetPurgedError: its files were removed.
    """
    version = uow.dataset_versions.get(version_id)
    if version.state is not JobState.SUCCEEDED:
        raise DatasetNotReadyError(version_id, version.state)
    if version.purged_at is not None:
        raise DatasetPurgedError(version_id)


def queue_version(uow: UnitOfWork, version: ModelVersion, request: WorkRequest) -> ModelVersion:
    """Bring a version into the open transaction, with the message that its commit sends.

    Raises:
        AlreadyPromotedError: its run has a version that did not fail.
        ModelVersionExistsError: another version has the name or the weights.
    """
    version.id = uuid4()
    version.correlation_id = request.correlation_id
    version.max_attempts = request.max_attempts
    found = uow.model_versions.add(version)
    if found is not version:
        if version.run_id is not None and found.run_id == version.run_id:
            raise AlreadyPromotedError(version.run_id, found.id)
        same = "weights" if found.weights_sha256 == version.weights_sha256 else "name"
        raise ModelVersionExistsError(found.id, same)
    uow.enqueue(TaskName.MODEL_VERSION_CHECK, version.id)
    return version


def _promote(
    uow: UnitOfWork,
    run_id: UUID,
    name: str | None,
    evaluation: Evaluation,
    request: WorkRequest,
) -> ModelVersion:
    run = uow.runs.get(run_id, locked=True)
    if run.state is not JobState.SUCCEEDED or run.weights_sha256 is None:
        raise RunNotSucceededError(run_id, run.state)
    config = RunConfig.from_dict(run.config)
    check_structures(config)
    _check_minimum(uow, run, evaluation.minimum)
    dataset_version_id = uow.experiments.get(run.experiment_id).dataset_version_id
    check_dataset(uow, dataset_version_id)
    version = ModelVersion(
        name=name or f"{config.network.name}-{config.loss.name}-{run_id.hex[:8]}",
        origin=ModelVersionOrigin.RUN,
        run_id=run_id,
        dataset_version_id=dataset_version_id,
        request=evaluation.to_dict(),
        weights_sha256=run.weights_sha256,
        structure_set=config.structure_set,
    )
    return queue_version(uow, version, request)


def _check_minimum(uow: UnitOfWork, run: Run, minimum: Minimum) -> None:
    dice = uow.runs.test_dice(run.id) if minimum.structures else {}
    found: dict[str, float | None] = {"mean_dice": run.test_dice} | dice
    asked: dict[str, float | None] = {"mean_dice": minimum.mean_dice, **minimum.structures}
    lacking: dict[str, dict[str, float | None]] = {}
    for name, least in asked.items():
        value = found.get(name)
        if least is not None and (value is None or value < least):
            lacking[name] = {"minimum": least, "found": value}
    if lacking:
        raise BelowMinimumError(lacking)


def _shown(uow: UnitOfWork, version: ModelVersion) -> ShownVersion:
    held = uow.model_aliases.names_of([version.id])
    return ShownVersion(version=version, aliases=held.get(version.id, ()))
