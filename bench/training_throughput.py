"""Slices per second of training on this CPU, in one run: `python bench/training_throughput.py`.

Measures batches alone, the network alone and both together, and sets our loop (channels
innermost, bfloat16, batches made ahead) beside the plain one that a tutorial would write: a
DataLoader without workers that augments image by image, float32, contiguous, the same network,
loss, batch and augmentation. Every measurement has a process of its own, for its peak memory.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ml.augmentation.pipeline import RECIPES, Augmenter
from ml.config import (
    NetworkConfig,
    OptimizerName,
    Precision,
    PreprocessingConfig,
    RunConfig,
    TrainingConfig,
)
from ml.data.cases import Case
from ml.data.slices import SliceReader
from ml.losses import build_loss
from ml.networks import build_network
from ml.structures import CERVIX
from ml.training.batches import BatchLoader, EpochPlan
from ml.training.data import TrainingData
from ml.training.loop import BATCHES_AHEAD, CPU, train
from ml.training.objective import Objective
from ml.training.reporter import EpochReport
from ml.training.state import start_state
from ml.training.step import train_step

WARM_UP = 3
"""Batches that prepare kernels and are not counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What is measured."""

    config: RunConfig
    threads: int
    batches: int

    @property
    def batch_size(self) -> int:
        """Slices of a batch."""
        return self.config.training.batch_size


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """What came of it."""

    slices_per_second: float
    share_waited: float
    """Of the time, for batches."""
    peak_mib: float


class Clock:
    """A reporter that notes when batches end."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.waited = 0.0

    def batch_finished(self, done: int, total: int, loss: float) -> None:  # noqa: ARG002 - Reporter
        """Take note of a finished batch."""
        self.times.append(time.perf_counter())

    def epoch_finished(self, report: EpochReport) -> None:
        """Take note of a finished epoch."""
        self.waited = report.seconds_waited

    def should_stop(self) -> bool:
        """Never ask a run to stop."""
        return False


class PlainSlices(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Slices one by one, augmented as they are asked for."""

    def __init__(self, config: RunConfig, cases: list[Case]) -> None:
        self._reader = SliceReader(cases, config.preprocessing)
        self._slices = [(c, i) for c, case in enumerate(cases) for i in range(len(case.labels))]
        self._augmenter = Augmenter(
            preprocessing=config.preprocessing, recipe=RECIPES[config.training.augmentation]
        )
        self._generator = torch.Generator().manual_seed(0)

    def __len__(self) -> int:
        return len(self._slices)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Read and augment one slice."""
        batch = self._reader.read([self._slices[number]])
        drawn = self._augmenter.sample(1, self._generator)
        images, labels = self._augmenter.apply(drawn, batch.hu, batch.labels)
        return images[0], labels[0]


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--context-mm", type=float, nargs="+", default=[0.0])
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    preprocessing = PreprocessingConfig(
        crop_size_px=arguments.size,
        pixel_spacing_mm=250 / arguments.size,
        context_mm=tuple(arguments.context_mm),
    )
    training = TrainingConfig(
        optimizer=OptimizerName.ADAMW,
        batch_size=arguments.batch,
        max_epochs=1,
        slices_per_epoch=arguments.batch * (arguments.batches + WARM_UP),
        precision=Precision.BFLOAT16,
    )
    config = RunConfig(
        preprocessing=preprocessing,
        network=NetworkConfig(width=arguments.width),
        training=training,
    )
    setting = Setting(config=config, threads=arguments.threads, batches=arguments.batches)
    print(
        f"torch {torch.__version__}, {arguments.threads} threads, width {arguments.width}, "
        f"{arguments.size} px, {preprocessing.channel_count} channels, batches of "
        f"{arguments.batch}, best of {arguments.repeats}"
    )
    print(f"{'':34}{'slices/s':>9}{'waiting':>9}{'peak MiB':>10}")
    found: dict[str, Measurement] = {}
    for name, action in ACTIONS.items():
        result = found[name] = _best(action, setting, arguments.repeats)
        waiting = f"{result.share_waited:9.1%}"
        print(
            f"{name:34}{result.slices_per_second:9.1f}{waiting}{result.peak_mib:10.0f}", flush=True
        )
    ratio = found[OURS].slices_per_second / found[PLAIN].slices_per_second
    print(f"\nratio of our loop to the plain one: {ratio:.2f}")


def _best(action: Callable[[Setting], Measurement], setting: Setting, repeats: int) -> Measurement:
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        results = [pool.apply(action, (setting,)) for _ in range(repeats)]
    return max(results, key=lambda result: result.slices_per_second)


def measure_batches(setting: Setting) -> Measurement:
    """Read and augment, without a network."""
    torch.set_num_threads(setting.threads)
    config = setting.config
    reader = SliceReader(_cases(setting), config.preprocessing)
    batches = BatchLoader(reader, config, CPU, ahead=0).batches(_plan(setting))
    times = [time.perf_counter() for _ in batches]
    return _measurement(setting, times, 0.0)


def measure_network(setting: Setting) -> Measurement:
    """Train on one batch again and again."""
    torch.set_num_threads(setting.threads)
    config = setting.config
    state, objective = start_state(config, CPU), Objective(config, CPU)
    state.network.train()
    size = config.preprocessing.crop_size_px
    images = torch.rand(setting.batch_size, config.preprocessing.channel_count, size, size)
    labels = torch.from_numpy(_labels(setting.batch_size, size)).long()
    times: list[float] = []
    for _ in range(setting.batches + WARM_UP):
        train_step(state.network, objective, state.optimizer, state.scaler, (images, labels))
        times.append(time.perf_counter())
    return _measurement(setting, times, 0.0)


def measure_our_loop(setting: Setting) -> Measurement:
    """Train as a run does, batches made ahead."""
    return _measure_training(setting, BATCHES_AHEAD)


def measure_our_loop_in_turn(setting: Setting) -> Measurement:
    """Train as a run does, batches and steps in turn."""
    return _measure_training(setting, 0)


def measure_plain_loop(setting: Setting) -> Measurement:
    """Train as in a tutorial."""
    torch.set_num_threads(setting.threads)
    config = setting.config
    network = build_network(config.network, config.preprocessing.channel_count).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.training.learning_rate)
    loss = build_loss(config.loss)
    loader = DataLoader(
        PlainSlices(config, _cases(setting)), setting.batch_size, shuffle=True, drop_last=True
    )
    times: list[float] = []
    waited, asked = 0.0, time.perf_counter()
    for images, labels in loader:
        waited += time.perf_counter() - asked
        optimizer.zero_grad()
        loss(network(images), labels).backward()
        optimizer.step()
        asked = time.perf_counter()
        times.append(asked)
    return _measurement(setting, times, waited)


