"""From a request to the runs it asks for, checked against the dataset before anything is stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from ml.config import ConfigError, LossName, NetworkName, RunConfig
from ml.planning.plan import (
    PAPER_GRID,
    PAPER_LOSSES,
    PAPER_NETWORKS,
    PlannedRun,
    plan_grid_search,
    plan_loss_comparison,
    plan_network_comparison,
    plan_training,
    with_settings,
)
from ml.planning.recipes import RECIPES
from ml.structures import structure_set
from services.api.experiments.errors import (
    BatchTooLargeError,
    ConfigInvalidError,
    DatasetLacksStructureError,
    SplitTooSmallError,
    StructureSetDiffersError,
    TooManyRunsError,
)
from services.core.errors import DatasetNotReadyError, DatasetPurgedError
from services.core.lifecycle import ExperimentKind, JobState
from services.core.tables.datasets import DatasetVersion
from services.core.tables.leased import Json

MAX_RUNS = 500
"""Runs of one experiment; above any grid that a hospital can wait for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExperimentQuestion:
    """What is asked, defaults filled in."""

    kind: ExperimentKind
    recipe: str
    settings: Mapping[str, Any]  # Any: json values
    """By path, as in training.batch_size."""
    seeds: Sequence[int]
    axes: Mapping[str, Sequence[Any]]  # Any: json values
    losses: Sequence[LossName]
    networks: Sequence[NetworkName]
    widths: Mapping[NetworkName, float]


DEFAULT_AXES = PAPER_GRID
DEFAULT_LOSSES = PAPER_LOSSES
DEFAULT_NETWORKS = PAPER_NETWORKS


def plan_experiment(question: ExperimentQuestion) -> list[PlannedRun]:
    """Return the runs that answer the question.

    Raises:
        ConfigInvalidError: a setting that does not exist, or a value it cannot have.
        TooManyRunsError: more than MAX_RUNS.
    """
    _check_size(question)
    try:
        base = with_settings(RECIPES[question.recipe], question.settings)
        return _plan(question, base)
    except ConfigError as error:
        raise ConfigInvalidError(error.name, error.reason) from error


def check_dataset(plan: Sequence[PlannedRun], version: DatasetVersion) -> None:
    """Return if every run of the plan can be trained on the version.

    Raises:
        DatasetNotReadyError: it is not indexed.
        DatasetPurgedError: its files were removed.
        SplitTooSmallError: no case for training, or none for validation.
        DatasetLacksStructureError: a structure is in no training case.
        StructureSetDiffersError: the configuration is for other structures.
        BatchTooLargeError: a batch is larger than an epoch.
        ConfigInvalidError: the network has other classes than the structure set.
    """
    if version.state is not JobState.SUCCEEDED or version.facts is None:
        raise DatasetNotReadyError(version.id, version.state)
    if version.purged_at is not None:
        raise DatasetPurgedError(version.id)
    for part in ("training", "validation"):
        if not version.facts["parts"][part]["cases"]:
            raise SplitTooSmallError(part)
    if version.facts["lacking"]:
        raise DatasetLacksStructureError(version.facts["lacking"])
    for run in plan:
        _check_run(run.config, version)


def slices_of_epoch(config: Json, facts: Json) -> int:
    """Return how many slices an epoch of a run draws."""
    training, part = config["training"], facts["parts"]["training"]
    drawn = part["slices"] if training["empty_slice_weight"] else part["labelled_slices"]
    return training["slices_per_epoch"] or drawn


def seconds_per_epoch(
    config: RunConfig, facts: Json, measured: Sequence[tuple[Json, Json, float]]
) -> float | None:
    """Estimate an epoch from epochs of the same network, width and crop that were measured here.

    Time is taken to grow with the slices of training and validation. None without any such epoch.
    """
    own = config.to_dict()
    costs = [
        seconds / _slices(other, other_facts)
        for other, other_facts, seconds in measured
        if _shape(other) == _shape(own) and _slices(other, other_facts)
    ]
    return median(costs) * _slices(own, facts) if costs else None


def _plan(question: ExperimentQuestion, base: RunConfig) -> list[PlannedRun]:
    match question.kind:
        case ExperimentKind.TRAINING:
            return plan_training(base, question.seeds)
        case ExperimentKind.GRID_SEARCH:
            return plan_grid_search(base, question.seeds, question.axes)
        case ExperimentKind.LOSS_COMPARISON:
            return plan_loss_comparison(base, question.seeds, question.losses)
        case ExperimentKind.NETWORK_COMPARISON:
            return plan_network_comparison(base, question.seeds, question.networks, question.widths)


def _check_size(question: ExperimentQuestion) -> None:
    variants = 1
    match question.kind:
        case ExperimentKind.GRID_SEARCH:
            for values in question.axes.values():
                variants *= len(values)
        case ExperimentKind.LOSS_COMPARISON:
            variants = len(question.losses)
        case ExperimentKind.NETWORK_COMPARISON:
            variants = len(question.networks)
        case ExperimentKind.TRAINING:
            pass
    runs = variants * len(question.seeds)
    if runs > MAX_RUNS:
        raise TooManyRunsError(runs, MAX_RUNS)


def _check_run(config: RunConfig, version: DatasetVersion) -> None:
    if config.structure_set != version.structure_set:
        raise StructureSetDiffersError(config.structure_set, version.structure_set)
    structures = len(structure_set(version.structure_set).structures)
    if config.structure_count != structures:
        reason = f"must be {structures + 1}: {structures} structures and background"
        raise ConfigInvalidError("network.class_count", reason)
    slices = slices_of_epoch(config.to_dict(), version.facts or {})
    if config.training.batch_size > slices:
        raise BatchTooLargeError(config.training.batch_size, slices)


def _slices(config: Json, facts: Json) -> int:
    return slices_of_epoch(config, facts) + facts["parts"]["validation"]["slices"]


def _shape(config: Json) -> tuple[object, ...]:
    network, preprocessing = config["network"], config["preprocessing"]
    return network["name"], network["width"], preprocessing["crop_size_px"]
