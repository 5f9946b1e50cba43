from services.core.queue import QUEUE_OF, TaskName
from services.core.repositories.leases import TABLE_OF
from services.worker.tasks import WORK


def test_every_task_has_a_queue_a_table_and_its_work() -> None:
    assert set(WORK) == set(QUEUE_OF) == set(TABLE_OF) == set(TaskName)
