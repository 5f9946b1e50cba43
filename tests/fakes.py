"""Stand-ins with the real signatures."""

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import numpy as np

from ml.arrays import LabelVolume
from ml.geometry import Volume
from ml.inference.quality import QualityCode, QualityWarning
from ml.structures import CERVIX
from services.core.errors import QueueUnavailableError, StorageUnavailableError
from services.core.queue import Message
from services.core.storage import FilesystemStorage, StoredKind
from services.worker.networks import LoadedNetwork, NetworkLoader, NetworkOptions, Predictor


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


class Clock:
    """A Now that stands still until a test moves it."""

    def __init__(self, now: dt.datetime) -> None:
        self._now = now

    def __call__(self) -> dt.datetime:
        return self._now

    def advance(self, **by: float) -> None:
        self._now += dt.timedelta(**by)


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
