"""What production and shadow mean: shown, changed by compare-and-swap, rolled back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from ml.structures import CERVIX
from services.api.idempotency import KeyedRoute, RequestKey, text_sha256
from services.api.model_aliases.errors import (
    AliasChangedError,
    NothingToRollBackError,
    VersionRetiredError,
)
from services.core.audit import Action, ResourceKind
from services.core.errors import ModelVersionNotReadyError
from services.core.lifecycle import AliasName, JobState
from services.core.model_errors import StructuresDifferError
from services.core.repositories.paging import PageCursor
from services.core.tables.model_versions import ModelAlias, ModelAliasChange
from services.core.unit_of_work import UnitOfWork


@dataclass(frozen=True, kw_only=True, slots=True)
class WantedChange:
    """What an alias shall mean, and what it is thought to mean."""

    alias: AliasName
    model_version_id: UUID | None
    """None: the weights of the settings, or no shadow."""
    replaces: UUID | None
    reason: str | None


class ModelAliasService:
    """Aliases in the words of the domain."""

    def __init__(self, new_unit_of_work: Callable[[], UnitOfWork]) -> None:
        self._new_unit_of_work = new_unit_of_work

    def all(self) -> list[ModelAlias]:
        """Return every alias as it is now."""
        with self._new_unit_of_work() as uow:
            return uow.model_aliases.all()

    def change(self, wanted: WantedChange) -> ModelAlias:
        """Have an alias mean another version; nothing is noted if it means it already.

        Raises:
            ModelVersionNotFoundError: no row has the id.
            ModelVersionNotReadyError: the version was not checked.
            VersionRetiredError: it takes no alias any more.
            StructuresDifferError: it finds other structures than the service contours.
            AliasChangedError: the alias means something else than what was to be replaced.
        """
        with self._new_unit_of_work() as uow:
            if wanted.model_version_id is not None:
                _check_version(uow, wanted.model_version_id)
            seen = uow.model_aliases.get(wanted.alias)
            if seen.model_version_id != wanted.replaces:
                raise AliasChangedError(wanted.alias, seen.model_version_id)
            if seen.model_version_id != wanted.model_version_id:
                change = ModelAliasChange(
                    model_version_id=wanted.model_version_id,
                    is_rollback=False,
                    reason=wanted.reason,
                )
                _swap(uow, seen, change)
                _record(uow, Action.MODEL_ALIAS_MOVED, change, seen)
                uow.commit()
            return uow.model_aliases.get(wanted.alias)

    def roll_back(
        self, alias: AliasName, reason: str | None, idempotency_key: str | None
    ) -> ModelAlias:
        """Have an alias mean what it meant before, passing over versions that were retired.

        Rolling back again goes further back, never forward to what was rolled back from.

        Raises:
            NothingToRollBackError: there is nothing before.
            AliasChangedError: somebody else changed it at this moment.
            IdempotencyKeyReusedError: the key came with a different request.
        """
        key = RequestKey(
            route=KeyedRoute.MODEL_ALIAS_ROLLBACKS,
            key=idempotency_key,
            request_sha256=text_sha256(f"{alias} {reason}"),
        )
        with self._new_unit_of_work() as uow:
            if key.find(uow) is None:
                seen = uow.model_aliases.get(alias)
                change = ModelAliasChange(
                    id=uuid4(), model_version_id=_target(uow, seen), is_rollback=True, reason=reason
                )
                _swap(uow, seen, change)
                _record(uow, Action.MODEL_ALIAS_ROLLED_BACK, change, seen)
                if key.remember(uow, change.id) == change.id:
                    uow.commit()
        # Else the same request did it before: nothing of this one stays.
        with self._new_unit_of_work() as uow:
            return uow.model_aliases.get(alias)

    def history(
        self, alias: AliasName, limit: int, after: PageCursor | None
    ) -> list[ModelAliasChange]:
        """List changes, newest first, from behind a cursor."""
        with self._new_unit_of_work() as uow:
            return uow.model_aliases.page(alias, limit, after)


def versions_before(changes: Sequence[ModelAliasChange]) -> list[UUID | None]:
    """Return what an alias meant before its present meaning, the latest last.

    What was rolled back from is forgotten; at the first is None, with which every alias began.

    Args:
        changes: all of the alias, in order.
    """
    meanings: list[UUID | None] = [None]
    for change in changes:
        if change.is_rollback:
            while len(meanings) > 1 and meanings[-1] != change.model_version_id:
                meanings.pop()
        else:
            meanings.append(change.model_version_id)
    return meanings[:-1]


def _target(uow: UnitOfWork, seen: ModelAlias) -> UUID | None:
    for version_id in reversed(versions_before(uow.model_aliases.history(seen.alias))):
        if version_id != seen.model_version_id and not _is_retired(uow, version_id):
            return version_id
    raise NothingToRollBackError(seen.alias)


def _is_retired(uow: UnitOfWork, version_id: UUID | None) -> bool:
    # locked, so that it is not retired before the alias means it
    return (
        version_id is not None
        and uow.model_versions.get(version_id, locked=True).retired_at is not None
    )


def _check_version(uow: UnitOfWork, version_id: UUID) -> None:
    """Lock a version, so that it is not retired meanwhile, and check that it can serve."""
    version = uow.model_versions.get(version_id, locked=True)
    if version.state is not JobState.SUCCEEDED:
        raise ModelVersionNotReadyError(version_id, version.state)
    if version.retired_at is not None:
        raise VersionRetiredError(version_id)
    if version.structure_set != CERVIX.name:
        raise StructuresDifferError(expected=CERVIX.name, found=version.structure_set)


def _record(uow: UnitOfWork, action: Action, change: ModelAliasChange, seen: ModelAlias) -> None:
    meant, replaced = change.model_version_id, change.replaced_id
    uow.audit.record(
        action,
        ResourceKind.MODEL_ALIAS,
        seen.alias.value,
        model_version_id=None if meant is None else str(meant),
        replaced_id=None if replaced is None else str(replaced),
    )


def _swap(uow: UnitOfWork, seen: ModelAlias, change: ModelAliasChange) -> None:
    if not uow.model_aliases.change(seen, change):
        raise AliasChangedError(seen.alias, uow.model_aliases.get(seen.alias).model_version_id)
