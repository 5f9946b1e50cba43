"""Log lines as json with one correlation id from request to task, and no patient identifier."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import structlog
from structlog.contextvars import bound_contextvars
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, ExcInfo, WrappedLogger

from services.core.errors import ServiceError

WITHHELD = "[withheld]"

IDENTIFYING_KEYS = frozenset(
    {
        "patient",
        "patient_name",
        "patient_id",
        "patient_birth_date",
        "accession_number",
        "file_name",
        "file_names",  # hospitals name files after patients
        "filename",
    }
)
"""Keys whose values never reach a log line, whoever binds them."""

QUIET_LOGGERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "celery", "celery.task", "kombu")
"""Loggers that come with handlers of their own and must speak through the root instead."""

log_context = bound_contextvars
"""with log_context(correlation_id=..., job_id=...): every line inside carries the values."""


def configure_logging(level: str) -> None:
    """Send every log line of this process, whoever writes it, to stderr as one json object."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _withhold_identifiers,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.ExceptionRenderer(_Tracebacks()),
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    handler.addFilter(_withhold_exceptions_of_celery)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    _silence_pydicom()
    warnings.showwarning = _log_warning


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a module."""
    return structlog.stdlib.get_logger(name)


def _silence_pydicom() -> None:
    # pydicom quotes offending values, PatientName among them, in its log lines and warnings.
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module=r"pydicom\..*")


def _withhold_identifiers(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key in IDENTIFYING_KEYS & event.keys():
        event[key] = WITHHELD
    return event


class _Tracebacks(ExceptionDictTransformer):
    """Tracebacks without what programs quote: no local variables, no words but our own.

    pydicom puts a patient's name into a ValueError, SQLAlchemy and the file system put in what
    they were given. The type and the lines of code stay; of an OSError also what its number means.
    """

    def __init__(self) -> None:
        super().__init__(show_locals=False)

    def __call__(self, exc_info: ExcInfo) -> list[dict[str, Any]]:  # Any: structlog's json
        """Return the stacks of an exception and of those before it."""
        stacks = super().__call__(exc_info)
        error: BaseException | None = exc_info[1]
        for stack in stacks:
            is_known = type(error).__name__ == stack["exc_type"]
            words = _own_words(error) if error is not None and is_known else WITHHELD
            stack["exc_value"] = words
            error = error and (error.__cause__ or error.__context__)
            for withheld in _stacks_within(stack):
                withheld["exc_value"] = WITHHELD
            stack["exc_notes"] = []
        return stacks


def _own_words(error: BaseException) -> str:
    if isinstance(error, ServiceError) or type(error).__module__ == "ml.dicom.errors":
        return str(error)
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return WITHHELD


def _stacks_within(stack: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the stacks of the exceptions of a group, on every level."""
    for trace in stack["exceptions"]:
        for inner in trace:
            yield inner
            yield from _stacks_within(inner)


def _withhold_exceptions_of_celery(record: logging.LogRecord) -> bool:
    # its lines of failed tasks hold the repr of the exception
    if isinstance(record.args, Mapping) and "exc" in record.args:
        record.args = {**record.args, "exc": WITHHELD, "traceback": WITHHELD}
    return True


def _log_warning(
    message: Warning | str,  # noqa: ARG001  # pydicom and others quote values in it
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,  # noqa: ARG001  # the signature of warnings.showwarning
    line: str | None = None,  # noqa: ARG001  # likewise
) -> None:
    """Log that there was a warning, and where: not its words."""
    source = f"{Path(filename).name}:{lineno}"
    get_logger("warnings").warning("python warning", category=category.__name__, source=source)