def _measure_training(setting: Setting, ahead: int) -> Measurement:
    torch.set_num_threads(setting.threads)
    cases = _cases(setting)
    data = TrainingData(training=cases, validation=cases[:1], structures=CERVIX)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        train(setting.config, data, Path(folder), clock, batches_ahead=ahead)
    return _measurement(setting, clock.times, clock.waited)


def _measurement(setting: Setting, times: list[float], waited: float) -> Measurement:
    counted = times[WARM_UP - 1 :]
    seconds_each = (counted[-1] - counted[0]) / (len(counted) - 1)
    return Measurement(
        slices_per_second=setting.batch_size / seconds_each,
        share_waited=waited / (seconds_each * len(times)),
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def _plan(setting: Setting) -> EpochPlan:
    count = setting.batches + WARM_UP
    slices = [
        [(0, b * setting.batch_size + i) for i in range(setting.batch_size)] for b in range(count)
    ]
    return EpochPlan(slices=slices, seeds=list(range(count)))


def _cases(setting: Setting) -> list[Case]:
    """Make one case of noise and squares with as many slices as are trained on."""
    size = setting.config.preprocessing.crop_size_px
    count = setting.batch_size * (setting.batches + WARM_UP)
    generator = np.random.default_rng(0)
    case = Case(
        case_id="case",
        patient_id="patient",
        source_sha256="",
        hu=generator.integers(-200, 300, (count, size, size)).astype(np.int16),
        labels=_labels(count, size),
        spacing_mm=(5.0, 250 / size, 250 / size),
        lost_label_voxels=0,
    )
    return [case]


def _labels(count: int, size: int) -> np.ndarray:
    labels = np.zeros((count, size, size), np.uint8)
    for number in range(1, 5):
        first = size * number // 6
        labels[:, first : first + size // 8, size // 3 : size // 2] = number
    return labels


OURS, PLAIN = "our loop, batches made ahead", "plain loop"
ACTIONS = {
    "batches alone": measure_batches,
    "network alone": measure_network,
    "our loop, batches in turn": measure_our_loop_in_turn,
    OURS: measure_our_loop,
    PLAIN: measure_plain_loop,
}

if __name__ == "__main__":
    main()
