"""What a command says when its input is wrong: one line, and exit code 2."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from ml.config import ConfigError
from ml.data.dataset import DatasetError
from ml.dicom.errors import DicomError

BAD_INPUT_STATUS = 2
"""Exit code of refused input, the same that click uses for wrong options."""


class BadInputError(click.ClickException):
    """Input was refused; the group prints `error: code: message`."""

    exit_code = BAD_INPUT_STATUS

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@contextmanager
def refusing(code: str, *errors: type[Exception]) -> Iterator[None]:
    """Turn errors of a command's own modules into a refusal under a code.

    Raises:
        BadInputError: one of the errors came up inside.
    """
    try:
        yield
    except errors as error:
        raise BadInputError(code, str(error)) from error


@contextmanager
def refusing_known_errors() -> Iterator[None]:
    """Turn the errors that every command may meet into refusals.

    Raises:
        BadInputError: a configuration, dataset or DICOM input that cannot be used.
    """
    try:
        with refusing("config", ConfigError), refusing("dataset", DatasetError):
            yield
    except DicomError as error:
        raise BadInputError(error.code, error.message) from error
