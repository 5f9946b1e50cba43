import json
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from services.core.errors import QueueUnavailableError
from services.core.queue import CeleryQueue, Message, TaskName, create_celery

MESSAGE = Message(task=TaskName.CONTOUR_JOB_RUN, resource_id=uuid4())


class TestCeleryQueue:
    def test_a_message_carries_one_id_and_nothing_else(self, tmp_path: Path) -> None:
        queue = CeleryQueue(create_celery("filesystem://", tmp_path))

        queue.send(MESSAGE)

        (file,) = tmp_path.iterdir()
        sent = json.loads(file.read_text())
        assert sent["headers"]["task"] == "contour_job.run"
        assert sent["headers"]["argsrepr"] == repr([str(MESSAGE.resource_id)])
        assert sent["properties"]["delivery_info"]["routing_key"] == "inference"

    def test_a_folder_of_messages_answers(self, tmp_path: Path) -> None:
        CeleryQueue(create_celery("filesystem://", tmp_path)).check()

    def test_a_folder_that_is_gone_is_unavailable(self, tmp_path: Path) -> None:
        queue = CeleryQueue(create_celery("filesystem://", tmp_path / "broker"))
        (tmp_path / "broker").rmdir()

        with pytest.raises(QueueUnavailableError):
            queue.send(MESSAGE)

    @pytest.mark.enable_socket
    def test_a_server_that_is_down_is_unavailable(self, tmp_path: Path) -> None:
        queue = CeleryQueue(create_celery("redis://127.0.0.1:1/0", tmp_path))

        with pytest.raises(QueueUnavailableError):
            queue.check()
        with pytest.raises(QueueUnavailableError):
            queue.send(MESSAGE)


def test_celery_is_loaded_only_when_a_queue_is_made() -> None:
    code = "import sys, services.core.unit_of_work; print('celery' in sys.modules)"

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "False"
