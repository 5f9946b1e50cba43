"""Every statement about the cases of dataset versions."""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.core.lifecycle import CasePart, CaseStatus, JobState
from services.core.tables.datasets import DatasetCase, DatasetVersion


class DatasetCaseRepository:
    """What became of the candidates of dataset versions."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def replace(self, version_id: UUID, cases: Sequence[DatasetCase]) -> None:
        """Make these the cases of a version, in place of any that an earlier start left."""
        self._session.execute(sa.delete(DatasetCase).where(DatasetCase.version_id == version_id))
        self._session.add_all(cases)
        self._session.flush()

    def page(
        self,
        version_id: UUID,
        limit: int,
        after: int | None = None,
        *,
        status: CaseStatus | None = None,
        part: CasePart | None = None,
    ) -> list[DatasetCase]:
        """List the cases of a version in the order of reading, from behind a position."""
        query = sa.select(DatasetCase).where(DatasetCase.version_id == version_id)
        if after is not None:
            query = query.where(DatasetCase.position > after)
        if status is not None:
            query = query.where(DatasetCase.status == status)
        if part is not None:
            query = query.where(DatasetCase.part == part)
        return list(self._session.scalars(query.order_by(DatasetCase.position).limit(limit)))

    def last_parts(self, dataset_id: UUID) -> dict[str, CasePart]:
        """Return, by patient, the part each was last in, over all versions that succeeded."""
        rows = self._session.execute(
            sa.select(DatasetCase.patient, DatasetCase.part)
            .join(DatasetVersion, DatasetVersion.id == DatasetCase.version_id)
            .where(
                DatasetVersion.dataset_id == dataset_id,
                DatasetVersion.state == JobState.SUCCEEDED,
                DatasetCase.part.is_not(None),
            )
            .order_by(DatasetVersion.number)
        )
        return {row.patient: row.part for row in rows}

    def has_patients(self) -> bool:
        """Tell whether a case of any version ever had a pseudonym."""
        named = sa.select(DatasetCase.patient).where(DatasetCase.patient.is_not(None))
        return self._session.scalars(named.limit(1)).first() is not None

    def unmatched_names(self, version_id: UUID) -> dict[str, list[str]]:
        """Return, by case, the names of regions that meant no structure."""
        rows = self._session.execute(
            sa.select(DatasetCase.case_id, DatasetCase.unmatched_names).where(
                DatasetCase.version_id == version_id, DatasetCase.case_id.is_not(None)
            )
        )
        return {row.case_id: row.unmatched_names for row in rows}
