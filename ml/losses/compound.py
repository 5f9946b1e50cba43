"""Sums of losses."""

from torch import nn

from ml.config import LossConfig
from ml.losses.functional import ce_dice_loss
from ml.tensors import LabelBatch, LogitBatch, Scalar


class CrossEntropyDice(nn.Module):
    """Cross entropy plus batch Dice of the foreground."""

    def __init__(self, config: LossConfig) -> None:
        super().__init__()
        self.smooth = config.dice_smooth

    def forward(self, logits: LogitBatch, labels: LabelBatch) -> Scalar:
        """Return the loss of float32 logits."""
        return ce_dice_loss(logits, labels, smooth=self.smooth)
