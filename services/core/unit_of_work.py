"""One transaction and the messages that may only leave once it is committed."""

from itertools import takewhile
from types import TracebackType
from typing import Self
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from services.core.actor import SYSTEM, Actor
from services.core.database import Now, empty_write_ahead_log, utc_now
from services.core.errors import QueueUnavailableError
from services.core.logging import get_logger
from services.core.queue import JobQueue, Message, TaskName
from services.core.repositories.acceptability import AcceptabilityRepository
from services.core.repositories.api_keys import ApiKeyRepository
from services.core.repositories.audit import AuditRepository
from services.core.repositories.backlog import BacklogRepository
from services.core.repositories.contour_jobs import ContourJobRepository
from services.core.repositories.dataset_cases import DatasetCaseRepository
from services.core.repositories.dataset_versions import DatasetVersionRepository
from services.core.repositories.datasets import DatasetRepository
from services.core.repositories.deletions import DeletionRepository
from services.core.repositories.drift import DriftRepository
from services.core.repositories.edited_rtstructs import EditedRtstructRepository
from services.core.repositories.erasure import ErasureRepository
from services.core.repositories.experiments import ExperimentRepository
from services.core.repositories.idempotency import IdempotencyRepository
from services.core.repositories.leases import LeaseRepository
from services.core.repositories.model_aliases import ModelAliasRepository
from services.core.repositories.model_versions import ModelVersionRepository
from services.core.repositories.reader_names import ReaderNameRepository
from services.core.repositories.reports import ReportRepository
from services.core.repositories.reviews import ReviewRepository
from services.core.repositories.runs import RunRepository
from services.core.repositories.series import SeriesRepository
from services.core.repositories.shadow_contours import ShadowContourRepository
from services.core.repositories.tallies import TallyRepository
from services.core.repositories.workers import WorkerRepository

log = get_logger(__name__)


class UnitOfWork:
    """`with uow:` is a transaction: commit() keeps it, leaving without it rolls it back.

    One instance serves one thread and may be entered again after it was left. A message that
    the broker does not take is logged and stays unsent in its row; housekeeping sends it later.
    """

    def __init__(
        self,
        sessions: sessionmaker[Session],
        queue: JobQueue,
        now: Now = utc_now,
        *,
        actor: Actor = SYSTEM,
    ) -> None:
        self._sessions = sessions
        self._queue = queue
        self._now = now
        self.actor = actor

    def __enter__(self) -> Self:
        """Open the transaction."""
        self._session = self._sessions()
        self._messages: list[Message] = []
        self.audit = AuditRepository(self._session, self._now, self.actor)
        self.deletions = DeletionRepository(self._session, self._now, self.actor)
        self.erasure = ErasureRepository(self._session, self._now)
        self.api_keys = ApiKeyRepository(self._session, self._now)
        self.reader_names = ReaderNameRepository(self._session)
        self.series = SeriesRepository(self._session, self._now, self.actor)
        self.contour_jobs = ContourJobRepository(self._session, self._now, self.actor)
        self.leases = LeaseRepository(self._session, self._now)
        self.idempotency = IdempotencyRepository(self._session, self._now, self.actor.id)
        self.workers = WorkerRepository(self._session, self._now)
        self.datasets = DatasetRepository(self._session, self._now)
        self.dataset_versions = DatasetVersionRepository(self._session, self._now)
        self.dataset_cases = DatasetCaseRepository(self._session)
        self.experiments = ExperimentRepository(self._session, self._now)
        self.runs = RunRepository(self._session, self._now)
        self.reports = ReportRepository(self._session, self._now)
        self.model_versions = ModelVersionRepository(self._session, self._now)
        self.model_aliases = ModelAliasRepository(self._session, self._now)
        self.shadow_contours = ShadowContourRepository(self._session, self._now)
        self.reviews = ReviewRepository(self._session, self._now, self.actor)
        self.acceptability = AcceptabilityRepository(self._session)
        self.drift = DriftRepository(self._session)
        self.edited_rtstructs = EditedRtstructRepository(self._session, self._now, self.actor)
        self.backlog = BacklogRepository(self._session, self._now)
        self.tallies = TallyRepository(self._session, self._now)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Roll back what was not committed."""
        self._session.close()

    def enqueue(self, task: TaskName, resource_id: UUID) -> None:
        """Have a message sent after the commit."""
        self._messages.append(Message(task=task, resource_id=resource_id))

    def commit(self) -> None:
        """Make the transaction durable, then send its messages and note which were taken."""
        self.audit.write()
        self._session.commit()
        messages, self._messages = self._messages, []
        # Behind one that the broker did not take the others would only wait as long, one by one.
        sent = list(takewhile(self._is_sent, messages))
        for task in {message.task for message in sent}:
            self.leases.mark_sent(task, [m.resource_id for m in sent if m.task is task])
        if sent:
            self._session.commit()

    def forget_old_pages(self) -> None:
        """Have the database forget what rows held before the last commits, where it keeps it."""
        with self._sessions() as session:
            engine = session.get_bind()
        if isinstance(engine, sa.Engine):
            empty_write_ahead_log(engine)

    def _is_sent(self, message: Message) -> bool:
        try:
            self._queue.send(message)
        except QueueUnavailableError as error:
            log.warning("message unsent", resource_id=str(message.resource_id), **error.context)
            return False
        return True
