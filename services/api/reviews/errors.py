"""What can be wrong with a review."""

from collections.abc import Sequence

from services.core.errors import ServiceError


class UnknownStructureError(ServiceError):
    """A grade names a structure that the job did not draw."""

    code = "unknown_structure"

    def __init__(self, structure: str, known: Sequence[str]) -> None:
        super().__init__(
            f"the job drew no {structure!r}", structure=structure, structures=list(known)
        )
        self.structure = structure


class SliceOutOfRangeError(ServiceError):
    """A grade names a slice that the series does not have."""

    code = "slice_out_of_range"

    def __init__(self, slice_number: int, slice_count: int) -> None:
        super().__init__(
            f"slice {slice_number} is none of 1 to {slice_count}",
            slice_number=slice_number,
            slice_count=slice_count,
        )
        self.slice_number = slice_number


class DuplicateGradeError(ServiceError):
    """A slice of a structure was graded twice in one review."""

    code = "duplicate_grade"

    def __init__(self, structure: str, slice_number: int) -> None:
        super().__init__(
            f"slice {slice_number} of {structure} was graded twice",
            structure=structure,
            slice_number=slice_number,
        )
        self.structure = structure
        self.slice_number = slice_number
