"""Transactions of a command line on the database of the settings."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from services.core.database import create_database_engine, create_sessions
from services.core.queue import CeleryQueue, create_celery
from services.core.settings import Settings
from services.core.unit_of_work import UnitOfWork


@contextmanager
def transactions(settings: Settings) -> Iterator[Callable[[], UnitOfWork]]:
    """Give a maker of transactions on behalf of the service itself."""
    engine = create_database_engine(settings.database_url.get_secret_value())
    queue = CeleryQueue(
        create_celery(
            settings.broker_url.get_secret_value(),
            settings.broker_dir,
            settings.visibility_timeout_seconds,
        )
    )
    sessions = create_sessions(engine)
    try:
        yield lambda: UnitOfWork(sessions, queue)
    finally:
        engine.dispose()
