"""The two recipes the project compares: the paper's, and its own, part by part."""

from typing import Any

from ml.config import (
    PAPER_WINDOW,
    WIDE_WINDOW,
    AugmentationPreset,
    LossConfig,
    LossName,
    NetworkConfig,
    NetworkName,
    OptimizerName,
    PostprocessingConfig,
    Precision,
    PreprocessingConfig,
    RunConfig,
    ScheduleName,
    TrainingConfig,
)
from ml.planning.plan import with_settings

CROP_MM = PreprocessingConfig().crop_size_mm

PAPER_RECIPE = RunConfig(
    loss=LossConfig(name=LossName.LOVASZ),
    training=TrainingConfig(augmentation=AugmentationPreset.PAPER),
    postprocessing=PostprocessingConfig(drop_parts=False),
)
"""ResAU-Net on single slices in one window, Lovász loss, Adam at a constant rate, patience 3."""

OUR_RECIPE = RunConfig(
    preprocessing=PreprocessingConfig(
        windows=(PAPER_WINDOW, WIDE_WINDOW), context_mm=(-5.0, 0.0, 5.0)
    ),
    network=NetworkConfig(presence_head=True),
    loss=LossConfig(name=LossName.CE_LOVASZ),
    training=TrainingConfig(
        augmentation=AugmentationPreset.STANDARD,
        optimizer=OptimizerName.ADAMW,
        learning_rate=3e-3,
        weight_decay=1e-2,
        schedule=ScheduleName.COSINE,
        warmup_steps=100,
        ema_decay=0.995,
        empty_slice_weight=0.5,
    ),
)
"""Three slices in two windows, compound loss, presence head, a course of the learning rate that
ends at 0 and the running mean of the weights; what the study takes apart. Postprocessing is
chosen after training."""

PARTS_OF_OURS: dict[str, dict[str, Any]] = {  # Any: json values
    "context": {"preprocessing.context_mm": (0.0,)},
    "wide-window": {"preprocessing.windows": PAPER_RECIPE.to_dict()["preprocessing"]["windows"]},
    "cross-entropy": {"loss.name": LossName.LOVASZ},
    "presence-head": {"network.presence_head": False},
    "schedule": {
        f"training.{name}": PAPER_RECIPE.to_dict()["training"][name]
        for name in (
            "optimizer",
            "learning_rate",
            "weight_decay",
            "schedule",
            "warmup_steps",
            "ema_decay",
            "empty_slice_weight",
        )
    },
    "augmentation": {"training.augmentation": AugmentationPreset.PAPER},
}
"""What our recipe adds, by name, and the paper's values that take it away again."""

IDLE_PARTS = ("context", "presence-head")
"""What won nothing in the study (docs/study): equal Dice and no fewer presence errors."""

LEAN_RECIPE = with_settings(
    OUR_RECIPE, {path: value for part in IDLE_PARTS for path, value in PARTS_OF_OURS[part].items()}
)
"""What won: two windows, compound loss, the course of the rate, the mean of the weights."""

RECIPES = {"lean": LEAN_RECIPE, "ours": OUR_RECIPE, "paper": PAPER_RECIPE}

STUDY_WIDTHS = {
    NetworkName.UNET: 0.125,
    NetworkName.ATTENTION_UNET: 0.125,
    NetworkName.UNET_PLUS_PLUS: 0.125,
    NetworkName.RESAUNET: 0.25,
}
"""Widths that bring the networks' arithmetic nearer to each other: ResAU-Net halves its maps before
its first stage, so at one width a U-Net costs five times as much, and U-Net++ fourteen times."""


def sized(
    recipe: RunConfig, *, pixels: int, width: float, epochs: int, slices_per_epoch: int | None
) -> RunConfig:
    """Return a recipe on the paper's 250 mm crop with other pixels, width and length."""
    return with_settings(
        recipe,
        {
            "preprocessing.crop_size_px": pixels,
            "preprocessing.pixel_spacing_mm": round(CROP_MM / pixels, 4),
            "network.width": width,
            "training.max_epochs": epochs,
            "training.slices_per_epoch": slices_per_epoch,
            "training.precision": Precision.BFLOAT16,
        },
    )


def without(recipe: RunConfig, part: str) -> RunConfig:
    """Return our recipe without one of its parts."""
    return with_settings(recipe, PARTS_OF_OURS[part])
