"""One run: epochs of training and validation until they no longer help."""

import logging
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ml.config import RunConfig
from ml.data.slices import SliceReader, SliceSampler
from ml.training.batches import BatchLoader, EpochPlan, plan_epoch
from ml.training.data import TrainingData
from ml.training.determinism import deterministic_algorithms
from ml.training.objective import Objective
from ml.training.reporter import EpochReport, Reporter, StopRequestedError
from ml.training.run_card import run_card, write_run_card
from ml.training.schedule import learning_rate_at, set_learning_rate, update_mean
from ml.training.state import TrainingState, load_or_start, save_state, snapshot
from ml.training.step import train_step
from ml.training.validation import Validation, validate

CPU = torch.device("cpu")
BATCHES_AHEAD = 2

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    """What stays the same over a run's epochs."""

    config: RunConfig
    data: TrainingData
    sampler: SliceSampler
    loader: BatchLoader
    objective: Objective
    reporter: Reporter


def train(
    config: RunConfig,
    data: TrainingData,
    folder: Path,
    reporter: Reporter,
    *,
    device: torch.device = CPU,
    batches_ahead: int = BATCHES_AHEAD,
) -> TrainingState:
    """Train until epochs, time or patience end, resuming from `folder` if it holds a state.

    Every epoch is reported, then written to the run card and the state. A run that is asked to
    stop ends within a batch and returns the last finished epoch's state. On one machine and CPU, a
    resumed run equals an uninterrupted one bit by bit, whatever the number of batches made ahead.

    Raises:
        NonFiniteLossError: the loss left the real numbers; the last epoch's state remains.
        StateMismatchError: the folder holds a run of another configuration.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = load_or_start(config, folder, device)
    sampler = SliceSampler(
        data.training,
        empty_slice_weight=config.training.empty_slice_weight,
        generator=state.slice_generator,
    )
    reader = SliceReader(data.training, config.preprocessing)
    run = _Run(
        config=config,
        data=data,
        sampler=sampler,
        loader=BatchLoader(reader, config, device, ahead=batches_ahead),
        objective=Objective(config, device),
        reporter=reporter,
    )
    _log_derived_numbers(config, sampler, state)
    with deterministic_algorithms(device):
        while not state.is_over(config.training):
            try:
                report = _run_epoch(run, state)
            except StopRequestedError:
                return load_or_start(config, folder, device)
            reporter.epoch_finished(report)
            # the state comes last: an epoch it does not hold is done, told and written again
            write_run_card(run_card(config, data, state), folder)
            save_state(state, config, folder)
            if reporter.should_stop():
                break
    return state


def _run_epoch(run: _Run, state: TrainingState) -> EpochReport:
    """Train and validate once."""
    started, waited = time.perf_counter(), run.loader.seconds_waited
    losses = _train_epoch(run, state)
    found = validate(
        state.kept_network,
        run.objective,
        run.data.validation,
        run.config,
        run.data.structures,
        run.reporter.should_stop,
    )
    state.epoch += 1
    is_best, is_best_dice = _keep_best(state, found)
    seconds = time.perf_counter() - started
    state.seconds += seconds
    return EpochReport(
        epoch=state.epoch,
        training_loss=float(np.mean(losses)),
        validation_loss=found.loss,
        validation_dice=found.dice,
        learning_rate=state.optimizer.param_groups[0]["lr"],
        seconds=seconds,
        seconds_waited=run.loader.seconds_waited - waited,
        is_best=is_best,
        is_best_dice=is_best_dice,
    )


def _train_epoch(run: _Run, state: TrainingState) -> list[float]:
    plan = plan_epoch(run.config, run.sampler, state.augmentation_generator)
    state.network.train()
    losses: list[float] = []
    with closing(run.loader.batches(plan)) as batches:
        for batch in batches:
            if run.reporter.should_stop():
                raise StopRequestedError
            losses.append(_update(run, state, plan, batch))
            run.reporter.batch_finished(len(losses), len(plan), losses[-1])
    return losses


def _update(
    run: _Run, state: TrainingState, plan: EpochPlan, batch: tuple[torch.Tensor, torch.Tensor]
) -> float:
    training = run.config.training
    total_steps = len(plan) * training.max_epochs
    set_learning_rate(state.optimizer, learning_rate_at(state.step, total_steps, training))
    loss = train_step(
        state.network,
        run.objective,
        state.optimizer,
        state.scaler,
        batch,
        training.micro_batch_size,
    )
    if state.mean_network is not None:
        # early on the mean would be dominated by the random start: follow closely then
        decay = min(training.ema_decay, (1 + state.step) / (10 + state.step))
        update_mean(state.mean_network, state.network, decay)
    state.step += 1
    return loss


def _keep_best(state: TrainingState, found: Validation) -> tuple[bool, bool]:
    """Copy the weights if they are the best so far by loss, by Dice or by both."""
    is_best = state.early_stopping.is_improved_by(found.loss)
    is_best_dice = found.mean_dice > state.best_dice
    weights = snapshot(state.kept_network) if is_best or is_best_dice else {}
    if is_best:
        state.best_weights = weights
    if is_best_dice:
        state.best_dice, state.best_dice_weights = found.mean_dice, weights
    return is_best, is_best_dice


def _log_derived_numbers(config: RunConfig, sampler: SliceSampler, state: TrainingState) -> None:
    count = config.training.slices_per_epoch or len(sampler)
    _logger.info(
        "%d parameters, %d slices, %d batches an epoch, epochs %d to at most %d",
        sum(p.numel() for p in state.network.parameters()),
        len(sampler),
        max(count // config.training.batch_size, 1),
        state.epoch + 1,
        config.training.max_epochs,
    )
