"""Stand-ins with the real signatures."""

import datetime as dt
import errno
import hashlib
import json
import pickle
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple
from uuid import UUID

import numpy as np
from anyio import to_thread

from ml.arrays import LabelVolume
from ml.geometry import Volume
from ml.inference.quality import QualityCode, QualityWarning
from ml.structures import CERVIX
from services.api.bounded import WorkOrder
from services.core.errors import QueueUnavailableError, StorageUnavailableError
from services.core.queue import Message
from services.core.storage import FilesystemStorage, StoredKind
from services.worker.networks import LoadedNetwork, NetworkLoader, NetworkOptions, Predictor

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class BoundedThreads:
    """BoundedWork in threads, without limits: starting processes takes a test half a second."""

    async def warm(self) -> None:
        """Be ready."""

    async def run(
        self, order: WorkOrder, function: Callable[[*Arguments], Result], *arguments: *Arguments
    ) -> Result:
        result, error = await to_thread.run_sync(_round_trip, function, arguments)
        if error is not None:
            raise error
        return result


def _round_trip(function, arguments) -> Any:  # Any: whatever was pickled
    """Call a function with what pickling leaves of its arguments, result and error."""
    function, arguments = pickle.loads(pickle.dumps((function, arguments)))
    try:
        return pickle.loads(pickle.dumps((function(*arguments), None)))
    except Exception as error:  # noqa: BLE001  # as the process does
        return None, pickle.loads(pickle.dumps(error))


class FakeJobQueue:
    """A JobQueue that keeps its messages; while `is_down` it takes none."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.is_down = False

    def send(self, message: Message) -> None:
        self.check()
        self.messages.append(message)

    def check(self) -> None:
        if self.is_down:
            raise QueueUnavailableError("the broker does not answer", reason="down")

    @property
    def resource_ids(self) -> list[UUID]:
        return [message.resource_id for message in self.messages]


class FullStorage(FilesystemStorage):
    """A storage on which nothing can be published any more."""

    def publish(self, kind: StoredKind, folder: Path, resource_id: UUID) -> None:
        raise StorageUnavailableError("the storage cannot be used (ENOSPC)", reason="ENOSPC")


class SickStorage(FilesystemStorage):
    """A storage that cannot remove what is bad."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.bad: set[UUID] = set()
        self.tried: list[UUID] = []

    def erase(self, kind: StoredKind, resource_id: UUID) -> None:
        self._refuse(resource_id)
        super().erase(kind, resource_id)

    def delete(self, kind: StoredKind, resource_id: UUID) -> None:
        self._refuse(resource_id)
        super().delete(kind, resource_id)

    def _refuse(self, resource_id: UUID) -> None:
        self.tried.append(resource_id)
        if resource_id in self.bad:
            raise OSError(errno.EIO, "Input/output error")


class SlowStorage(FilesystemStorage):
    """A storage whose removals begin, and end when the test says so."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.has_begun = threading.Event()
        self.may_end = threading.Event()

    def erase(self, kind: StoredKind, resource_id: UUID) -> None:
        self.has_begun.set()
        self.may_end.wait()
        super().erase(kind, resource_id)


class Clock:
    """A Now that stands still until a test moves it."""

    def __init__(self, now: dt.datetime) -> None:
        self._now = now

    def __call__(self) -> dt.datetime:
        return self._now

    def advance(self, **by: float) -> None:
        self._now += dt.timedelta(**by)


class Seconds:
    """A monotonic clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True, kw_only=True, slots=True)
class BoxPrediction:
    labels: LabelVolume
    warnings: Sequence[QualityWarning] = (
        QualityWarning(
            code=QualityCode.NO_PELVIS, structure=None, message="a test", facts={"slices": 3}
        ),
    )
    volumes_ml: Mapping[str, float] = field(default_factory=lambda: {"Bladder": 1.0})
    seconds: Mapping[str, float] = field(default_factory=lambda: {"network": 0.1})


def predict_boxes(volume: Volume) -> BoxPrediction:
    """A box for every structure on every slice of at least 32 x 32 pixels."""
    labels = np.zeros(volume.geometry.shape, np.uint8)
    for structure in CERVIX.structures:
        first = 6 * structure.number - 4
        labels[:, first : first + 4, 4:12] = structure.number
    return BoxPrediction(labels=labels)


class ScriptedPredictor:
    """A Predictor that does what `action` says, then puts boxes."""

    def __init__(self) -> None:
        self.calls = 0
        self.action: Callable[[Callable[[float], None]], None] = lambda _: None

    def predict(self, volume: Volume, on_progress: Callable[[float], None]) -> BoxPrediction:
        self.calls += 1
        self.action(on_progress)
        return predict_boxes(volume)


def loaded(predictor: Predictor) -> LoadedNetwork:
    return LoadedNetwork(
        predictor=predictor,
        structures=CERVIX,
        model_version="test-network",
        weights_sha256="0" * 64,
    )


def loader_of(predictor: Predictor) -> NetworkLoader:
    return lambda _: loaded(predictor)


class KnowingPredictor:
    """A Predictor that knows the labels of some volumes, and finds a share of every slice's."""

    def __init__(self, known: Sequence[tuple[Volume, LabelVolume]], share: float = 1.0) -> None:
        self._known = known
        self._share = share

    def predict(self, volume: Volume, on_progress: Callable[[float], None]) -> BoxPrediction:
        on_progress(0.5)
        for known, labels in self._known:
            if np.array_equal(known.hu, volume.hu):
                found = np.asarray(labels).copy()
                found[:, :, round(found.shape[2] * self._share) :] = 0
                return BoxPrediction(labels=found)
        raise LookupError("an unknown volume")


def loader_by_name(settings: Predictor, **versions: Predictor) -> NetworkLoader:
    """Load the predictor named on the card beside the weights, or that of the settings."""

    def load(options: NetworkOptions) -> LoadedNetwork:
        if options.weights_path is None:
            return loaded(settings)
        name = json.loads(options.weights_path.with_suffix(".json").read_text())["model_version"]
        return LoadedNetwork(
            predictor=versions[name],
            structures=CERVIX,
            model_version=name,
            weights_sha256=hashlib.sha256(options.weights_path.read_bytes()).hexdigest(),
        )

    return load
