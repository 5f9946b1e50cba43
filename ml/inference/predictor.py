"""Loaded networks that contour whole volumes."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ml.arrays import ClassOffsets, LabelVolume, LogitVolume, SlicePresence
from ml.checkpoint import Checkpoint
from ml.config import PostprocessingConfig, RunConfig
from ml.geometry import Volume
from ml.inference.answer import Answer, threshold_offsets
from ml.inference.ensemble import Ensemble, EnsembleError, NetworkAnswer
from ml.inference.inputs import InputBuilder
from ml.inference.postprocessing import postprocess
from ml.inference.presence import remove_absent
from ml.inference.quality import QualityWarning, Result, find_warnings
from ml.inference.uncropping import Uncropper
from ml.preprocessing.crop import plan_crop
from ml.structures import structure_set
from ml.tensors import AnyPresence, PerClass

NETWORK_SHARE = 0.9
"""Share of the progress that the network's batches stand for."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Prediction:
    """Contoured voxels with what a reviewer should know."""

    labels: LabelVolume
    """On the CT's own grid, in the order of the volume that was given."""
    warnings: tuple[QualityWarning, ...]
    volumes_ml: dict[str, float]
    seconds: dict[str, float]
    """Wall time of the stages prepare, network, postprocess."""


class Predictor:
    """Keeps one or several networks ready and turns volumes into labels.

    On one machine and device two predictions of a volume are equal bit by bit. Memory beyond the
    volume is one byte a voxel and one batch of logits. Build it in the process that uses it:
    torch must not have run in a parent that forks.
    """

    def __init__(
        self,
        checkpoints: Checkpoint | Sequence[Checkpoint],
        *,
        postprocessing: PostprocessingConfig | None = None,
        device: str = "cpu",
        batch_size: int = 8,
        thread_count: int | None = None,
    ) -> None:
        """Load the weights.

        Args:
            checkpoints: one, or an ensemble of equal preprocessing and structures.
            postprocessing: instead of the first checkpoint's own.
            device: torch's name of where the networks run.
            batch_size: slices that go through a network at once.
            thread_count: CPU threads; None leaves torch's setting.

        Raises:
            EnsembleError: no checkpoint, or some that do not fit each other.
            ConfigError: postprocessing that does not fit the checkpoints.
        """
        if thread_count is not None:
            torch.set_num_threads(thread_count)
        members = [checkpoints] if isinstance(checkpoints, Checkpoint) else list(checkpoints)
        self._device = torch.device(device)
        self._batch_size = batch_size
        config = _joint_config(members, postprocessing)
        self._config = config.preprocessing
        self._postprocessing = config.postprocessing
        self._offsets = _on_device(threshold_offsets(config.postprocessing), self._device)
        self._structures = structure_set(config.structure_set)
        self._networks = Ensemble(members, self._device, flip=config.postprocessing.flip)
        if config.postprocessing.presence_gate is not None and not self._networks.has_presence:
            raise EnsembleError("a presence gate needs presence heads in all networks")

    def predict(
        self, volume: Volume, on_progress: Callable[[float], None] | None = None
    ) -> Prediction:
        """Contour a volume; on_progress hears fractions of the work from 0 to 1.

        Raises:
            NotAxialError: the series is not axial.
        """
        report = on_progress or _ignore
        clock = _Clock()
        crop, body = plan_crop(volume, self._config)
        clock.lap("prepare")
        labels = np.zeros(volume.geometry.shape, np.uint8)
        turned_hu, turned = crop.alignment.to_lps(volume.hu), crop.alignment.to_lps(labels)
        covered = turned[:, crop.rows.covered, crop.columns.covered]
        presence = self._label(covered, InputBuilder(crop, turned_hu), report)
        clock.lap("network")
        if presence is not None and self._postprocessing.presence_gate is not None:
            remove_absent(covered, presence, self._postprocessing.presence_gate)
        components = postprocess(
            covered, self._structures, crop.geometry.spacing_mm, self._postprocessing
        )
        result = Result(
            hu=turned_hu,
            labels=turned,
            crop=crop,
            body=body,
            components=components,
            volumes_ml=self._volumes_ml(covered, volume.geometry.voxel_volume_ml),
        )
        warnings = find_warnings(result, self._structures)
        clock.lap("postprocess")
        report(1.0)
        return Prediction(
            labels=labels,
            warnings=warnings,
            volumes_ml=result.volumes_ml,
            seconds=clock.seconds,
        )

    def answer(self, volume: Volume) -> Answer:
        """Return what the networks think before any postprocessing but mirroring.

        Raises:
            NotAxialError: the series is not axial.
        """
        crop, _ = plan_crop(volume, self._config)
        inputs = InputBuilder(crop, crop.alignment.to_lps(volume.hu))
        logits: list[LogitVolume] = []
        presence: list[AnyPresence | None] = []
        for _, answer in self._ask(inputs, with_presence=self._networks.has_presence):
            logits.append(answer.logits.half().cpu().numpy())
            presence.append(answer.presence)
        return Answer(logits=np.concatenate(logits), presence=_joined(presence), crop=crop)

    def _label(
        self, target: LabelVolume, inputs: InputBuilder, report: Callable[[float], None]
    ) -> SlicePresence | None:
        """Write labels into the covered part, batch by batch; return presence if it is used."""
        uncropper = Uncropper(inputs.crop, self._device)
        gated = self._postprocessing.presence_gate is not None
        presence: list[AnyPresence | None] = []
        for part, answer in self._ask(inputs, with_presence=gated):
            logits = answer.logits
            if self._offsets is not None:
                logits = logits - self._offsets[:, None, None]
            target[part] = uncropper.labels(logits)
            presence.append(answer.presence)
            report(NETWORK_SHARE * min(1.0, part.stop / len(inputs)))
        return _joined(presence)

    def _ask(
        self, inputs: InputBuilder, *, with_presence: bool
    ) -> Iterator[tuple[slice, NetworkAnswer]]:
        for start in range(0, len(inputs), self._batch_size):
            part = slice(start, start + self._batch_size)
            images = torch.from_numpy(inputs.channels(part))
            yield part, self._networks.answer(images, with_presence=with_presence)

    def _volumes_ml(self, labels: LabelVolume, voxel_ml: float) -> dict[str, float]:
        counts = np.bincount(labels.reshape(-1), minlength=self._structures.class_count)
        return {s.name: float(counts[s.number]) * voxel_ml for s in self._structures.structures}


class _Clock:
    """Splits wall time into named laps."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Close the lap that is running."""
        now = time.perf_counter()
        self.seconds[name] = now - self._last
        self._last = now


def _joint_config(
    checkpoints: Sequence[Checkpoint], postprocessing: PostprocessingConfig | None
) -> RunConfig:
    """Return the first checkpoint's configuration, with the postprocessing that was given."""
    if not checkpoints:
        raise EnsembleError("at least one checkpoint is needed")
    first = checkpoints[0].run_config
    return first if postprocessing is None else replace(first, postprocessing=postprocessing)


def _on_device(offsets: ClassOffsets | None, device: torch.device) -> PerClass | None:
    return None if offsets is None else torch.from_numpy(offsets).to(device)


def _joined(batches: Sequence[AnyPresence | None]) -> SlicePresence | None:
    known = [batch for batch in batches if batch is not None]
    return torch.cat(known).float().cpu().numpy() if known else None


def _ignore(done: float) -> None:
    """Take no note of progress."""
