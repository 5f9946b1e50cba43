"""A training run as frozen dataclasses: what is stored beside every checkpoint.

Standard library only, so that any process can read a run's configuration.
"""

import dataclasses
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class NetworkName(StrEnum):
    """The networks a run can train."""

    RESAUNET = "resaunet"


class LossName(StrEnum):
    """The losses a run can minimise."""

    CE_DICE = "ce_dice"


class GatedInput(StrEnum):
    """Which feature map an attention block scales; the paper's text allows both readings."""

    SKIP = "skip"
    DECODER = "decoder"


class OptimizerName(StrEnum):
    """The optimisers a run can use."""

    ADAM = "adam"
    ADAMW = "adamw"


class ScheduleName(StrEnum):
    """How the learning rate runs over the epochs."""

    CONSTANT = "constant"
    COSINE = "cosine"
    POLY = "poly"


class Precision(StrEnum):
    """Number format of the network's convolutions."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@dataclass(frozen=True, kw_only=True, slots=True)
class PreprocessingConfig:
    """From Hounsfield units on any grid to the network's input."""

    window_level_hu: float = 50.0
    """Centre of the intensity window (paper: WL 50)."""
    window_width_hu: float = 300.0
    """Width of the intensity window (paper: WW 300)."""
    crop_size_px: int = 256
    """Rows and columns of the network's input; a multiple of 32."""
    pixel_spacing_mm: float = 0.9766
    """Training spacing; with 256 pixels the crop spans 250 mm."""

    @property
    def crop_size_mm(self) -> float:
        """Edge length of the square crop."""
        return self.crop_size_px * self.pixel_spacing_mm


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkConfig:
    """Which network, and how wide."""

    name: NetworkName = NetworkName.RESAUNET
    class_count: int = 5
    """Structures and background."""
    width: float = 1.0
    """Factor on every channel count; 1 is the paper's network, 64 to 512 channels."""
    attention_reduction: int = 1
    """Channels divided by this in the hidden layer of an attention block (paper: none)."""
    gated_input: GatedInput = GatedInput.SKIP


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """How the weights are found."""

    loss: LossName = LossName.CE_DICE
    optimizer: OptimizerName = OptimizerName.ADAM
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: ScheduleName = ScheduleName.CONSTANT
    warmup_steps: int = 0
    """Steps over which the learning rate rises from 0."""
    batch_size: int = 16
    max_epochs: int = 50
    slices_per_epoch: int | None = None
    """Slices drawn in an epoch; None: as many as the training cases have."""
    empty_slice_weight: float = 1.0
    """Chance of a slice without any structure to be drawn, relative to one with."""
    patience: int = 3
    """Epochs without a lower validation loss before training stops (paper: 3)."""
    ema_decay: float = 0.0
    """Decay of the running mean of the weights that is validated and kept; 0 keeps none."""
    precision: Precision = Precision.FLOAT32
    seed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """Everything that decides a training run besides its data."""

    structure_set: str = "cervix"
    preprocessing: PreprocessingConfig = field(default_factory=PreprocessingConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def to_dict(self) -> dict[str, Any]:  # Any: nested json values
        """Return plain json types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RunConfig":  # Any: nested json values
        """Rebuild a configuration from to_dict.

        Raises:
            TypeError: a key no field goes by.
            ValueError: an enum value that does not exist.
        """
        parts = ("preprocessing", "network", "training")
        return cls(
            preprocessing=PreprocessingConfig(**_typed(values.get("preprocessing", {}))),
            network=NetworkConfig(**_typed(values.get("network", {}))),
            training=TrainingConfig(**_typed(values.get("training", {}))),
            **{key: value for key, value in values.items() if key not in parts},
        )


_ENUMS: dict[str, type[StrEnum]] = {
    "name": NetworkName,
    "gated_input": GatedInput,
    "loss": LossName,
    "optimizer": OptimizerName,
    "schedule": ScheduleName,
    "precision": Precision,
}
"""The type of every field that is a choice; field names are unique among the parts."""


def _typed(values: dict[str, Any]) -> dict[str, Any]:  # Any: json values
    return {key: _ENUMS[key](value) if key in _ENUMS else value for key, value in values.items()}
