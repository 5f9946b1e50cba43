"""From a question to the runs that answer it: every experiment is a list of configurations."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml.config import ConfigError, LossName, NetworkName, RunConfig

PAPER_LOSSES = (LossName.CE, LossName.SCE, LossName.DICE, LossName.LOVASZ)
PAPER_NETWORKS = (
    NetworkName.UNET,
    NetworkName.ATTENTION_UNET,
    NetworkName.UNET_PLUS_PLUS,
    NetworkName.RESAUNET,
)
PAPER_GRID: dict[str, tuple[float, ...]] = {
    "training.learning_rate": (1e-1, 1e-2, 1e-3, 1e-4),
    "training.batch_size": (16, 32, 64),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRun:
    """One training of an experiment."""

    label: str
    """What it answers for; runs that differ by their seed alone share it."""
    config: RunConfig

    @property
    def seed(self) -> int:
        """Seed of weights, sampling and augmentation."""
        return self.config.training.seed

    @property
    def name(self) -> str:
        """Unique in its experiment, and a legal folder name."""
        return f"{self.label}-s{self.seed}"


def plan_training(
    base: RunConfig, seeds: Sequence[int], label: str = "training"
) -> list[PlannedRun]:
    """Train one configuration once for every seed."""
    return [
        PlannedRun(label=label, config=with_settings(base, {"training.seed": seed}))
        for seed in seeds
    ]


def plan_grid_search(
    base: RunConfig,
    seeds: Sequence[int],
    axes: Mapping[str, Sequence[Any]] = PAPER_GRID,  # Any: json values
) -> list[PlannedRun]:
    """Train every combination of the axes' values, each a setting's path and its values.

    Raises:
        ConfigError: an axis is no setting, has no values, or a value it cannot have.
    """
    for path, values in axes.items():
        if not values:
            raise ConfigError(path, "has no values")
    runs: list[PlannedRun] = []
    for combination in itertools.product(*axes.values()):
        settings = dict(zip(axes, combination, strict=True))
        label = "-".join(f"{path.rpartition('.')[2]}={value}" for path, value in settings.items())
        runs += plan_training(with_settings(base, settings), seeds, label)
    return runs


def plan_loss_comparison(
    base: RunConfig, seeds: Sequence[int], losses: Sequence[LossName] = PAPER_LOSSES
) -> list[PlannedRun]:
    """Train with every loss, all else equal."""
    return [
        run
        for loss in losses
        for run in plan_training(with_settings(base, {"loss.name": loss}), seeds, f"loss-{loss}")
    ]


def plan_network_comparison(
    base: RunConfig,
    seeds: Sequence[int],
    networks: Sequence[NetworkName] = PAPER_NETWORKS,
    widths: Mapping[NetworkName, float] | None = None,
) -> list[PlannedRun]:
    """Train every network, all else equal but the widths that are given."""
    runs: list[PlannedRun] = []
    for network in networks:
        width = (widths or {}).get(network, base.network.width)
        config = with_settings(base, {"network.name": network, "network.width": width})
        runs += plan_training(config, seeds, f"network-{network}")
    return runs


def with_settings(config: RunConfig, settings: Mapping[str, Any]) -> RunConfig:  # Any: json values
    """Return the configuration with other values, given by path as in training.batch_size.

    Raises:
        ConfigError: a path that is no setting, or a value it cannot have.
    """
    values = config.to_dict()
    for path, value in settings.items():
        *parents, name = path.split(".")
        part = values
        for parent in parents:
            part = part.get(parent)
            if not isinstance(part, dict):
                raise ConfigError(path, "there is no such setting")
        part[name] = value
    return RunConfig.from_dict(values)
