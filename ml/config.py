"""A training run as frozen dataclasses: what is stored beside every checkpoint.

Standard library only, so that any process can read a run's configuration.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias, TypeVar

CROP_MULTIPLE_PX = 32
"""Networks halve their input up to five times."""


class ConfigError(ValueError):
    """A value no run can be made with; `name` is the field's path, as in training.batch_size."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


def _require(condition: bool, name: str, reason: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not condition:
        raise ConfigError(name, reason)


class NetworkName(StrEnum):
    """The networks a run can train."""

    RESAUNET = "resaunet"
    UNET = "unet"
    ATTENTION_UNET = "attention_unet"
    UNET_PLUS_PLUS = "unet_plus_plus"


class LossName(StrEnum):
    """The losses a run can minimise."""

    CE = "ce"
    SCE = "sce"
    DICE = "dice"
    LOVASZ = "lovasz"
    CE_DICE = "ce_dice"
    CE_LOVASZ = "ce_lovasz"


class LovaszClasses(StrEnum):
    """Which classes of a batch the Lovász loss is the mean of."""

    PRESENT = "present"
    ALL = "all"


class GatedInput(StrEnum):
    """Which feature map an attention block scales; the paper's text allows both readings."""

    SKIP = "skip"
    DECODER = "decoder"


class FinalUpsampling(StrEnum):
    """How ResAU-Net comes back from half the image's size."""

    DECONVOLUTION = "deconvolution"
    BILINEAR = "bilinear"


class AugmentationPreset(StrEnum):
    """How training slices are changed."""

    NONE = "none"
    PAPER = "paper"
    """Flip, rotation, random colour, and affine then elastic distortion with nearest neighbour."""
    STANDARD = "standard"
    """Flip, one composed affine and elastic sampling, window jitter, grey values, noise."""


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
    FLOAT16 = "float16"
    """With a gradient scaler, for CUDA devices that have no bfloat16."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """An intensity window: what is mapped to 0..1."""

    level_hu: float = 50.0
    width_hu: float = 300.0

    def __post_init__(self) -> None:
        """Check the limits."""
        _require(self.width_hu > 0, "preprocessing.windows.width_hu", "must be positive")


PAPER_WINDOW = Window()
"""WW 300, WL 50."""
WIDE_WINDOW = Window(level_hu=0.0, width_hu=2000.0)
"""Tells gas from fat and bone from contrast medium, which the paper's window cannot."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PreprocessingConfig:
    """From Hounsfield units on any grid to the network's input."""

    windows: tuple[Window, ...] = (PAPER_WINDOW,)
    """Every window is a channel of its own."""
    context_mm: tuple[float, ...] = (0.0,)
    """Heights of the input's slices above the contoured one, along the series' normal; one slice
    alone is the paper's, (-5, 0, 5) a 2.5-D input. Between slices values are interpolated, beyond
    the first and last slice these are repeated."""
    crop_size_px: int = 256
    """Rows and columns of the network's input; a multiple of 32."""
    pixel_spacing_mm: float = 0.9766
    """Training spacing; with 256 pixels the crop spans 250 mm."""

    def __post_init__(self) -> None:
        """Check the limits."""
        size = self.crop_size_px
        is_multiple = size > 0 and size % CROP_MULTIPLE_PX == 0
        _require(is_multiple, "preprocessing.crop_size_px", "must be a multiple of 32")
        _require(self.pixel_spacing_mm > 0, "preprocessing.pixel_spacing_mm", "must be positive")
        _require(bool(self.windows), "preprocessing.windows", "at least one is needed")
        _require(
            0.0 in self.context_mm, "preprocessing.context_mm", "must hold the slice itself, 0"
        )

    @property
    def crop_size_mm(self) -> float:
        """Edge length of the square crop."""
        return self.crop_size_px * self.pixel_spacing_mm

    @property
    def channel_count(self) -> int:
        """Channels of the network's input: all windows of the first slice, then of the next."""
        return len(self.context_mm) * len(self.windows)


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkConfig:
    """Which network, and how wide."""

    name: NetworkName = NetworkName.RESAUNET
    class_count: int = 5
    """Structures and background."""
    width: float = 1.0
    """Factor on every channel count; 1 is the published network, 64 channels at its first stage."""
    attention_reduction: int = 1
    """Channels divided by this in the hidden layer of ResAU-Net's attention (paper: none)."""
    gated_input: GatedInput = GatedInput.SKIP
    """Of ResAU-Net's attention."""
    final_upsampling: FinalUpsampling = FinalUpsampling.DECONVOLUTION
    """Of ResAU-Net."""
    presence_head: bool = False
    """Whether the network also tells which structures the slice shows."""

    def __post_init__(self) -> None:
        """Check the limits."""
        _require(self.class_count >= 2, "network.class_count", "must be at least 2")
        _require(0 < self.width <= 4, "network.width", "must lie in (0, 4]")
        _require(self.attention_reduction >= 1, "network.attention_reduction", "must be at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    """What a run minimises."""

    name: LossName = LossName.CE_LOVASZ
    class_weights: tuple[float, ...] | None = None
    """Of the cross entropies, background first; None weighs all pixels alike."""
    sce_alpha: float = 1.0
    """Weight of the cross entropy in SCE."""
    sce_beta: float = 0.1
    """Weight of the reverse cross entropy in SCE."""
    sce_log_zero: float = -4.0
    """What stands for log 0 in the reverse cross entropy: A of Wang et al. 2019."""
    lovasz_classes: LovaszClasses = LovaszClasses.PRESENT
    dice_smooth: float = 1.0
    """Pixels added to both sides of the Dice ratio; keeps a gradient for absent classes."""
    presence_weight: float = 0.1
    """Of the presence head's binary cross entropy, where the network has that head."""

    def __post_init__(self) -> None:
        """Check the limits."""
        _require(self.sce_log_zero < 0, "loss.sce_log_zero", "must be negative")
        for name in ("sce_alpha", "sce_beta", "dice_smooth", "presence_weight"):
            _require(getattr(self, name) >= 0, f"loss.{name}", "must not be negative")
        weights = self.class_weights
        _require(
            weights is None or (min(weights) >= 0 and sum(weights) > 0),
            "loss.class_weights",
            "must not be negative, nor all 0",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """How the weights are found."""

    augmentation: AugmentationPreset = AugmentationPreset.STANDARD
    optimizer: OptimizerName = OptimizerName.ADAM
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: ScheduleName = ScheduleName.CONSTANT
    warmup_steps: int = 0
    """Steps over which the learning rate rises from 0."""
    batch_size: int = 16
    micro_batch_size: int | None = None
    """Slices that go through the network at once; None: the whole batch. Smaller ones need less
    memory, but norm statistics and batch losses then see fewer slices."""
    max_epochs: int = 50
    max_seconds: float | None = None
    """Seconds of training and validation after which no further epoch is begun; one is always
    finished, and the sum goes on over interruptions. None: as long as it takes."""
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

    def __post_init__(self) -> None:
        """Check the limits."""
        rate = self.learning_rate
        is_rate = rate > 0 and math.isfinite(rate)
        _require(is_rate, "training.learning_rate", "must be positive and finite")
        for name in ("batch_size", "max_epochs", "patience"):
            _require(getattr(self, name) >= 1, f"training.{name}", "must be at least 1")
        for name in ("weight_decay", "warmup_steps", "empty_slice_weight", "seed"):
            _require(getattr(self, name) >= 0, f"training.{name}", "must not be negative")
        _require(0 <= self.ema_decay < 1, "training.ema_decay", "must lie in [0, 1)")
        seconds = self.max_seconds
        is_time = seconds is None or (seconds > 0 and math.isfinite(seconds))
        _require(is_time, "training.max_seconds", "must be positive and finite")
        slices, micro = self.slices_per_epoch, self.micro_batch_size
        _require(slices is None or slices >= 1, "training.slices_per_epoch", "must be at least 1")
        divides = micro is None or (micro >= 1 and self.batch_size % micro == 0)
        _require(divides, "training.micro_batch_size", "must divide the batch size")


@dataclass(frozen=True, kw_only=True, slots=True)
class PostprocessingConfig:
    """From the network's answer to labels; chosen on validation cases, never on test cases."""

    drop_parts: bool = True
    """Whether parts beyond a structure's number of components become background."""
    fill_gap_slices: int = 0
    """Slices in a row without a structure, between two with it, that are filled by
    interpolating the shapes."""
    thresholds: tuple[float, ...] = ()
    """Probability, against the best other class, from which a pixel is the structure's; one for
    each structure, or none at all for .5 everywhere."""
    presence_gate: tuple[float, float] | None = None
    """A structure stays in a run of slices whose presence reaches the first value all along and
    the second at least once; None ignores the presence head."""
    flip: bool = False
    """Whether the mean over the image and its mirror image is taken; doubles the time."""

    def __post_init__(self) -> None:
        """Check the limits."""
        _require(self.fill_gap_slices >= 0, "postprocessing.fill_gap_slices", "is negative")
        inside = all(0 < t < 1 for t in self.thresholds)
        _require(inside, "postprocessing.thresholds", "must lie in (0, 1)")
        gate = self.presence_gate
        is_gate = gate is None or 0 <= gate[0] <= gate[1] <= 1
        _require(is_gate, "postprocessing.presence_gate", "must be ascending, in [0, 1]")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "PostprocessingConfig":  # Any: json values
        """Rebuild a configuration from its json.

        Raises:
            ConfigError: a field that does not exist, or a value it cannot have.
        """
        return _build(cls, values, "postprocessing.")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """Everything that decides a training run besides its data."""

    structure_set: str = "cervix"
    preprocessing: PreprocessingConfig = field(default_factory=PreprocessingConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    postprocessing: PostprocessingConfig = field(default_factory=PostprocessingConfig)

    def __post_init__(self) -> None:
        """Check what the parts must agree on."""
        gate = self.postprocessing.presence_gate
        has_head = gate is None or self.network.presence_head
        _require(has_head, "postprocessing.presence_gate", "needs a network with a presence head")
        for name, values, count in (
            ("loss.class_weights", self.loss.class_weights, self.network.class_count),
            ("postprocessing.thresholds", self.postprocessing.thresholds, self.structure_count),
        ):
            _require(not values or len(values) == count, name, f"must be {count} numbers")

    @property
    def structure_count(self) -> int:
        """Classes but the background."""
        return self.network.class_count - 1

    def to_dict(self) -> dict[str, Any]:  # Any: nested json values
        """Return plain json types; tuples become lists once they are written."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RunConfig":  # Any: nested json values
        """Rebuild a configuration from to_dict or from its json; absent fields get defaults.

        Raises:
            ConfigError: a field that does not exist, or a value it cannot have.
        """
        return _build(cls, values, "")


Part = TypeVar("Part")
Json: TypeAlias = Any  # Any: values as json has them, of whatever depth


def _build(part: type[Part], values: Json, path: str) -> Part:
    """Make a dataclass from json values, nested ones included."""
    if not isinstance(values, dict):
        raise ConfigError(path.rstrip(".") or "config", "must be an object")
    named = typing.cast("dict[str, Json]", values)
    hints = typing.get_type_hints(part)
    for key in named:
        _require(key in hints, f"{path}{key}", "there is no such setting")
    return part(**{key: _value(hints[key], value, f"{path}{key}") for key, value in named.items()})


def _value(kind: Json, value: Json, path: str) -> Json:
    """Turn a json value into the hinted type."""
    if isinstance(kind, types.UnionType):
        options = [option for option in typing.get_args(kind) if option is not types.NoneType]
        return None if value is None else _value(options[0], value, path)
    if typing.get_origin(kind) is tuple:
        return _tuple(typing.get_args(kind), value, path)
    if dataclasses.is_dataclass(kind):
        return _build(typing.cast("type[Json]", kind), value, f"{path}.")
    return _plain(kind, value, path)


def _tuple(kinds: tuple[Json, ...], value: Json, path: str) -> tuple[Json, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError(path, "must be a list")
    items = typing.cast("Sequence[Json]", value)
    if kinds[-1] is Ellipsis:
        return tuple(_value(kinds[0], item, path) for item in items)
    _require(len(items) == len(kinds), path, f"must be {len(kinds)} values")
    return tuple(_value(kind, item, path) for kind, item in zip(kinds, items, strict=True))


def _plain(kind: type[Json], value: Json, path: str) -> Json:
    if issubclass(kind, StrEnum):
        names = [member.value for member in kind]
        _require(value in names, path, f"must be one of {', '.join(names)}, not {value!r}")
        return kind(value)
    accepted = (int, float) if kind is float else kind
    is_right = isinstance(value, accepted) and (kind is bool or not isinstance(value, bool))
    _require(is_right, path, f"must be {kind.__name__}, not {value!r}")
    return kind(value)
