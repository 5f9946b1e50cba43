"""Every statement about what the aliases mean."""

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.core.database import Now
from services.core.lifecycle import AliasName
from services.core.repositories.model_versions import ServedVersion
from services.core.repositories.paging import PageCursor, page_of
from services.core.tables.model_versions import ModelAlias, ModelAliasChange, ModelVersion


class ModelAliasRepository:
    """Aliases of model versions; every alias has its row from the migration on."""

    def __init__(self, session: Session, now: Now) -> None:
        self._session = session
        self._now = now

    def get(self, alias: AliasName) -> ModelAlias:
        """Return an alias as it is now."""
        return self._session.get_one(ModelAlias, alias, populate_existing=True)

    def all(self) -> list[ModelAlias]:
        """Return every alias as it is now."""
        query = sa.select(ModelAlias).order_by(ModelAlias.alias)
        return list(self._session.scalars(query.execution_options(populate_existing=True)))

    def served(self, alias: AliasName) -> ServedVersion | None:
        """Return the version an alias means now; None: the weights of the settings, or none."""
        row = self._session.execute(
            sa.select(ModelVersion.id, ModelVersion.name, ModelVersion.weights_sha256)
            .join(ModelAlias, ModelAlias.model_version_id == ModelVersion.id)
            .where(ModelAlias.alias == alias)
        ).one_or_none()
        if row is None:
            return None
        return ServedVersion(id=row.id, name=row.name, weights_sha256=row.weights_sha256)

    def change(self, seen: ModelAlias, change: ModelAliasChange) -> bool:
        """Have an alias mean another version, unless it was changed since it was seen.

        Of the change, alias, revision, replaced_id and created_at are set here.
        """
        change.alias, change.revision = seen.alias, seen.revision + 1
        change.replaced_id, change.created_at = seen.model_version_id, self._now()
        swapped = self._session.execute(
            sa.update(ModelAlias)
            .where(ModelAlias.alias == seen.alias, ModelAlias.revision == seen.revision)
            .values(
                model_version_id=change.model_version_id,
                revision=change.revision,
                changed_at=change.created_at,
            )
            .returning(ModelAlias.alias)
            .execution_options(synchronize_session=False)
        )
        if swapped.first() is None:
            return False
        self._session.add(change)
        self._session.flush()
        return True

    def history(self, alias: AliasName) -> list[ModelAliasChange]:
        """List every change of an alias in order."""
        query = sa.select(ModelAliasChange).where(ModelAliasChange.alias == alias)
        return list(self._session.scalars(query.order_by(ModelAliasChange.revision)))

    def page(
        self, alias: AliasName, limit: int, after: PageCursor | None = None
    ) -> list[ModelAliasChange]:
        """List changes of an alias, newest first, from behind a cursor."""
        query = sa.select(ModelAliasChange).where(ModelAliasChange.alias == alias)
        return list(self._session.scalars(page_of(query, ModelAliasChange, after).limit(limit)))

    def names_of(self, version_ids: list[UUID]) -> dict[UUID, list[AliasName]]:
        """Return the aliases that these versions hold now."""
        held: dict[UUID, list[AliasName]] = {}
        for row in self.all():
            version_id = row.model_version_id
            if version_id is not None and version_id in version_ids:
                held.setdefault(version_id, []).append(row.alias)
        return held
