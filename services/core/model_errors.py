"""Why weights may not serve."""

from uuid import UUID

from services.core.errors import ServiceError


class WeightsChangedError(ServiceError):
    """Stored weights are not those that the database knows."""

    code = "weights_changed"

    def __init__(self, resource_id: UUID, *, expected: str, found: str | None) -> None:
        super().__init__(
            f"the stored weights of {resource_id} are not those that are known of it",
            resource_id=str(resource_id),
            expected_sha256=expected,
            found_sha256=found,
        )
        self.resource_id = resource_id


class StructuresDifferError(ServiceError):
    """Weights find other structures than the service contours."""

    code = "structures_differ"

    def __init__(self, *, expected: str, found: str) -> None:
        super().__init__(
            f"these weights contour the structures {found!r}, the service {expected!r}",
            expected=expected,
            found=found,
        )


class BelowMinimumError(ServiceError):
    """Weights do not reach what was asked of them."""

    code = "below_minimum"

    def __init__(self, values: dict[str, dict[str, float | None]]) -> None:
        super().__init__("the weights are below the minimum that was asked for", values=values)
