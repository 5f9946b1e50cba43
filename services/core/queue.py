"""The doorbell: messages that say a row is waiting. Rows are the truth; messages may be lost."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from services.core.errors import QueueUnavailableError

if TYPE_CHECKING:
    from celery import Celery

SOCKET_TIMEOUT_SECONDS = 3.0
"""A frozen broker delays a request by this much; the row is committed before."""

VISIBILITY_TIMEOUT_SECONDS = 12 * 3600
"""Redis redelivers an unacknowledged message after this. The lease, not the broker, notices a lost
worker; a training that takes longer is delivered again, and finds nothing to do."""

FILESYSTEM_SCHEME = "filesystem://"


class QueueName(StrEnum):
    """One queue a kind of worker."""

    INFERENCE = "inference"
    TRAINING = "training"
    DATA = "data"
    """What needs neither a GPU nor the wait behind hours of training: datasets, comparisons,
    reports."""


class TaskName(StrEnum):
    """What a message asks for, as noun.verb."""

    CONTOUR_JOB_RUN = "contour_job.run"
    SHADOW_CONTOUR_RUN = "shadow_contour.run"
    RUN_TRAIN = "run.train"
    DATASET_VERSION_INDEX = "dataset_version.index"
    EDITED_RTSTRUCT_COMPARE = "edited_rtstruct.compare"
    MODEL_VERSION_CHECK = "model_version.check"
    REPORT_WRITE = "report.write"


QUEUE_OF = {
    TaskName.CONTOUR_JOB_RUN: QueueName.INFERENCE,
    TaskName.SHADOW_CONTOUR_RUN: QueueName.INFERENCE,
    TaskName.RUN_TRAIN: QueueName.TRAINING,
    TaskName.DATASET_VERSION_INDEX: QueueName.DATA,
    TaskName.EDITED_RTSTRUCT_COMPARE: QueueName.DATA,
    TaskName.MODEL_VERSION_CHECK: QueueName.DATA,
    TaskName.REPORT_WRITE: QueueName.DATA,
}
"""Which workers do what."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """Run this task on that row."""

    task: TaskName
    resource_id: UUID

    @property
    def queue(self) -> QueueName:
        """Where its workers listen."""
        return QUEUE_OF[self.task]


class JobQueue(Protocol):
    """Takes messages to workers, perhaps twice, perhaps never."""

    def send(self, message: Message) -> None:
        """Hand a message to the broker; raises QueueUnavailableError."""
        ...

    def check(self) -> None:
        """Prove that the broker answers; raises QueueUnavailableError."""
        ...


class CeleryQueue:
    """Messages through a Celery broker, without waiting for one that does not answer."""

    def __init__(self, app: "Celery") -> None:
        self._app = app

    def send(self, message: Message) -> None:
        """Hand a message to the broker.

        Raises:
            QueueUnavailableError: the broker is down, frozen or full.
        """
        self._attempt(
            lambda: self._app.send_task(
                message.task.value,
                args=[str(message.resource_id)],
                queue=message.queue.value,
                retry=False,
                ignore_result=True,
            )
        )

    def check(self) -> None:
        """Prove that the broker answers.

        Raises:
            QueueUnavailableError: it does not.
        """
        self._attempt(self._open_channel)

    def _open_channel(self) -> None:
        with self._app.connection_for_write() as connection:
            # Opening the channel is what reaches the server: kombu's own connect is lazy.
            _ = connection.default_channel

    def _attempt(self, action: Callable[[], object]) -> None:
        # Imported late, like Celery itself: the API imports in under a second without them.
        from kombu.exceptions import KombuError, OperationalError  # noqa: PLC0415
        from redis.exceptions import RedisError  # noqa: PLC0415

        try:
            action()
        except (OperationalError, KombuError, RedisError, OSError) as error:
            raise QueueUnavailableError(
                "the broker does not answer", reason=type(error).__name__
            ) from error


def create_celery(
    broker_url: str,
    broker_dir: Path,
    visibility_timeout_seconds: float = VISIBILITY_TIMEOUT_SECONDS,
) -> "Celery":
    """Build the Celery application both sides share; it connects on first use.

    Args:
        broker_url: redis://... or filesystem://
        broker_dir: folder of the messages when the broker is filesystem://
        visibility_timeout_seconds: after which Redis delivers an unacknowledged message again
    """
    # Imported late: Celery is half of the API's import time and only sending needs it.
    from celery import Celery  # noqa: PLC0415
    from kombu import Queue  # noqa: PLC0415

    app = Celery("cervicontour", set_as_current=False)
    app.conf.update(
        **_broker(broker_url, broker_dir, visibility_timeout_seconds),
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # a worker outlives any pause of its broker
        task_queues=[Queue(name.value) for name in QueueName],
        task_default_queue=QueueName.INFERENCE.value,
        task_create_missing_queues=False,
        task_ignore_result=True,  # results are rows and files
        task_acks_late=True,
        task_reject_on_worker_lost=False,  # the lease recovers the job, and stops poison
        worker_prefetch_multiplier=1,
        worker_send_task_events=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
    )
    return app


def _broker(
    broker_url: str, broker_dir: Path, visibility_timeout_seconds: float
) -> dict[str, object]:
    if broker_url.startswith(FILESYSTEM_SCHEME):
        # Imported late, as Celery is.
        from services.core.folder_broker import POLLING_SECONDS  # noqa: PLC0415

        broker_dir.mkdir(parents=True, exist_ok=True)
        return {
            "broker_url": "folder",  # a host name, for without :// the transport below counts
            "broker_transport": "services.core.folder_broker:FolderTransport",
            "broker_transport_options": {
                "folder": str(broker_dir),
                "polling_interval": POLLING_SECONDS,
            },
            "worker_enable_remote_control": False,  # needs broadcasts; rows do what it would do
        }
    # Imported late, as Celery is.
    from services.core.redis_broker import use_for_redis  # noqa: PLC0415

    use_for_redis()
    return {
        "broker_url": broker_url,
        "broker_transport_options": {
            "visibility_timeout": visibility_timeout_seconds,
            "socket_timeout": SOCKET_TIMEOUT_SECONDS,
            "socket_connect_timeout": SOCKET_TIMEOUT_SECONDS,
            "unacked_restore_throttle": 1,
            "max_retries": 0,  # else a send tries for 6 s while the server is down, 8 s if frozen
        },
    }
