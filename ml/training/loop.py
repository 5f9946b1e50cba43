"""One run: epochs of training and validation until they no longer help."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from ml.augmentation.pipeline import Augmenter
from ml.config import RunConfig
from ml.data.cases import Case
from ml.data.slices import SliceSampler, read_batch
from ml.losses import build_loss
from ml.structures import StructureSet
from ml.training.reporter import EpochReport, Reporter
from ml.training.schedule import learning_rate_at, set_learning_rate, update_mean
from ml.training.state import (
    STATE_FILE,
    TrainingState,
    load_state,
    save_state,
    snapshot,
    start_state,
)
from ml.training.step import train_step
from ml.training.validation import validate

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingData:
    """The patients of a run."""

    training: Sequence[Case]
    validation: Sequence[Case]
    structures: StructureSet


def train(config: RunConfig, data: TrainingData, folder: Path, reporter: Reporter) -> TrainingState:
    """Train until the epochs or the patience end, resuming from `folder` if it holds a state.

    The state is written after every epoch; `best_weights` are those of the lowest validation
    loss. On one machine and CPU, a resumed run equals an uninterrupted one bit by bit.

    Raises:
        NonFiniteLossError: the loss left the real numbers; the last epoch's state remains.
    """
    folder.mkdir(parents=True, exist_ok=True)
    has_state = (folder / STATE_FILE).exists()
    state = load_state(config, folder) if has_state else start_state(config)
    loss = build_loss(config.loss)
    sampler = SliceSampler(
        data.training,
        empty_slice_weight=config.training.empty_slice_weight,
        generator=state.slice_generator,
    )
    _log_derived_numbers(config, sampler, state)
    while state.epoch < config.training.max_epochs and not state.early_stopping.is_exhausted:
        reporter.epoch_finished(_run_epoch(config, data, state, sampler, loss))
        save_state(state, folder)
        if reporter.should_stop():
            break
    return state


def _run_epoch(
    config: RunConfig,
    data: TrainingData,
    state: TrainingState,
    sampler: SliceSampler,
    loss: nn.Module,
) -> EpochReport:
    started = time.perf_counter()
    losses = _train_epoch(config, data.training, state, sampler, loss)
    found = validate(state.kept_network, loss, data.validation, config, data.structures)
    state.epoch += 1
    is_best = state.early_stopping.is_improved_by(found.loss)
    if is_best:
        state.best_weights = snapshot(state.kept_network)
    return EpochReport(
        epoch=state.epoch,
        training_loss=float(np.mean(losses)),
        validation_loss=found.loss,
        validation_dice=found.dice,
        learning_rate=state.optimizer.param_groups[0]["lr"],
        seconds=time.perf_counter() - started,
        is_best=is_best,
    )


def _train_epoch(
    config: RunConfig,
    cases: Sequence[Case],
    state: TrainingState,
    sampler: SliceSampler,
    loss: nn.Module,
) -> list[float]:
    training = config.training
    augmenter = Augmenter(preprocessing=config.preprocessing)
    batches = sampler.draw_epoch(training.batch_size, training.slices_per_epoch)
    total_steps = len(batches) * training.max_epochs
    state.network.train()
    losses: list[float] = []
    for slices in batches:
        set_learning_rate(state.optimizer, learning_rate_at(state.step, total_steps, training))
        batch = read_batch(cases, slices, config.preprocessing)
        drawn = augmenter.sample(len(slices), state.augmentation_generator)
        augmented = augmenter.apply(drawn, batch.hu, batch.labels)
        losses.append(
            train_step(state.network, loss, state.optimizer, augmented, training.precision)
        )
        if state.mean_network is not None:
            # early on the mean would be dominated by the random start: follow closely then
            decay = min(training.ema_decay, (1 + state.step) / (10 + state.step))
            update_mean(state.mean_network, state.network, decay)
        state.step += 1
    return losses


def _log_derived_numbers(config: RunConfig, sampler: SliceSampler, state: TrainingState) -> None:
    count = config.training.slices_per_epoch or len(sampler)
    parameters = sum(p.numel() for p in state.network.parameters())
    _logger.info(
        "%d parameters, %d slices, %d batches an epoch, epochs %d to %d",
        parameters,
        len(sampler),
        max(count // config.training.batch_size, 1),
        state.epoch + 1,
        config.training.max_epochs,
    )
