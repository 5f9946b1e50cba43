"""Soft Dice loss."""

from torch import nn

from ml.config import LossConfig
from ml.losses.functional import dice_loss, probabilities_of
from ml.tensors import LabelBatch, LogitBatch, Scalar


class Dice(nn.Module):
    """1 - mean soft Dice of the foreground classes, over all pixels of the batch."""

    def __init__(self, config: LossConfig) -> None:
        super().__init__()
        self.smooth = config.dice_smooth

    def forward(self, logits: LogitBatch, labels: LabelBatch) -> Scalar:
        """Return the loss in float32 or wider."""
        return dice_loss(probabilities_of(logits), labels, smooth=self.smooth)
