"""What contours: a trained network behind a small protocol, so that tests can put another there.

Nothing here imports torch until a network is loaded: a parent process that has touched torch
before it forks hangs its children.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ml.arrays import LabelVolume
from ml.geometry import Volume
from ml.structures import StructureSet, structure_set
from services.core.errors import ServiceError
from services.core.lifecycle import JobErrorCode

if TYPE_CHECKING:
    from ml.inference.quality import QualityWarning


class GpuOutOfMemoryError(ServiceError):
    """The device could not hold the batch."""

    code = JobErrorCode.GPU_OUT_OF_MEMORY

    def __init__(self, batch_size: int) -> None:
        super().__init__(
            "the device ran out of memory; a smaller batch size may help", batch_size=batch_size
        )
        self.batch_size = batch_size


class DeviceMissingError(ServiceError):
    """The settings ask for a device this machine does not have."""

    code = "device_missing"

    def __init__(self, device: str) -> None:
        super().__init__(f"the device {device} is not available", device=device)
        self.device = device


class WeightsUnusableError(ServiceError):
    """Weights and card do not make a network, or do not belong to each other."""

    code = JobErrorCode.WEIGHTS_UNUSABLE

    def __init__(self, reason: str) -> None:
        super().__init__(f"the weights cannot be used: {reason}", reason=reason)


class Prediction(Protocol):
    """Labels on the CT's own grid with what was noticed on the way."""

    @property
    def labels(self) -> LabelVolume:
        """Label values on the CT's own grid, 0 for background."""
        ...

    @property
    def warnings(self) -> "Sequence[QualityWarning]":
        """What a clinician should look at."""
        ...

    @property
    def volumes_ml(self) -> Mapping[str, float]:
        """By structure name."""
        ...

    @property
    def seconds(self) -> Mapping[str, float]:
        """By step of the work."""
        ...


class Predictor(Protocol):
    """Contours volumes, one after the other."""

    def predict(self, volume: Volume, on_progress: Callable[[float], None]) -> Prediction:
        """Label every voxel; on_progress hears the share done and may raise to stop."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkOptions:
    """What to load and where to run it."""

    weights_path: Path | None
    """None: the packaged demonstration weights."""
    device: str
    batch_size: int
    thread_count: int | None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LoadedNetwork:
    """A network in memory, with its provenance."""

    predictor: Predictor
    structures: StructureSet
    model_version: str
    weights_sha256: str


NetworkLoader = Callable[[NetworkOptions], LoadedNetwork]


def load_network(options: NetworkOptions) -> LoadedNetwork:
    """Load weights whose checksum was verified onto their device.

    Raises:
        DeviceMissingError: cuda without a GPU.
        WeightsUnusableError: the weights cannot be read or were changed.
    """
    # Imported here, in the forked child: see the head of this module.
    import torch  # noqa: PLC0415

    from ml.checkpoint import (  # noqa: PLC0415
        CheckpointError,
        demo_weights_path,
        load_checkpoint,
    )
    from ml.inference.predictor import Predictor as TorchPredictor  # noqa: PLC0415

    require_device(options.device)
    try:
        checkpoint = load_checkpoint(options.weights_path or demo_weights_path())
        predictor = TorchPredictor(
            checkpoint,
            device=options.device,
            batch_size=options.batch_size,
            thread_count=options.thread_count,
        )
    except CheckpointError as error:
        raise WeightsUnusableError(error.reason) from error
    return LoadedNetwork(
        predictor=_MemoryGuard(predictor, options.batch_size, torch.OutOfMemoryError),
        structures=structure_set(checkpoint.run_config.structure_set),
        model_version=checkpoint.card.model_version,
        weights_sha256=checkpoint.sha256,
    )


def require_device(device: str) -> None:
    """Return if torch can compute there.

    Raises:
        DeviceMissingError: cuda without a GPU.
    """
    import torch  # noqa: PLC0415 (see the head of this module)

    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceMissingError(device)


class _MemoryGuard:
    """Names the one torch error that operators can do something about."""

    def __init__(
        self, predictor: Predictor, batch_size: int, out_of_memory: type[Exception]
    ) -> None:
        self._predictor = predictor
        self._batch_size = batch_size
        self._out_of_memory = out_of_memory

    def predict(self, volume: Volume, on_progress: Callable[[float], None]) -> Prediction:
        """Label every voxel.

        Raises:
            GpuOutOfMemoryError: the batch did not fit.
        """
        try:
            return self._predictor.predict(volume, on_progress)
        except self._out_of_memory as error:
            raise GpuOutOfMemoryError(self._batch_size) from error
