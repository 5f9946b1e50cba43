"""An experiment as it goes on: what changed since the last look, as server-sent events."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic
from uuid import UUID

from anyio import to_thread
from pydantic import BaseModel

from services.api.experiments.run_schemas import EpochResponse, RunResponse
from services.api.experiments.schemas import ExperimentResponse
from services.api.experiments.service import ExperimentService
from services.core.lifecycle import ExperimentState

LOOK_SECONDS = 1.0
"""Between two looks: a worker notes progress about as often."""
SILENT_SECONDS = 15.0
"""A comment is sent after so much silence, so that proxies keep the connection."""
ADMISSION_SECONDS = 30.0
"""After which a listener is asked for its credentials again: they may be over since."""


@dataclass(kw_only=True, slots=True)
class ExperimentChanges:
    """Remembers what one listener was told, and finds what is new."""

    service: ExperimentService
    experiment_id: UUID
    is_over: bool = False
    _told: dict[UUID | str, str] = field(default_factory=dict[UUID | str, str])
    _epochs: dict[UUID, int] = field(default_factory=dict[UUID, int])

    def look(self) -> list[str]:
        """Return events for everything that changed; the first look tells all there is."""
        snapshot = self.service.snapshot(self.experiment_id, self._epochs)
        events = [
            *self._epoch_events(map(EpochResponse.model_validate, snapshot.epochs)),
            *self._changed("run", [(run.run.id, RunResponse.of(run)) for run in snapshot.runs]),
            *self._changed("experiment", [("", ExperimentResponse.of(snapshot.watched))]),
        ]
        self.is_over = snapshot.watched.experiment.state is not ExperimentState.RUNNING
        return events

    def _epoch_events(self, epochs: Iterator[EpochResponse]) -> Iterator[str]:
        for epoch in epochs:
            self._epochs[epoch.run_id] = epoch.epoch
            yield event_text("epoch", epoch)

    def _changed(self, name: str, found: Sequence[tuple[UUID | str, BaseModel]]) -> Iterator[str]:
        for key, shown in found:
            text = event_text(name, shown)
            if self._told.get(key) != text:
                self._told[key] = text
                yield text


async def stream_changes(
    changes: ExperimentChanges, is_admitted: Callable[[], Awaitable[bool]]
) -> AsyncIterator[str]:
    """Yield events until every run is over, or the listener is admitted no more."""
    spoke_at = admitted_at = monotonic()
    while True:
        if monotonic() - admitted_at >= ADMISSION_SECONDS:
            if not await is_admitted():
                return  # without an end: who begins again is told why not
            admitted_at = monotonic()
        events = await to_thread.run_sync(changes.look)
        for event in events:
            yield event
        if changes.is_over:
            yield "event: end\ndata: {}\n\n"
            return
        if events:
            spoke_at = monotonic()
        elif monotonic() - spoke_at > SILENT_SECONDS:
            spoke_at = monotonic()
            yield ": still here\n\n"
        await asyncio.sleep(LOOK_SECONDS)


def event_text(name: str, shown: BaseModel) -> str:
    """Return an event as the standard has it; json on one line."""
    return f"event: {name}\ndata: {shown.model_dump_json()}\n\n"
