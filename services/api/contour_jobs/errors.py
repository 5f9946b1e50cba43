"""Why a job cannot be made."""

from uuid import UUID

from services.core.errors import ServiceError


class SeriesPurgedError(ServiceError):
    """The files of the series were removed."""

    code = "series_purged"

    def __init__(self, series_id: UUID) -> None:
        super().__init__(
            f"the files of series {series_id} were removed; post the series again",
            series_id=str(series_id),
        )
        self.series_id = series_id
