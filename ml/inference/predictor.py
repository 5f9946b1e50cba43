"""A loaded network that contours whole volumes."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ml.arrays import CoveredLabelVolume, CropVolume, HuVolume, LabelVolume
from ml.checkpoint import Checkpoint
from ml.geometry import Volume
from ml.inference.postprocessing import postprocess
from ml.inference.quality import QualityWarning, Result, find_warnings
from ml.inference.uncropping import Uncropper
from ml.networks.blocks import channels_last
from ml.preprocessing.crop import Crop, plan_crop
from ml.structures import structure_set

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
    """Keeps a network ready and turns volumes into labels.

    On one machine and device two predictions of a volume are equal bit by bit. Memory beyond the
    volume is one byte a voxel and one batch of logits. Build it in the process that uses it:
    torch must not have run in a parent that forks.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        device: str = "cpu",
        batch_size: int = 8,
        thread_count: int | None = None,
    ) -> None:
        if thread_count is not None:
            torch.set_num_threads(thread_count)
        self.checkpoint = checkpoint
        self._config = checkpoint.run_config.preprocessing
        self._structures = structure_set(checkpoint.run_config.structure_set)
        self._device = torch.device(device)
        self._batch_size = batch_size
        # measured (bench/network_throughput.py): the CPU's convolutions are faster in this layout
        network = checkpoint.build_network().requires_grad_(requires_grad=False)
        self._network = channels_last(network.to(self._device))

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
        for done in self._fill(turned, turned_hu, crop):
            report(NETWORK_SHARE * done)
        clock.lap("network")
        covered = turned[:, crop.rows.covered, crop.columns.covered]
        components = postprocess(covered, self._structures, crop.geometry.spacing_mm)
        counts = np.bincount(covered.reshape(-1), minlength=self._structures.class_count)
        volumes_ml = {
            s.name: float(counts[s.number]) * volume.geometry.voxel_volume_ml
            for s in self._structures.structures
        }
        result = Result(
            hu=turned_hu,
            labels=turned,
            crop=crop,
            body=body,
            components=components,
            volumes_ml=volumes_ml,
        )
        warnings = find_warnings(result, self._structures)
        clock.lap("postprocess")
        report(1.0)
        return Prediction(
            labels=labels, warnings=warnings, volumes_ml=volumes_ml, seconds=clock.seconds
        )

    def _fill(self, labels: LabelVolume, hu: HuVolume, crop: Crop) -> Iterator[float]:
        """Write labels into the covered part, batch by batch; yield the share that is done."""
        uncropper = Uncropper(crop, self._device)
        target = labels[:, crop.rows.covered, crop.columns.covered]
        for start in range(0, len(hu), self._batch_size):
            part = slice(start, start + self._batch_size)
            target[part] = self._label_slices(crop.images(hu[part]), uncropper)
            yield min(1.0, part.stop / len(hu))

    @torch.inference_mode()
    def _label_slices(self, images: CropVolume, uncropper: Uncropper) -> CoveredLabelVolume:
        batch = torch.from_numpy(images)[:, None].to(self._device)
        return uncropper.labels(self._network(batch.to(memory_format=torch.channels_last)))


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


def _ignore(done: float) -> None:
    """Take no note of progress."""
