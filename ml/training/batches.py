"""The batches of an epoch, each from a seed of its own."""

import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import torch

from ml.augmentation.pipeline import RECIPES, Augmenter
from ml.config import RunConfig
from ml.data.slices import SliceReader, SliceSampler
from ml.tensors import ImageBatch, LabelBatch
from ml.training.prefetch import prefetched


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochPlan:
    """All draws of an epoch, made before its first batch.

    A batch depends on nothing but its own entry, so it is the same in whichever thread and
    however early it is made, and the generators' states between epochs are all a run must keep.
    """

    slices: list[list[tuple[int, int]]]
    """(case, slice) of every batch."""
    seeds: list[int]
    """Of every batch's augmentation."""

    def __len__(self) -> int:
        """Count the batches."""
        return len(self.slices)


def plan_epoch(config: RunConfig, sampler: SliceSampler, generator: torch.Generator) -> EpochPlan:
    """Draw an epoch."""
    training = config.training
    slices = sampler.draw_epoch(training.batch_size, training.slices_per_epoch)
    seeds = torch.randint(2**62, (len(slices),), generator=generator).tolist()
    return EpochPlan(slices=slices, seeds=seeds)


class BatchLoader:
    """Reads and augments batches, ahead of the network."""

    def __init__(
        self, reader: SliceReader, config: RunConfig, device: torch.device, *, ahead: int
    ) -> None:
        self.seconds_waited = 0.0
        """Time in which the network had nothing to do, since the loader was made."""
        self._reader = reader
        self._device = device
        self._ahead = ahead
        self._augmenter = Augmenter(
            preprocessing=config.preprocessing, recipe=RECIPES[config.training.augmentation]
        )

    def batches(self, plan: EpochPlan) -> Generator[tuple[ImageBatch, LabelBatch], None, None]:
        """Yield an epoch's batches in order."""
        with closing(prefetched(partial(self._make, plan), len(plan), self._ahead)) as coming:
            started = time.perf_counter()
            for batch in coming:
                self.seconds_waited += time.perf_counter() - started
                yield batch
                started = time.perf_counter()

    @torch.no_grad()
    def _make(self, plan: EpochPlan, number: int) -> tuple[ImageBatch, LabelBatch]:
        batch = self._reader.read(plan.slices[number])
        generator = torch.Generator().manual_seed(plan.seeds[number])
        drawn = self._augmenter.sample(len(batch.labels), generator)
        images, labels = self._augmenter.apply(drawn, batch.hu, batch.labels)
        images = images.contiguous(memory_format=torch.channels_last)
        return images.to(self._device), labels.to(self._device)
