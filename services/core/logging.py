"""Log lines as json with one correlation id from request to task, and no patient identifier."""

import logging
import sys
import warnings

import structlog
from structlog.contextvars import bound_contextvars
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, WrappedLogger

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
                structlog.processors.ExceptionRenderer(
                    # Local variables may hold a patient's name.
                    ExceptionDictTransformer(show_locals=False)
                ),
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    _silence_pydicom()


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
