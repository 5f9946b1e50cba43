"""Sums of losses."""

from torch import nn

from ml.losses.functional import ce_dice_loss
from ml.tensors import LabelBatch, LogitBatch, Scalar

DICE_SMOOTH = 1.0
"""Pixels added to both sides of the Dice ratio; keeps a gradient for absent classes."""


class CrossEntropyDice(nn.Module):
    """Cross entropy plus batch Dice of the foreground."""

    def forward(self, logits: LogitBatch, labels: LabelBatch) -> Scalar:
        """Return the loss of float32 logits."""
        return ce_dice_loss(logits, labels, smooth=DICE_SMOOTH)
