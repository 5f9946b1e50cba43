"""What can be wrong with a request about a known series."""

from collections.abc import Mapping
from uuid import UUID

from services.core.errors import ConflictError


class SeriesInUseError(ConflictError):
    """Work that has not ended needs the series: a job, a comparison, a dataset version."""

    code = "series_in_use"

    def __init__(self, series_id: UUID, users: Mapping[str, UUID]) -> None:
        named = " of ".join(f"{kind.replace('_', ' ')} {used}" for kind, used in users.items())
        super().__init__(
            f"{named} still needs series {series_id}",
            series_id=str(series_id),
            **{f"{kind}_id": str(used) for kind, used in users.items()},
        )
        self.series_id = series_id


class SeriesSharedError(ConflictError):
    """Others posted the same content; what is theirs too goes by an administrator alone."""

    code = "series_shared"

    def __init__(self, series_id: UUID) -> None:
        super().__init__(
            f"others posted the content of series {series_id} too; an administrator may remove it",
            series_id=str(series_id),
        )
        self.series_id = series_id
