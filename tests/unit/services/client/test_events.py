"""Events are read as the standard has them, each once, over breaks of the connection."""

import json
from typing import Any
from uuid import UUID

import pytest

from services.client.client import CerviContourClient
from services.client.errors import ProblemError, ServiceUnreachableError
from services.client.events import Change, ServerEvent, read_events
from services.client.models import Epoch, Experiment
from services.client.transport import RetryPolicy
from tests.factories.servers import HANG_UP, Scripted, ScriptedServer

ID = "7d7b3f86-5f0a-4a1c-a3c3-6a6b0b6f9f10"
RUN_ID = "2b9f5c64-3f9e-4a53-9c7e-0f6f2a4b8d11"
END = "event: end\ndata: {}\n\n"


def event(kind: str, /, **values: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps(values, ensure_ascii=False)}\n\n"


def epoch(number: int) -> str:
    return event(
        "epoch",
        run_id=RUN_ID,
        epoch=number,
        training_loss=0.5,
        validation_loss=None,
        mean_dice=None,
        seconds=1.0,
    )


def experiment(progress: float) -> str:
    return event(
        "experiment",
        id=ID,
        kind="training",
        name="a\N{LINE SEPARATOR}b\N{NEXT LINE}c",
        dataset_version_id=ID,
        state="running",
        runs={"running": 1},
        progress=progress,
        eta_seconds=None,
        best_mean_dice=None,
        created_at="2026-11-24T08:30:00Z",
    )


def stream(*events: str, missing_bytes: int = 0) -> Scripted:
    headers = {"Content-Type": "text/event-stream"}
    return Scripted(headers=headers, body="".join(events).encode(), missing_bytes=missing_bytes)


def followed(retries: RetryPolicy, *answers: Scripted) -> list[Change]:
    with (
        ScriptedServer(*answers) as server,
        CerviContourClient(server.url, retries=retries) as client,
    ):
        return list(client.experiments.events(ID))


class TestReading:
    def test_events_are_split_at_empty_lines_wherever_the_bytes_were_split(self) -> None:
        text = ": hello\n\nevent: run\ndata: {\ndata:  }\n\n\ndata: x\r\n\r\nevent: late\ndata: 1\n"
        expected = [
            ServerEvent(name="run", data="{\n }"),
            ServerEvent(name="message", data="x"),
        ]
        for size in (1, 2, 3, 1000):
            pieces = [text[i : i + size].encode() for i in range(0, len(text), size)]
            assert list(read_events(pieces)) == expected

    def test_letters_split_between_pieces_stay_whole(self) -> None:
        data = "data: größer\n\n".encode()

        found = list(read_events(data[i : i + 1] for i in range(len(data))))

        assert found == [ServerEvent(name="message", data="größer")]


class TestFollowing:
    def test_changes_come_as_models_until_the_end(self, retries: RetryPolicy) -> None:
        changes = followed(retries, stream(epoch(1), experiment(0.5), END))

        assert [type(change) for change in changes] == [Epoch, Experiment]

    def test_ends_of_lines_within_json_are_no_ends_of_events(self, retries: RetryPolicy) -> None:
        (change,) = followed(retries, stream(experiment(0.5), END))

        assert isinstance(change, Experiment)
        assert change.name == "a\u2028b\x85c"

    def test_events_of_a_later_service_are_passed_over(self, retries: RetryPolicy) -> None:
        assert followed(retries, stream(event("weather", sun=True), END)) == []

    @pytest.mark.parametrize("missing_bytes", [0, 10])
    def test_after_a_break_only_what_is_new_is_told(
        self, missing_bytes: int, retries: RetryPolicy, delays: list[float]
    ) -> None:
        first = stream(epoch(1), experiment(0.1), missing_bytes=missing_bytes)
        second = stream(epoch(1), epoch(2), experiment(0.2), END)

        changes = followed(retries, first, HANG_UP, second)

        told = [c.epoch if isinstance(c, Epoch) else c.progress for c in changes if c]
        assert told == [1, 0.1, 2, 0.2]
        assert delays == [0.5, 1.0]

    def test_a_busy_service_is_asked_again(self, retries: RetryPolicy) -> None:
        problem = {"code": "database_unavailable", "detail": "away"}
        busy = Scripted(status=503, body=json.dumps(problem).encode())

        assert len(followed(retries, busy, stream(epoch(1), END))) == 1

    def test_a_refusal_is_final(self, retries: RetryPolicy, delays: list[float]) -> None:
        problem = {"code": "experiment_not_found", "detail": "there is none"}
        with pytest.raises(ProblemError, match="there is none"):
            followed(retries, Scripted(status=404, body=json.dumps(problem).encode()))

        assert delays == []

    def test_a_stream_that_brings_nothing_new_is_given_up(
        self, retries: RetryPolicy, delays: list[float]
    ) -> None:
        with pytest.raises(ServiceUnreachableError, match="ended early"):
            followed(retries, stream(epoch(1)))

        assert delays == [0.5, 1.0, 2.0]

    def test_an_epoch_names_its_run(self, retries: RetryPolicy) -> None:
        (change,) = followed(retries, stream(epoch(3), END))

        assert isinstance(change, Epoch)
        assert (change.run_id, change.epoch) == (UUID(RUN_ID), 3)
