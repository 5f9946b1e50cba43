from uuid import uuid4

from services.core.errors import ConflictError, IllegalTransitionError, SeriesNotFoundError


def test_an_error_is_a_sentence_with_its_facts() -> None:
    series_id = uuid4()

    error = SeriesNotFoundError(series_id)

    assert str(error) == error.message == f"there is no series {series_id}"
    assert error.context == {"series_id": str(series_id)}


def test_codes_name_the_reason() -> None:
    error = IllegalTransitionError(uuid4(), "failed", "cancelled")

    assert error.code == "illegal_transition"
    assert isinstance(error, ConflictError)
